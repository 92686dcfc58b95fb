# SPDX-License-Identifier: GPL-2.0-only
#
# Three guests of 2 GiB with passthrough on a host of 4 GiB, and what they do to
# each other: policies are swapped, vprobed is killed, memory runs out.
# On the debug kernel a guest uses 400 MiB in its turn, it is so slow.
# takes: 500
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/overcommit.bash

BUILTIN=/sys/module/vprobe/parameters/builtin_percent

setup_file() {
	host_log_clean
	oom_kills > /run/oom-kills
	# Only the policies that are loaded here take anything.
	echo 0 > $BUILTIN
	vprobed_start
}

teardown_file() {
	rm -f /tmp/eaten /run/swapping
	vprobe policy unload >/dev/null 2>&1 || :
	vm_kill_all
	vprobed_stop
}

@test "without V-Probe the second guest does not start" {
	overcommit_unsafe
	grep -i 'out of memory: killed process' /run/unsafe.log
	oom_kills > /run/oom-kills
}

@test "with it there is room for three" {
	vprobe policy load simple interval_ms=1000
	for name in one two three; do
		overcommit_vm $name
	done
	wait_until 60 has_room
	for name in one two three; do
		vm_alive $name
		[ "$(vstat $name state)" = ready ]
	done
}

# pause_ms MS: 100 at least
pause_ms() { sleep "$(seconds $(($1 > 100 ? $1 : 100)))"; }

# Every 100 ms, until /run/swapping goes; on a slow machine less often, so that loading
# is a quarter of what a processor does at most.
swap_policies() {
	local policy from

	while [ -e /run/swapping ]; do
		for policy in simple watermark headroom fair; do
			from=${EPOCHREALTIME/./}
			vprobe policy load $policy >/dev/null ||
				echo "failed: $policy"
			pause_ms $(((${EPOCHREALTIME/./} - from) * 3 / 1000))
			echo $policy
		done
	done > /run/swaps
	rm -f /run/swapper
}

@test "one uses 1.2 GiB, while policies are swapped every 100 ms" {
	: > /run/swapping
	: > /run/swapper
	uptime_s > /run/swapping-since
	swap_policies 2>/dev/null 3>&- &
	overcommit_turn one
}

swaps() { wc -l < /run/swaps; }
is_over() { [ ! -e /run/swapper ]; }
swapped_for_a_minute() {
	[ $(($(uptime_s) - $(cat /run/swapping-since))) -ge 60 ]
}
uptime_s() { cut -d. -f1 /proc/uptime; }

@test "two does, while vprobed is killed and started again as well" {
	(sleep 5; vprobed_kill; sleep 5; vprobed_start) >/dev/null 2>&1 3>&- &
	restart=$!
	overcommit_turn two
	wait $restart
	wait_until 60 swapped_for_a_minute
	wait_until 600 more_than 59 swaps
	rm /run/swapping
	wait_until 60 is_over
	echo "$(swaps) policies"
	[ "$(grep -c failed /run/swaps)" = 0 ]
}

@test "three does; all is as it should be, and vprobed hears guests" {
	vprobe policy load simple interval_ms=1000
	overcommit_turn three
	for name in one two three; do
		[ "$(vstat $name state)" = ready ]
		[ "$(vstat $name fills.timeouts)" = 0 ]
		[ "$(vstat $name watches.emulated)" = 0 ]
		all_watched $name
	done
	guest_run two '/vprobe-inject'
}

# Two guests have free memory that the host has not taken.
idle_holders() {
	vprobe policy unload || :
	for name in one two three; do
		vprobe reclaim $name all
	done
	vprobe fill one 600M
	vprobe fill two 600M
	taken=$(taken_from_both)
}

taken_from_both() {
	echo $(($(vstat one memory.taken_bytes) +
		$(vstat two memory.taken_bytes)))
}

EAT_PIECE=$((32 << 20))

# eat BYTES: of the host's memory, for nothing
eat() {
	echo "$(($1 >> 20)) MiB for nothing"
	mount -o "remount,size=$(($1 + (64 << 20)))" /tmp
	[ "$1" -gt 0 ]
	local left=$1 had

	# The kernel waits for 3 s in ten for those who give. Who waits as well has all
	# of that for each piece.
	while [ "$left" -gt 0 ]; do
		had=$(taken_from_both)
		head -c $((left < EAT_PIECE ? left : EAT_PIECE)) /dev/zero >> /tmp/eaten
		left=$((left - EAT_PIECE))
		[ "$(taken_from_both)" = "$had" ] || sleep 3
	done
}

@test "memory runs out: what two guests do not use goes to the third" {
	idle_holders
	eat $(($(mem_available) - (300 << 20)))
	OVERCOMMIT_USE=900 overcommit_turn three
	taken=$(($(taken_from_both) - taken))
	waits=$(vstat three fills.waits)
	longest=$(vstat three fills.longest_wait_ms)
	echo "$((taken >> 20)) MiB taken, $waits waits, the longest $longest ms"
	rm /tmp/eaten
	[ $taken -ge $((250 << 20)) ]
	# None waited for longer than fill_timeout_ms: that would be a time-out.
	[ "$(vstat three fills.timeouts)" = 0 ]
	[ "$longest" -lt "$(vstat three fill_timeout_ms)" ]
	[ "$(vstat three state)" = ready ]
	all_watched one
	all_watched two
	[ "$(oom_kills)" = "$(cat /run/oom-kills)" ]
}

@test "memory runs out for others: guests give before anybody is killed" {
	idle_holders
	# The host finds some 100 MiB by itself: MemAvailable is an estimate.
	eat $(($(mem_available) + (550 << 20)))
	[ "$(oom_kills)" = "$(cat /run/oom-kills)" ]
	taken=$(($(taken_from_both) - taken))
	echo "$((taken >> 20)) MiB taken"
	[ $taken -ge $((300 << 20)) ]
	rm /tmp/eaten
}

@test "nobody was killed, no IOMMU fault, clean logs" {
	# There was nowhere to swap to.
	[ "$(wc -l < /proc/swaps)" = 1 ]
	[ "$(oom_kills)" = "$(cat /run/oom-kills)" ]
	[ "$(iommu_faults)" = 0 ]
	for name in one two three; do
		guest_log_clean $name
		vprobe reclaim $name all
		vm_stop $name
	done
	host_log_clean
}
