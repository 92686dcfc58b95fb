# SPDX-License-Identifier: GPL-2.0-only
#
# Things that end in the middle: daemons, VMMs, guest kernels, the module (I7).
# After each: no pin, no watch, no hole, no leak, and the guest goes on. A VMM that
# is killed at different moments: lifecycle_kill.bats.
# takes: 410

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1 reboot=yes \
		qemu="$(disk kernel /vprobe/l2/vmlinuz-6.12) \
			$(disk initrd /run/initrd-6.12.cpio)"
	pinned_pages > /run/pinned
}

# What kexec loads, as disks that the guest knows by their serial.
disk() {
	echo "-drive file=$2,if=none,id=$1,format=raw,readonly=on" \
		"-device virtio-blk-pci,drive=$1,serial=kexec-$1"
}

# Without a word to anybody, as panic reboots do.
KEXEC='for f in kernel initrd; do
		d=$(grep -lx kexec-$f /sys/block/vd*/serial | cut -d/ -f4)
		dd if=/dev/$d of=/run/$f bs=1M 2>/dev/null
	done
	kexec -l /run/kernel --initrd=/run/initrd \
		--append="$(cat /proc/cmdline) $MORE" &&
	kexec -e'

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	release_all
	kill -CONT "$(cat "$VPROBED_PID")" 2>/dev/null || :
	[ -n "$BATS_TEST_COMPLETED" ] || hang_report a
	host_log_clean && [ "$(iommu_faults)" = 0 ]
}

nvme_reads_well() {
	want=$(nvme_pattern 0 16777216 | md5sum)
	got=$(guest_run "$1" 'dd if=/dev/nvme0n1 bs=1M count=16 iflag=direct \
		2>/dev/null | md5sum')
	[ "${got%% *}" = "${want%% *}" ]
}

# No hole, no watch, and each page pinned as at first.
is_whole() {
	wait_until 120 no_trace "$1"
	wait_until 60 pinned_as "$(cat /run/pinned)"
}

has_holes() { [ "$(vstat "$1" memory.holes)" -gt 50 ]; }

@test "the module does not unload while a VM is attached" {
	vprobe reclaim a all
	run rmmod vprobe
	[ "$status" != 0 ]
	has_holes a
}

@test "kill -9 of vprobed: the VM stays attached, holes are filled on demand" {
	has_holes a
	vprobed_kill
	guest_run a 'memhog -m 200 -t 2'
	nvme_reads_well a
	vprobed_start
	vprobe reclaim a all
	has_holes a
}

@test "kill -9 of vprobed while it fills for a registration: it is not used" {
	ram=$(vm_ram a)
	partly=0
	for mib in 50 100 200 1; do
		vprobe reclaim a all
		before=$(mib_behind "$ram")
		GUEST_TIMEOUT=60 guest_run a /vprobe-inject >/dev/null 2>&1 3>&- &
		pid=$!
		until [ $(($(mib_behind "$ram") - before)) -ge $mib ] ||
			! kill -0 $pid; do
			:
		done
		vprobed_kill
		all_watched a
		holes=$(vstat a memory.holes)
		echo "killed with $holes holes left, $(vstat a state)"
		[ "$holes" = 0 ] || partly=$((partly + 1))
		wait $pid || :
		works a
		vprobed_start
		# It may not listen yet.
		wait_until 30 guest_run a /vprobe-inject
		vprobe_ready a
		[ $partly = 0 ] || break
	done
	[ $partly -gt 0 ]
	vprobe reclaim a all
	has_holes a
}

@test "kill -9 of vprobe reclaim, again and again" {
	ram=$(vm_ram a)
	partly=0
	for mib in 100 1 300 50 200; do
		vprobe fill a all
		before=$(mib_behind "$ram")
		vprobe reclaim a all & pid=$!
		until [ $((before - $(mib_behind "$ram"))) -ge $mib ] ||
			! kill -0 $pid; do
			:
		done
		kill -9 $pid || :
		status=0
		wait $pid || status=$?
		all_watched a
		left=$(mib_behind "$ram")
		echo "killed ($status) after $((before - left)) of $mib MiB"
		[ $status != 137 ] || [ $left -lt 400 ] || partly=$((partly + 1))
		[ $partly -lt 2 ] || break
	done
	[ $partly -gt 0 ]
	vprobe reclaim a all
	has_holes a
	guest_run a 'memhog -m 200 -t 2'
}

