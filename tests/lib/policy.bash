# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests of policies share: one guest, a, set up and torn down here.
#
#	policy_is NAME		it drives the VM
#	taken_more_than BYTES	that many are in holes now
#	took_again BLOCKS	so many were taken, ever
#	nothing_taken		all is filled, and no watch is left
#	pin_evil		what the newest evil policy knows outlives it
#	of_evil NAME		one of its variables, from the map that is pinned

# shellcheck disable=SC2034 # for who loads this
POLICIES=/usr/lib/vprobe/policies
# shellcheck disable=SC2034
EVIL=/vprobe/build/bpf/tests/policies/evil.bpf.o

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

# What a test may have left behind.
teardown() {
	vprobe policy unload >/dev/null 2>&1 || :
	vprobe policy unload --vm a >/dev/null 2>&1 || :
	bpftool struct_ops unregister name simple >/dev/null 2>&1 || :
	rm -rf /sys/fs/bpf/links /sys/fs/bpf/evil-bss
}

policy_is() {
	[ "$(vprobe --json policy show |
		jq -r '.[] | select(.drives == 1) | .name')" = "$1" ]
}

taken_more_than() { [ "$(vstat a memory.hole_bytes)" -gt "$1" ]; }
took_again() { [ "$(vstat a memory.taken_blocks)" -gt "$1" ]; }

nothing_taken() {
	vprobe fill a all
	no_trace a
}

of_evil() {
	bpftool -j map dump pinned /sys/fs/bpf/evil-bss |
		jq ".. | objects | .$1? // empty"
}

pin_evil() {
	rm -f /sys/fs/bpf/evil-bss
	bpftool map pin id "$(bpftool -j map show |
		jq 'map(select(.name == "evil.bss")) | max_by(.id).id')" \
		/sys/fs/bpf/evil-bss
}
