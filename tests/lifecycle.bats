# SPDX-License-Identifier: GPL-2.0-only
#
# Things that end in the middle: daemons, VMMs, guest kernels, the module (I7).
# After each: no pin, no watch, no hole, no leak, and the guest goes on. A VMM that
# is killed at different moments: lifecycle_kill.bats.
# takes: 210

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
	kexec -l /run/kernel --initrd=/run/initrd --reuse-cmdline &&
	kexec -e'

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
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

@test "kill -9 of vprobe reclaim, again and again" {
	killed=0
	for i in 1 2 3 4 5 6 7 8; do
		vprobe fill a all
		before=$(vstat a memory.taken_blocks)
		vprobe reclaim a all & pid=$!
		sleep "0.0$i"
		kill -9 $pid || :
		status=0
		wait $pid || status=$?
		[ $status != 137 ] || killed=$((killed + 1))
		echo "$(($(vstat a memory.taken_blocks) - before)) blocks"
	done
	[ $killed -gt 0 ]
	vprobe reclaim a all
	has_holes a
	guest_run a 'memhog -m 200 -t 2'
}

@test "system_reset with holes: firmware finds all memory, the guest boots" {
	vprobe reclaim a all
	has_holes a
	failsafes=$(vstat a fills.failsafes)
	vm_qmp a system_reset
	wait_until 120 more_than "$failsafes" vstat a fills.failsafes
	wait_until 120 no_trace a
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
	sleep 2
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
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	[ "$(vstat a fills.failsafes)" = "$failsafes" ]
	vprobe reclaim a all
	has_holes a
}

@test "kexec without a goodbye: no hole is left before the NVMe works" {
	vprobe reclaim a all
	has_holes a
	guest_run a 'touch /run/old-kernel'
	GUEST_TIMEOUT=20 guest_run a "$KEXEC" 2>/dev/null || :
	wait_until 180 new_kernel a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	# What the old kernel left was filled as the new one touched it, or
	# when it registered.
	no_trace a
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
	vm_wait a
	nvme_reads_well a
	wait_until 60 vprobe_ready a
	[ "$(vstat a fills.failsafe_writes)" = "$writes" ]
}

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