@test "kill -9 of vprobed during a reclaim, which goes on" {
	ram=$(vm_ram a)
	vprobe fill a all
	before=$(mib_behind "$ram")
	vprobe reclaim a all & pid=$!
	until [ $((before - $(mib_behind "$ram"))) -ge 20 ] ||
		! kill -0 $pid; do
		:
	done
	vprobed_kill
	wait $pid
	has_holes a
	all_watched a
	works a
	vprobed_start
	vprobe_ready a
}

@test "system_reset with holes: firmware finds all memory, the guest boots" {
	vprobe reclaim a all
	has_holes a
	failsafes=$(vstat a fills.failsafes)
	vm_qmp a system_reset
	wait_until 120 more_than "$failsafes" vstat a fills.failsafes
	is_whole a
	vm_wait a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	vprobe reclaim a all
	has_holes a
}

@test "a registration that a reset overtakes is not used" {
	connected=$(talker_connected)
	kill -STOP "$(cat "$VPROBED_PID")"
	GUEST_TIMEOUT=1 guest_run a '/vprobe-inject' 2>/dev/null || :
	wait_until 60 more_than "$connected" talker_connected
	sleep "$(patience 5)"
	failsafes=$(vstat a fills.failsafes)
	vm_qmp a system_reset
	wait_until 60 more_than "$failsafes" vstat a fills.failsafes
	kill -CONT "$(cat "$VPROBED_PID")"
	wait_until 60 grep 'registration:.*was reset, or its kernel replaced' \
		/out/vprobed.log
	vm_wait a
	wait_until 60 vprobe_ready a
	vprobe reclaim a all
	has_holes a
}

@test "a goodbye gives all memory back, without the fail-safe" {
	vprobe reclaim a all
	has_holes a
	before=$(vstat a fills.blocks)
	failsafes=$(vstat a fills.failsafes)
	guest_run a '/vprobe-inject --goodbye'
	no_trace a
	is_whole a
	[ "$(vstat a fills.blocks)" -gt "$before" ]
	[ "$(vstat a state)" = no-helper ]
	guest_run a '/vprobe-inject'
	wait_until 60 vprobe_ready a
	[ "$(vstat a fills.failsafes)" = "$failsafes" ]
}

@test "kexec with the goodbye: the fail-safe has nothing to do" {
	vprobe reclaim a all
	has_holes a
	failsafes=$(vstat a fills.failsafes)
	guest_run a 'touch /run/old-kernel'
	GUEST_TIMEOUT=20 guest_run a "/vprobe-inject --goodbye && $KEXEC" \
		2>/dev/null || :
	wait_until 180 new_kernel a
	is_whole a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	[ "$(vstat a fills.failsafes)" = "$failsafes" ]
	vprobe reclaim a all
	has_holes a
}

@test "kexec without a goodbye: all that the new kernel uses is there" {
	vprobe reclaim a all
	has_holes a
	guest_run a 'touch /run/old-kernel'
	GUEST_TIMEOUT=20 guest_run a "MORE=vprobe.inject=no; $KEXEC" \
		2>/dev/null || :
	wait_until 180 new_kernel a
	# It has not registered: only its own writes can have filled anything.
	! grep -q registered <(guest_run a 'cat /run/inject.log') || return 1
	nvme_reads_well a
	guest_run a 'memhog -m 700 -t 2'
	nvme_reads_well a
	vprobe stat a | grep -v ' 0$'
	is_whole a
	guest_run a /vprobe-inject
	vprobe_ready a
	vprobe reclaim a all
	has_holes a
}

new_kernel() {
	GUEST_TIMEOUT=10 guest_run "$1" '[ ! -e /run/old-kernel ]' 2>/dev/null
}

@test "a guest that crashes reboots with holes outstanding" {
	has_holes a
	failsafes=$(vstat a fills.failsafes)
	GUEST_TIMEOUT=2 guest_run a \
		'echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger' \
		2>/dev/null || :
	wait_until 180 more_than "$failsafes" vstat a fills.failsafes
	is_whole a
	vm_wait a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
}

