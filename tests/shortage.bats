# SPDX-License-Identifier: GPL-2.0-only
#
# No host memory at fill time (I5): the vCPU waits, goes on when there is
# memory, and past the limit the VM stops where everybody can see it. That
# there is no memory is injected where a fill allocates it: to really use the
# last page would have the kernel kill somebody for reasons of its own.
# takes: 230

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

CG=/sys/fs/cgroup/vm
NO_MEMORY=/sys/kernel/debug/vprobe/fail/populate
ALWAYS=1073741824
# Milliseconds; a shell looks several times before they are over.
FILL_TIMEOUT=$(patience 20)000

setup_file() {
	host_log_clean
	vprobed_start
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	mkdir -p $CG
	vprobe_vm a nvme=1 mem=512M reboot=yes \
		attach="--stray fault --fill-timeout $FILL_TIMEOUT"
	# All that it has is charged to where it started; what it fills is not.
	vm_pid a > $CG/cgroup.procs
	vprobe reclaim a all
}

teardown_file() {
	echo 0 > $NO_MEMORY
	vm_kill_all
	vprobed_stop
}

more_waits_than() { [ "$(vstat a fills.waits)" -gt "$1" ]; }
is_stopped() { [ "$(vstat a state)" = stopped ]; }

@test "fills are charged to the VM's memory cgroup" {
	before=$(cat $CG/memory.current)
	guest_run a 'memhog -m 100'
	after=$(cat $CG/memory.current)
	echo "$before -> $after"
	[ $((after - before)) -ge $((90 << 20)) ]
}

@test "no memory: the vCPU waits, and goes on when there is some" {
	vprobe reclaim a all
	waits=$(vstat a fills.waits)
	echo $ALWAYS > $NO_MEMORY
	guest_run a 'memhog -m 200' >/run/hog 3>&- & hog=$!
	wait_until 60 more_waits_than "$waits"
	[ "$(vm_qmp a query-status | jq -r .status)" = running ]
	echo 0 > $NO_MEMORY
	wait $hog
	[ "$(vstat a fills.timeouts)" = 0 ]
	[ "$(vstat a state)" = ready ]
}

# It needs memory, and gets none for too long. Afterwards there is some.
until_it_stops() {
	vprobe reclaim a all
	echo $ALWAYS > $NO_MEMORY
	GUEST_TIMEOUT=60 guest_run a 'memhog -m 200' >/run/hog 2>&1 3>&- & hog=$!
	wait_until 90 is_stopped
	[ "$(vm_qmp a query-status | jq -r .status)" = internal-error ]
	[ "$(vstat a fills.timeouts)" -ge 1 ]
	vm_alive a
	run vprobe reclaim a all
	[ "$status" = 1 ]
	echo 0 > $NO_MEMORY
	wait $hog || :
	vm_alive a
}

@test "past the limit the VM stops, and stat and QEMU say so" {
	until_it_stops
}

@test "QEMU does not let it go on, but resets it: it boots, and is ready" {
	run vm_qmp a cont
	[ "$status" != 0 ]
	vm_qmp a system_reset
	vm_qmp a cont
	vm_wait a
	wait_until 60 vprobe_ready a
	vprobe reclaim a all
	[ "$(vstat a memory.holes)" -gt 20 ]
	works a 200
}

@test "detach gives a stopped VM all of its memory back" {
	until_it_stops
	vprobe detach a
	[ "$(vm_ram_resident a)" -ge $((512 << 20)) ]
	vm_kill a
}

@test "no IOMMU fault, no complaint" {
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
