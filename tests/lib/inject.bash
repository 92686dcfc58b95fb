# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests of failure injection share: each step of the module that can
# fail does so once, is reported and undone, and nothing is lost. (Which steps
# there are: kern/vprobe/inject.c.) Needs lib/vm.bash,
# host.bash, vprobe.bash and tools.bash.
#
#	inject_guest		guest `a', attached, with two iommufds
#	inject_reset		for setup(): no point is left armed
#	attach			guest `a'
#	fail_at POINT N		the N-th pass through it from now on fails
#	was_hit POINT		it has
#	paused COMMAND...	without a guest that fills something itself
#	all_is_well		no point is left, and everything works

FAIL=/sys/kernel/debug/vprobe/fail

inject_guest() {
	# Two iommufds: one with the NVMe, one that is open and idle.
	exec {iommu}<>/dev/iommu
	vm_boot a nvme=1 reboot=yes qemu="-object iommufd,id=fd1,fd=$iommu"
	exec {iommu}>&-
	attach
}

inject_reset() {
	local point

	[ -e "$FAIL" ] || return 0
	for point in "$FAIL"/*; do
		echo 0 > "$point"
	done
	[ -n "$(vprobe --json ls | jq -r '.[].id')" ] || attach
	vprobe_ready a || guest_run a /vprobe-inject
}

attach() {
	vprobe attach "$(vm_pid a)" --stray fault &&
		wait_until 60 vprobe_ready a
}

fail_at() { echo "$2" > "$FAIL/$1"; }

paused() {
	local status=0

	vm_qmp a stop
	"$@" || status=$?
	vm_qmp a cont
	return $status
}

was_hit() {
	[ "$(cat "$FAIL/$1")" = 0 ] ||
		{ echo "$1 has $(cat "$FAIL/$1") passes left"; return 1; }
}

all_is_well() {
	local point

	for point in "$FAIL"/*; do
		was_hit "${point##*/}"
	done
	vprobe fill a all
	no_trace a
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	all_watched a
	works a 64
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	vprobe fill a all
	no_trace a
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