@test "a triple fault is a reset as well: nothing waits for a write to a hole" {
	vprobe reclaim a all
	has_holes a
	failsafes=$(vstat a fills.failsafes)
	writes=$(vstat a fills.failsafe_writes)
	GUEST_TIMEOUT=2 guest_run a 'echo triple >/sys/kernel/reboot/type
		echo b >/proc/sysrq-trigger' 2>/dev/null || :
	wait_until 180 more_than "$failsafes" vstat a fills.failsafes
	is_whole a
	vm_wait a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	[ "$(vstat a fills.failsafe_writes)" = "$writes" ]
}

is_not_attached() { ! is_attached "$1"; }

@test "a VMM closes its VM and goes on in the same memory: all of it is back" {
	hold vmm "$TOOLS/mockvmm" -i 1 "$(head -n 1 /run/testbed/edu)"
	ram=$(memfds "$(held_pid vmm)" mock)
	[ "$(mib_behind "$ram")" = 64 ]
	vprobe attach "$(held_pid vmm)" --name mock
	bad_helper mock free $((16 << 20)) 16 9 $((8 << 20))
	vprobe reclaim mock all
	[ "$(vstat mock memory.holes)" = 16 ]
	[ "$(mib_behind "$ram")" = 32 ]
	[ "$(tell vmm again)" = again ]
	[ "$(mib_behind "$ram")" = 64 ]
	wait_until 30 is_not_attached mock
	# The next one is another VM.
	vprobe attach "$(held_pid vmm)" --name mock
	[ "$(vstat mock state)" = no-helper ]
	vprobe detach mock
	release vmm
}

@test "memory that is unplugged is free at once, also without a helper" {
	before=$(shmem_mib)
	hold vmm "$TOOLS/mockvmm" -m
	[ $(($(shmem_mib) - before)) -ge 120 ]
	vprobe attach "$(held_pid vmm)" --name mock
	[ "$(vstat mock memory.ram_bytes)" = $((128 << 20)) ]
	[ "$(tell vmm unplug)" = unplugged ]
	wait_until 10 less_shmem_than $((before + 96))
	vprobe detach mock
	release vmm
}

@test "memory that is unplugged after it was looked at is free, too" {
	before=$(shmem_mib)
	hold vmm "$TOOLS/mockvmm" -m
	vprobe attach "$(held_pid vmm)" --name mock
	bad_helper mock free $((16 << 20)) 16 9 $((8 << 20))
	vprobe free-map mock --ask
	vprobe reclaim mock all
	[ "$(vstat mock memory.ram_bytes)" = $((128 << 20)) ]
	[ "$(vstat mock memory.taken_blocks)" = 16 ]
	[ "$(tell vmm unplug)" = unplugged ]
	wait_until 10 less_shmem_than $((before + 64))
	vprobe reclaim mock all
	[ "$(vstat mock memory.ram_bytes)" = $((64 << 20)) ]
	vprobe detach mock
	release vmm
}

shmem_mib() { awk '/^Shmem:/ { print int($2 / 1024) }' /proc/meminfo; }

less_shmem_than() { [ "$(shmem_mib)" -lt "$1" ]; }

@test "detach while the guest works" {
	vprobe reclaim a all
	filled=$(vstat a fills.vcpu)
	guest_run a 'memhog -m 200 -t 2 -s 5' 3>&- & hog=$!
	wait_until 60 more_than "$filled" vstat a fills.vcpu
	vprobe detach a
	nobody_attached
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
	wait $hog
	nvme_reads_well a
}

@test "kill -9 of QEMU with holes: the VM is gone from the list" {
	vprobe attach "$(vm_pid a)" --stray fault
	wait_until 60 vprobe_ready a ||
		{ guest_run a /vprobe-inject; wait_until 60 vprobe_ready a; }
	vprobe reclaim a all
	has_holes a
	vm_kill a
	wait_until 60 nobody_attached
}

@test "all memory is back, and the module unloads" {
	vprobed_kill
	vprobe_gone
	modprobe vprobe
}
