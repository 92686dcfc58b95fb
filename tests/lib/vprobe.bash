# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# V-Probe on the testbed's host. Needs lib/vm.bash and lib/host.bash.
#
#	vprobed_start [OPTION]...	--no-attach if there is no other: the
#					tests attach by themselves
#	vprobed_stop			and wait until it has ended
#	vprobed_kill			kill -9, waits
#	talker_connected		how often guests have connected to it
#	vprobe_vm NAME [KEY=VALUE]...	vm_boot, attach with a helper; options
#					for vprobe attach are attach="--stray
#					fault", so that a mistake shows, or other
#	vprobe_ready NAME		the VM has a helper
#	vstat NAME FIELD		one of vprobe stat --json: memory.holes
#	reclaim_quiet NAME		reclaim all; prints the bytes taken
#	all_watched NAME		each hole has its watch, as soon as
#					nothing is on its way
#	no_trace NAME			fails if the VM has a hole or a watch

VPROBED_PID=/run/vprobed.pid

# bats waits for whoever holds one of its files: vprobed gets none of them.
vprobed_start() {
	[ $# -gt 0 ] || set -- --no-attach
	# The injector waits for 120 s.
	! is_debug || set -- "$@" --verify-timeout 110000
	(
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || eval "exec $fd>&-"
		done
		exec setsid vprobed -v --metrics /run/vprobed-metrics "$@"
	) </dev/null >>/out/vprobed.log 2>&1 &
	echo $! > $VPROBED_PID
}

vprobed__end() {
	local pid

	pid=$(cat $VPROBED_PID) || return 0
	kill "-$1" "$pid" 2>/dev/null || return 0
	wait_until 20 vprobed__gone "$pid"
	wait "$pid" 2>/dev/null || :
}

vprobed__gone() {
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
	''|Z*) return 0 ;;
	esac
	return 1
}

talker_connected() { grep -c 'talker: guest .*: connected' /out/vprobed.log; }

vprobed_kill() { vprobed__end KILL; }
vprobed_stop() { vprobed__end TERM; }

# vprobe__stat NAME FILTER [JQ-OPTION]...: one question, one answer
vprobe__stat() {
	vprobe --json stat "$1" |
		jq "${@:3}" "(if type == \"array\" then .[0] else . end) | $2"
}

vstat() {
	# shellcheck disable=SC2016 # $path is jq's
	vprobe__stat "$1" 'getpath($path | split("."))' -r --arg path "$2"
}

vprobe_ready() { [ "$(vstat "$1" state)" = ready ]; }

vprobe_vm() {
	local name=$1 arg attach='--stray fault'
	local -a rest

	shift
	for arg; do
		case $arg in
		attach=*) attach=${arg#*=} ;;
		*) rest+=("$arg") ;;
		esac
	done
	vm_boot "$name" "${rest[@]}" || return
	# shellcheck disable=SC2086 # options, to be split
	vprobe attach "$(vm_pid "$name")" $attach || return
	wait_until 60 vprobe_ready "$name" || {
		echo "guest $name did not register a helper"
		guest_run "$name" 'cat /run/inject.log'
		tail -n 20 /out/vprobed.log
		return 1
	}
}

reclaim_quiet() {
	vprobe --json reclaim "$1" all | jq -r .taken_bytes
}

all_watched() { wait_until 10 vprobe__all_watched "$1"; }

vprobe__all_watched() {
	vprobe__stat "$1" '.memory.holes == .watches.now' -e >/dev/null
}

no_trace() {
	local left

	left=$(vprobe__stat "$1" '"\(.memory.holes) holes and \(.watches.now) watches"' -r)
	[ "$left" != '0 holes and 0 watches' ] || return 0
	echo "VM $1 still has $left"
	return 1
}
