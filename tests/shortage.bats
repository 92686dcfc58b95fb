# SPDX-License-Identifier: GPL-2.0-only
#
# No host memory at fill time (I5): the vCPU waits, goes on when there is
# memory, and past the limit the VM stops where everybody can see it. There is
# none as the VM's memory cgroup is full, or it is injected where a fill
# allocates: to really use the host's last page would have the kernel kill
# somebody for reasons of its own.
# takes: 290
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

CG=/sys/fs/cgroup/vm
NO_MEMORY=/sys/kernel/debug/vprobe/fail/populate
ALWAYS=1073741824
# Milliseconds, if they are not to end before somebody has looked, and if they are.
LONG=$(patience 240)000
SHORT=$(patience 20)000

setup_file() {
	host_log_clean
	vprobed_start
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	mkdir -p $CG
	vprobe_vm a nvme=1 mem=512M reboot=yes \
		attach="--stray fault --fill-timeout $LONG"
	# All that it has is charged to where it started; what it fills is not.
	vm_pid a > $CG/cgroup.procs
	vprobe reclaim a all
}

teardown_file() {
	echo 0 > $NO_MEMORY
	vm_kill_all
	vprobed_stop
}

# What makes fills fail, on or off.
injected() {
	case $1 in
	on) echo $ALWAYS ;;
	off) echo 0 ;;
	esac > $NO_MEMORY
}

# A block or two fit. None has an odd number of MiB, so there is one left for QEMU.
cgroup_full() {
	case $1 in
	on) echo $(($(cat $CG/memory.current) + (9 << 20))) ;;
	off) echo max ;;
	esac > $CG/memory.max
}

nobody_was_killed() { grep -qx 'oom_kill 0' $CG/memory.events; }

more_waits_than() { [ "$(vstat a fills.waits)" -gt "$1" ]; }
is_stopped() { [ "$(vstat a state)" = stopped ]; }

@test "fills are charged to the VM's memory cgroup" {
	before=$(cat $CG/memory.current)
	guest_run a 'memhog -m 100'
	after=$(cat $CG/memory.current)
	echo "$before -> $after"
	[ $((after - before)) -ge $((90 << 20)) ]
}

# it_waits SWITCH: it needs memory, and gets some when the switch is off again
it_waits() {
	vprobe reclaim a all
	waits=$(vstat a fills.waits)
	"$1" on
	guest_run a 'memhog -m 200' >/run/hog 3>&- & hog=$!
	wait_until 60 more_waits_than "$waits"
	qemu_says a running
	"$1" off
	wait $hog
	[ "$(vstat a fills.timeouts)" = 0 ]
	[ "$(vstat a state)" = ready ]
}

@test "no memory: the vCPU waits, and goes on when there is some" {
	it_waits injected
}

@test "its memory cgroup is full: it waits, and goes on when there is room" {
	it_waits cgroup_full
	nobody_was_killed
}

# until_it_stops SWITCH: it gets none for too long. Afterwards there is some.
until_it_stops() {
	vprobe reclaim a all
	"$1" on
	GUEST_TIMEOUT=60 guest_run a 'memhog -m 200' >/run/hog 2>&1 3>&- & hog=$!
	wait_until 90 is_stopped
	wait_until 60 qemu_says a internal-error
	[ "$(vstat a fills.timeouts)" -ge 1 ]
	vm_alive a
	run vprobe reclaim a all
	[ "$status" = 1 ]
	"$1" off
	wait $hog || :
	vm_alive a
}

@test "past the limit the VM stops, and stat and QEMU say so" {
	vprobe detach a
	vprobe attach "$(vm_pid a)" --stray fault --fill-timeout "$SHORT"
	wait_until 60 vprobe_ready a
	until_it_stops cgroup_full
	nobody_was_killed
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
	until_it_stops injected
	vprobe detach a
	[ "$(vm_ram_resident a)" -ge $((512 << 20)) ]
	vm_kill a
}

@test "no IOMMU fault, no complaint" {
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
