# SPDX-License-Identifier: GPL-2.0-only
#
# Hostile registrations: each is refused with its reason, and changes nothing.
# The messages and the reasons come from user/tests/mkhostile.c.

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

HOSTILE=/run/hostile

setup_file() {
	host_log_clean
	mkdir -p $HOSTILE
	/vprobe/build/user/tests/mkhostile $HOSTILE
	vprobed_start
	vprobe_vm a
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

# Helpers that pass all checks and then do not do their work.
bad_helper() {
	"$TOOLS/mklie" /run/lie "$@"
	vprobed --oneshot-file /run/lie --vm a
}

@test "reports that cannot be true take nothing and are counted" {
	bad_report=$(vstat a refused.bad-report)
	# Each watch in a free block.
	bad_helper free $((256 << 20)) 16 9 $((257 << 20))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
	no_trace a
	# Not aligned.
	bad_report=$(vstat a refused.bad-report)
	bad_helper free $(((256 << 20) + 4096)) 16 9 $((128 << 20))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
	no_trace a
	# Watches where no memory is.
	bad_report=$(vstat a refused.bad-report)
	bad_helper free $((256 << 20)) 16 9 $((3 << 30))
	vprobe reclaim a all
	[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
	no_trace a
	# A block with a hole in its middle: the VGA's window.
	not_backed=$(vstat a refused.not-backed)
	bad_helper free 0 1 9 $((128 << 20))
	vprobe reclaim a all
	[ "$(vstat a refused.not-backed)" -gt "$not_backed" ]
	no_trace a
}

@test "blocks outside of the range that was asked for are not taken" {
	for first in $((1 << 30)) $((4 << 30)) $((1 << 40)); do
		bad_report=$(vstat a refused.bad-report)
		bad_helper blind "$first" 16 9 $((128 << 20))
		vprobe reclaim a all
		[ $(($(vstat a refused.bad-report) - bad_report)) -ge 16 ]
		no_trace a
	done
}
