# SPDX-License-Identifier: GPL-2.0-only
#
# What the policies that come along are worth: counts, not times.
# takes: 260
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash

setup_file() {
	host_log_clean
	# Only the policies that are loaded here take anything.
	echo 0 > /sys/module/vprobe/parameters/builtin_percent
	vprobed_start
}

teardown_file() {
	vprobed_stop
}

teardown() {
	vprobe policy unload >/dev/null 2>&1 || :
	vm_kill_all
}

# bursts MS POLICY [KNOB=VALUE...]: of guest a, who then rests for so long; sets fills,
# and held: MiB on average
bursts() {
	local before n=0 sum=0 pid rest=$1 STILL_SAID

	shift
	vprobe fill a all
	vprobe policy load "$@" || return
	before=$(vstat a fills.vcpu)
	GUEST_TIMEOUT=1500 guest_run a "for i in $(seq -s ' ' 16); do
		memhog -m 48; sleep $(seconds "$rest"); done" 3>&- & pid=$!
	while kill -0 $pid 2>/dev/null; do
		sum=$((sum + $(vprobe__stat a \
			'.memory | (.ram_bytes - .hole_bytes) / 1048576 | floor')))
		n=$((n + 1))
		still_waiting "$1"
		sleep "$(seconds $((rest / 4)))"
	done
	wait $pid || return
	fills=$(($(vstat a fills.vcpu) - before))
	held=$((sum / n))
	echo "$1: $fills fills, $held MiB held on average ($n samples)"
	vprobe policy unload
}

# What headroom forgets it forgets by the look: on a slow machine, too, there are about
# four to a burst and its rest.
headroom_is_worth_it() {
	local look simple_fills simple_held

	look=$(round_ms 48) || return
	echo "a burst takes $look ms"
	look=$((look > 2000 ? look / 2 : 1000))
	bursts $((2 * look)) simple interval_ms=$look || return
	simple_fills=$fills simple_held=$held
	bursts $((2 * look)) headroom interval_ms=$look || return
	# One burst in two at least met a guest with nothing at hand.
	[ "$simple_fills" -ge 8 ] && [ $((fills * 3)) -lt "$simple_fills" ] &&
		[ $((held * 100)) -le $((simple_held * 115)) ]
}

@test "headroom: a third of the fills of simple, for 15 % more memory at most" {
	vprobe_vm a
	guest_run a 'dd if=/dev/zero of=/run/ballast bs=1M count=400 2>/dev/null'
	# The first burst in new memory takes longer than others.
	guest_run a 'memhog -m 48'
	# Once more if the machine got much slower, or faster, than it was at first.
	headroom_is_worth_it || headroom_is_worth_it
	guest_log_clean a
}

given_by() { vstat "$1" memory.taken_bytes; }

# round_ms MIB: of one round of what guest a does, milliseconds
round_ms() {
	local from

	from=$(date +%s%3N)
	guest_run a "memhog -m $1" >/run/hog || return
	echo $(($(date +%s%3N) - from))
}

# give_until BYTES LOOK: under the policy, until so many are available; 60 looks
give_until() {
	local n STILL_SAID

	for ((n = 0; n < 60; n++)); do
		sleep "$(seconds "$2")"
		still_waiting "$1 bytes"
		[ "$(mem_available)" -lt "$1" ] || break
	done
	echo "$(mem_available) after $n looks"
}

# Guest a is busy, b and c are idle; the host wants 400 MiB. True if b and c gave
# 90 % of what was given. What a guest used in the last 32 looks is in use: the policy
# looks five times in a round of guest a's, however slow the machine is.
idle_ones_give() {
	local vm n total have want look hog from_a given=0
	local -A before

	for vm in a b c; do
		vprobe fill $vm all || return
		before[$vm]=$(given_by $vm)
	done
	look=$(round_ms 400) || return
	look=$((look > 1000 ? look / 5 : 200))
	GUEST_TIMEOUT=700 guest_run a 'memhog -m 400 -s 600' >/run/hog 3>&- & hog=$!
	sleep 5
	total=$(vprobe --json top -n 1 | jq .host_total_bytes)
	have=$(mem_available)
	want=$(((have + (400 << 20)) * 100 / total))
	echo "$have of $total bytes are available, $want % shall be; a look in $look ms"
	vprobe policy load fair low_percent=$((want - 1)) high_percent=$want \
		busy_ms=$look calm_ms=$look || return
	give_until $((total / 100 * want)) $look
	vprobe policy unload
	guest_run a 'killall memhog' && wait $hog || return
	cat /run/hog
	for vm in a b c; do
		n=$(($(given_by $vm) - before[$vm]))
		echo "$vm gave $((n >> 20)) MiB"
		given=$((given + n))
		[ $vm != a ] || from_a=$n
	done
	[ $given -ge $((300 << 20)) ] && [ $((from_a * 10)) -le $given ]
}

@test "fair: of one busy and two idle VMs the idle ones give 90 %" {
	for vm in a b c; do
		vprobe_vm $vm mem=640M nvme=1
	done
	# Once more if the machine got much slower than it was in the first round.
	idle_ones_give || idle_ones_give
	host_log_clean
}
