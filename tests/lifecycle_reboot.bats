# SPDX-License-Identifier: GPL-2.0-only
#
# A guest's kernel ends with holes outstanding (I7): reset, kexec, crash, triple fault.
# After each: no pin, no watch, no hole, and the next kernel finds all its memory and
# its NVMe at work.
# takes: 300
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash
load lib/lifecycle.bash

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

setup_file() {
	lifecycle_vm reboot=yes qemu="$(disk kernel /vprobe/l2/vmlinuz-6.12) \
		$(disk initrd /run/initrd-6.12.cpio)"
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
