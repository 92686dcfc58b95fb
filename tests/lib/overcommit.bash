# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# More guest memory than the host has: 2 GiB guests, each with an NVMe of its
# own, on a host of 4 GiB. Needs lib/vm.bash, lib/host.bash, lib/vprobe.bash.
#
#	overcommit_vm NAME	boot one, attach it, wait until what it does not
#				use is the host's
#	overcommit_turn NAME	it uses 1.2 GiB with checked contents while fio
#				verifies what it writes to its NVMe
#	overcommit_unsafe	start one and then another without V-Probe;
#				succeeds if the second one could not be started.
#				The kernel's complaint goes to /run/unsafe.log
#	overcommit_io_errors NAME	what fio found wrong in the last turn
#	oom_kills		how many the OOM killer has killed since then

OVERCOMMIT_RAM=2G
OVERCOMMIT_USE=1229
OVERCOMMIT_IO=16m
# The debug kernel would take half an hour for that.
! is_debug || OVERCOMMIT_USE=400 OVERCOMMIT_IO=4m
# A guest needs all of its memory while it boots: devices may reach all of it.
OVERCOMMIT_ROOM=$((2300 << 20))

overcommit_fio="fio --name=nvme --filename=/dev/nvme0n1 --rw=randrw --bs=64k
	--size=$OVERCOMMIT_IO --direct=1 --ioengine=libaio --iodepth=8
	--verify=crc32c --verify_fatal=1"

oom_kills() { dmesg | grep -ci 'out of memory: killed process' || :; }

has_room() { [ "$(mem_available)" -ge $OVERCOMMIT_ROOM ]; }

overcommit_vm() {
	wait_until 120 has_room ||
		{ echo "the host has no room for guest $1"; return 1; }
	vprobe_vm "$1" mem=$OVERCOMMIT_RAM nvme=1
}

overcommit_io_errors() {
	grep -c '^verify: bad\|^fio: .*err=' "$VM_DIR/$1/fio.log" || :
}

overcommit_turn() {
	local log=$VM_DIR/$1/fio.log io status=0

	GUEST_TIMEOUT=900 guest_run "$1" "${overcommit_fio//$'\n'/ }" \
		>"$log" 2>&1 3>&- &
	io=$!
	GUEST_TIMEOUT=900 guest_run "$1" "memhog -m $OVERCOMMIT_USE" ||
		status=$?
	wait $io || status=$?
	if [ $status != 0 ] || [ "$(overcommit_io_errors "$1")" != 0 ]; then
		cat "$log"
		return 1
	fi
}

# All of its memory is pinned.
unsafe_is_up() { [ "$(vm_ram_resident "$1")" -ge $((2 << 30)) ]; }
unsafe_is_over() { ! vm_alive "$1" || unsafe_is_up "$1"; }

overcommit_unsafe() {
	local over=1

	vm_start plain1 mem=$OVERCOMMIT_RAM nvme=1 cid=0
	wait_until 60 unsafe_is_up plain1 || return
	vm_start plain2 mem=$OVERCOMMIT_RAM nvme=1 cid=0
	# Should somebody have to be killed, then not the test.
	echo 1000 > "/proc/$(vm_pid plain2)/oom_score_adj"
	wait_until 120 unsafe_is_over plain2
	! vm_alive plain2 || over=0
	vm_kill plain2
	vm_kill plain1
	# It was to be expected, and is not in the log from here on.
	dmesg -c > /run/unsafe.log
	rm -f /run/log-seen
	[ $over = 1 ]
}
