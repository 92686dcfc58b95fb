# SPDX-License-Identifier: GPL-2.0-only
#
# Hostile registrations: each is refused with its reason, and changes nothing.
# The messages and the reasons come from user/tests/mkhostile.c.
# takes: 165

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

HOSTILE=/run/hostile

setup_file() {
	host_log_clean
	mkdir -p $HOSTILE
	/vprobe/build/user/tests/mkhostile $HOSTILE
	# What it does about a guest that lies is in service.bats.
	vprobed_start --no-attach --no-quarantine
	vprobe_vm a smp=2
}

teardown_file() {
	vm_kill_all
}

# Only those that are to be refused by STAGE: "FILE TEXT" per line.
by() { awk -v s="$1" '$2 == s { $2 = ""; print }' $HOSTILE/expected; }

# The helper that the guest registered at boot is in use, as before.
unchanged() {
	[ "$(vstat a state)" = ready ]
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	vprobe fill a all
	no_trace a
	errors=$(vstat a helper.errors)
	[ "$errors" = 0 ]
}

# each_refused STAGE PREFIX [ARG]...: by vprobed, of those meant for STAGE
each_refused() {
	while read -r file text; do
		refused_with 1 "$2$text" \
			vprobed --oneshot-file "$HOSTILE/$file" "${@:3}"
	done < <(by "$1")
}

@test "admission refuses each with its reason, without any rights" {
	[ "$(by admission | wc -l)" -ge 7 ]
	while read -r file text; do
		refused_with 1 "$text" setpriv --reuid=nobody --regid=nogroup \
			--clear-groups --no-new-privs \
			vprobed --check "$HOSTILE/$file"
	done < <(by admission)
	vprobed --check $HOSTILE/honest.msg
}

@test "vprobed refuses the same, for a VM" {
	each_refused admission '' --vm a
	unchanged
}

@test "the kernel's verifier refuses each with its reason" {
	[ "$(by verifier | wc -l)" -ge 4 ]
	each_refused verifier 'verifier: .*'
	each_refused verifier 'verifier: .*' --vm a
	unchanged
}

@test "the module refuses a helper that writes outside its results" {
	[ "$(by module | wc -l)" -ge 1 ]
	each_refused module '' --vm a
	unchanged
}

# in_guest FILE: put it there as /run/FILE
in_guest() {
	guest_run a "echo $(base64 -w0 < "$1") | base64 -d > /run/$(basename "$1")"
}

@test "only a guest's root is heard: its port is one of those below 1024" {
	in_guest $HOSTILE/honest.msg
	run guest_run a 'vsend -p 5000 /run/honest.msg'
	echo "$output"
	[ "$status" = 2 ]
	grep 'its vsock port 5000 is not below 1024' /out/vprobed.log
	unchanged
}

@test "a guest hears the same reasons over vsock" {
	while read -r file stage text; do
		[ "$stage" != nobody ] || continue
		in_guest "$HOSTILE/$file"
		run guest_run a "vsend /run/$file"
		echo "$file: $output"
		[ "$status" = 1 ]
		grep -qE -- "$text" <<<"$output"
	done < $HOSTILE/expected
	unchanged
}

@test "messages that end early, at every place that matters, are truncated" {
	in_guest $HOSTILE/honest.msg
	size=$(stat -c %s $HOSTILE/honest.msg)
	for n in 1 15 16 17 31 100 $((size - 8)) $((size - 1)); do
		run guest_run a "vsend -n $n /run/honest.msg"
		echo "$n bytes: $output"
		[ "$status" = 1 ]
		[[ $output = *"ends before the length"* ]]
	done
	unchanged
}

@test "a guest that connects and says nothing is no harm" {
	run guest_run a 'vsend -n 0 /run/honest.msg'
	[ "$status" = 2 ]
	for _ in 1 2 3 4 5 6; do
		guest_run a 'vsend -n 10 /run/honest.msg & ' || :
	done
	unchanged
	kill -0 "$(cat "$VPROBED_PID")"
}

@test "noise instead of a message is refused" {
	guest_run a 'head -c 5000 /dev/urandom > /run/noise'
	run guest_run a 'vsend /run/noise'
	[ "$status" = 1 ]
	[[ $output = *"magic number"* ]]
	unchanged
}

@test "a program that is no helper has no guest to look at, even if root runs it" {
	bpftool prog load /vprobe/build/bpf/tests/stranger.bpf.o \
		/sys/fs/bpf/stranger
	# Programs of this type take no data and run once, which is said by 0.
	run bpftool --json prog run pinned /sys/fs/bpf/stranger repeat 0
	rm /sys/fs/bpf/stranger
	echo "$output"
	[ "$status" = 0 ]
	[ "$(jq .retval <<<"$output")" = 0 ]
	unchanged
}

@test "a guest that registers all the time is slowed down" {
	run guest_run a 'n=0; while [ $n -lt 40 ]; do n=$((n + 1))
		vsend /run/unbounded-loop.msg & vsend /run/unbounded-loop.msg
		wait; done'
	[[ $output = *"registers too often"* ]]
	unchanged
}

# From here on: helpers that pass all checks and then do not do their work.
@test "reports that cannot be true take nothing and are counted" {
	# One block is taken: what the guest uses would be lost.
	free=$(vprobe --json free-map a --ask |
		jq "[.blocks[] | select(.state == \"free\" and .order >= 9 and
			.gpa > $((64 << 20)) and .gpa < $((960 << 20)))][0].gpa")
	[ "$free" -gt 0 ]
	bad_report=$(vstat a refused.bad-report)
	# The first watch just before its block, all others in that block.
	bad_helper a free "$free" 16 9 $((free - 4096))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 15 ]
	[ "$(vstat a memory.holes)" -le 1 ]
	vprobe fill a all
	no_trace a
	# Not aligned.
	bad_report=$(vstat a refused.bad-report)
	bad_helper a free $(((256 << 20) + 4096)) 16 9 $((128 << 20))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
	no_trace a
	# Watches where no memory is.
	bad_report=$(vstat a refused.bad-report)
	bad_helper a free $((256 << 20)) 16 9 $((3 << 30))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
	no_trace a
	# A block with a hole in its middle: the VGA's window.
	not_backed=$(vstat a refused.not-backed)
	bad_helper a free 0 1 9 $((128 << 20))
	vprobe reclaim a all
	[ "$(vstat a refused.not-backed)" -gt "$not_backed" ]
	no_trace a
}

@test "blocks outside of the range that was asked for are not taken" {
	for first in $((1 << 30)) $((4 << 30)) $((1 << 40)); do
		bad_report=$(vstat a refused.bad-report)
		bad_helper a blind "$first" 16 9 $((128 << 20))
		vprobe reclaim a all
		[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
		no_trace a
	done
}

@test "a helper that does not get on is given up" {
	for lie in stuck crawl angry; do
		bad_helper a $lie
		before=$(vstat a helper.errors)
		refused_with 1 "helper returned an error or did not get on" \
			vprobe reclaim a all
		[ "$(vstat a helper.errors)" -gt "$before" ]
		no_trace a
	done
	refused_with 1 "helper" vprobe free-map a --ask
}

@test "registering again from the guest puts things right" {
	# Not too often.
	wait_until 60 guest_run a /vprobe-inject
	[ "$(vstat a state)" = ready ]
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	works a 300
}

@test "clean logs" {
	vprobe detach a
	guest_log_clean a
	vm_stop a
	host_log_clean
}
