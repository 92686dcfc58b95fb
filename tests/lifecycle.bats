# SPDX-License-Identifier: GPL-2.0-only
#
# Things that end in the middle: daemons, VMMs, the module (I7). After each: no pin,
# no watch, no hole, no leak, and the guest goes on. Guest kernels that end:
# lifecycle_reboot.bats; a VMM that is killed at different moments:
# lifecycle_kill.bats.
# takes: 170

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash
load lib/lifecycle.bash

setup_file() { lifecycle_vm; }

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
