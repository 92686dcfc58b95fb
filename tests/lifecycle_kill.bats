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
	host_log_clean
	[ "$(iommu_faults)" = 0 ]
}

# killed_after TENTHS: of a second into a fill, and hundredths into a reclaim
killed_after() {
	vprobe_vm k nvme=1 mem=512M smp=1
	vprobe reclaim k all 3>&- & pid=$!
	sleep "0.0$1"
	vm_kill k
	wait $pid || :
	wait_until 60 nobody_attached
	vprobe_vm k nvme=1 mem=512M smp=1
	vprobe reclaim k all
	GUEST_TIMEOUT=1 guest_run k 'memhog -m 300' 3>&- & pid=$!
	sleep "0.$1"
	vm_kill k
	wait $pid || :
	wait_until 60 nobody_attached
}

@test "kill -9 of QEMU as a reclaim and a fill begin" { killed_after 0; }
@test "kill -9 of QEMU during a reclaim and a fill" { killed_after 2; }
@test "kill -9 of QEMU later in a reclaim and a fill" { killed_after 4; }

@test "all memory is back, and the module unloads" {
	vprobed_kill
	vprobe_gone
	modprobe vprobe
}
