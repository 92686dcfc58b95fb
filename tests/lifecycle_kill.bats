# SPDX-License-Identifier: GPL-2.0-only
#
# QEMU is killed at different moments of a reclaim and of a fill (I7): the VM goes
# from the list, and no pin, no watch and no leak is left.
# takes: 130
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	vprobed_start
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	host_log_clean && [ "$(iommu_faults)" = 0 ]
}

# killed_when reclaim|fill MIB: VM k, when so much has gone, or come back; how much
# it was in the end is in $moved.
killed_when() {
	local before now pid ram pinned

	pinned=$(pinned_pages)
	vprobe_vm k nvme=1 mem=512M smp=1
	ram=$(vm_ram k)
	[ "$1" = reclaim ] || vprobe reclaim k all
	before=$(mib_behind "$ram")
	if [ "$1" = reclaim ]; then
		vprobe reclaim k all >/dev/null 2>&1 3>&- &
	else
		guest_run k 'memhog -m 300' >/dev/null 2>&1 3>&- &
	fi
	pid=$!
	until now=$(mib_behind "$ram") && [ $((now - before)) -ge "$2" ] ||
		[ $((before - now)) -ge "$2" ] || ! kill -0 $pid; do
		:
	done
	now=$(mib_behind "$ram")
	vm_kill k
	wait $pid || :
	moved=$((now > before ? now - before : before - now))
	echo "killed after $moved MiB"
	wait_until 60 nobody_attached
	wait_until 60 pinned_are "$pinned"
}

pinned_are() { [ "$(pinned_pages)" = "$1" ]; }

# killed_between reclaim|fill FROM TO: in MiB; it may be over before we look
killed_between() {
	for _ in 1 2 3 4; do
		killed_when "$1" "$2"
		[ "$moved" -lt "$2" ] || [ "$moved" -ge "$3" ] || return 0
	done
	return 1
}

@test "kill -9 of QEMU as a reclaim begins" { killed_between reclaim 1 300; }
@test "kill -9 of QEMU during a reclaim" { killed_between reclaim 150 350; }
@test "kill -9 of QEMU as a fill begins" { killed_between fill 1 200; }
@test "kill -9 of QEMU during a fill" { killed_between fill 100 280; }

@test "all memory is back, and the module unloads" {
	vprobed_kill
	vprobe_gone
	modprobe vprobe
}
