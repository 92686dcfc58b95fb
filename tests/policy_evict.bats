# SPDX-License-Identifier: GPL-2.0-only
#
# How a policy that misbehaves is thrown out, and what policies are told.
# long
# takes: 150

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash
load lib/policy.bash

newest_is() { [ "$(vprobe --json policy show | jq -r '.[0].state')" = "$1" ]; }

# evicted_for MODE TEXT: the built-in one takes over, and the reason stays
evicted_for() {
	vprobe policy load $EVIL mode="$1"
	wait_until 60 newest_is evicted
	wait_until 60 policy_is '(built-in)'
	vprobe policy show
	grep -qE "$2" <<<"$(vprobe --json policy show | jq -r '.[0].why')"
	vprobe policy unload
	newest_is gone
	grep -qE "$2" <<<"$(vprobe --json policy show | jq -r '.[0].why')"
	nothing_taken
}

@test "evicted: decide() fails" { evicted_for 2 'decide\(\) returned -5'; }
@test "evicted: wants to look again too soon" { evicted_for 3 'in 9 ms'; }
@test "evicted: wants to look again too late" { evicted_for 4 'in 3600001 ms'; }
@test "evicted: prefer() answers nonsense" { evicted_for 5 'prefer\(\) returned 3'; }
# A machine that stands still may make one call the longest.
@test "evicted: over its budget" {
	for _ in 1 2 3 4 5; do
		evicted_for 6 'ran for (more than 250 ms|[0-9]+ ms in one call)'
		! vprobe --json policy show | jq -r '.[0].why' |
			grep 'more than 250 ms' || return 0
	done
	return 1
}
@test "evicted: one call takes too long" {
	evicted_for 11 'ran for [0-9]+ ms in one call'
}
@test "evicted: floods" { evicted_for 7 'more than 1000 calls'; }

@test "not evicted: a guest has it called, and it wants to look again each time" {
	vprobe policy load $EVIL mode=12
	wait_until 30 taken_more_than $((500 << 20))
	guest_run a 'memhog -m 500 -t 2'
	policy_is evil
	vprobe policy unload
	nothing_taken
}

@test "an evicted policy can be replaced where it is" {
	vprobe policy load $EVIL mode=2
	wait_until 30 policy_is '(built-in)'
	vprobe policy load simple
	wait_until 30 policy_is simple
}

# ended_is END: 1 + enum vprobe_policy_end, as exit() was told
ended_is() { [ "$(of_evil ended)" = "$1" ]; }

@test "exit() is told why: unregistered, evicted, replaced" {
	vprobe policy load $EVIL
	pin_evil
	vprobe policy unload
	wait_until 30 ended_is 1
	vprobe policy load $EVIL mode=2
	pin_evil
	wait_until 30 ended_is 3
	vprobe policy unload
	ended_is 3
	hold swap $TOOLS/policyswap $EVIL $POLICIES/simple.bpf.o
	wait_until 30 policy_is evil
	pin_evil
	release swap
	ended_is 2
	wait_until 30 policy_is '(built-in)'
	nothing_taken
}

told_pressure() { grep -q 'memory pressure: ' /out/vprobed.log; }

@test "memory pressure reaches policies, by PSI" {
	# It spares all, and is only told once there is another for the VM.
	vprobe policy load $EVIL mode=9
	pin_evil
	vprobe policy load watermark low_percent=0 high_percent=0 \
		pressure_percent=1 busy_ms=100 --vm a
	wait_until 30 policy_is watermark
	sleep 1
	[ "$(vstat a memory.holes)" = 0 ]
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/tight
	echo 8M > /sys/fs/cgroup/tight/memory.high
	(
		echo $BASHPID > /sys/fs/cgroup/tight/cgroup.procs
		exec timeout 60 sh -c 'while :; do
			head -c 64M /dev/zero | tail -c 40M >/dev/null; done'
	) 3>&- &
	hog=$!
	wait_until 60 told_pressure
	wait_until 30 taken_more_than $((100 << 20))
	kill $hog || :
	wait $hog || :
	vprobe policy unload --vm a
	[ "$(of_evil times_told)" -ge 1 ]
	[ "$(of_evil told)" -ge 100 ]
	vprobe policy unload
	nothing_taken
}

@test "zero IOMMU faults, and nobody complained" {
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
