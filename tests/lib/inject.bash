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
# All of it is taken and given back all the time.
INJECT_MIB=640
INJECT_RAM=$((INJECT_MIB << 20))

inject_guest() {
	# Two iommufds: one with the NVMe, one that is open and idle.
	exec {iommu}<>/dev/iommu
	vm_boot a mem=${INJECT_MIB}M nvme=1 reboot=yes qemu="-object iommufd,id=fd1,fd=$iommu"
	exec {iommu}>&-
	attach
	WHOLE=$(pinned_pages)
	export WHOLE
}

inject_reset() {
	local point

	[ -e "$FAIL" ] || return 0
	for point in "$FAIL"/*; do
		echo 0 > "$point"
	done
	[ -n "$(vprobe --json ls | jq -r '.[].id')" ] || attach
	register_again
}

# vprobed tells a guest that registers all the time to wait.
register_again() {
	vprobe_ready a || wait_until 60 guest_run a /vprobe-inject
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

# A block that is lost would keep its pins, and be refused as pinned from then on.
all_is_whole() {
	vprobe fill a all
	no_trace a
	[ "$(vm_ram_resident a)" -ge $INJECT_RAM ]
	pinned_as "$WHOLE"
}

all_is_well() {
	local point pinned free taken

	for point in "$FAIL"/*; do
		was_hit "${point##*/}"
	done
	all_is_whole
	pinned=$(vstat a refused.pinned)
	free=$(guest_free_high a)
	taken=$(reclaim_quiet a)
	echo "free $free, taken $taken"
	[ "$free" -ge $((INJECT_RAM / 2)) ]
	[ "$taken" -ge $((free * 95 / 100)) ]
	[ "$(vstat a refused.pinned)" = "$pinned" ]
	all_watched a
	works a 64
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	all_is_whole
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
