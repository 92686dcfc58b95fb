# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of undo, fill, detach and reset that fail, once each; and any allocation at
# all.
# takes: 700
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash
load lib/inject.bash

setup_file() {
	host_log_clean
	vprobed_start
	inject_guest
}

teardown_file() {
	vm_kill_all
}

teardown() {
	release_all
}

# A test that failed leaves nothing behind for the next one.
setup() {
	inject_reset
}

@test "undo fails as well: the block is a hole, and comes back" {
	for point in populate fill_iommu; do
		fail_at punch 3
		fail_at $point 1
		paused vprobe reclaim a all
		was_hit punch
		was_hit $point
		all_watched a
		works a 300
		all_is_well
	done
}

@test "undo fails, and the next pass takes the memory that was left" {
	fail_at drop 3
	fail_at fill_iommu 1
	paused vprobe reclaim a all
	was_hit fill_iommu
	repopulated=$(vstat a memory.repopulated)
	vprobe reclaim a all
	[ "$(vstat a memory.repopulated)" -gt "$repopulated" ]
	[ "$(vm_ram_resident a)" -lt $((INJECT_RAM / 2)) ]
	all_is_well
}

fill_fails() {
	for n in 1 50; do
		vprobe reclaim a all
		fail_at "$1" $n
		paused refused_with 1 'memory' vprobe fill a all
		was_hit "$1"
		[ "$(vstat a memory.holes)" -gt 0 ]
		all_watched a
	done
	all_is_well
}

@test "fill: populate" { fill_fails populate; }
@test "fill: fill_iommu" { fill_fails fill_iommu; }

@test "a vCPU's fill fails: it waits and goes on" {
	for point in populate fill_iommu; do
		for n in 1 20; do
			vprobe reclaim a all
			waits=$(vstat a fills.waits)
			fail_at $point $n
			works a 300
			was_hit $point
			[ $(($(vstat a fills.waits) - waits)) = 1 ]
			[ "$(vstat a fills.timeouts)" = 0 ]
		done
		all_is_well
	done
}

@test "detach: a fill fails; detach tries again" {
	for point in populate fill_iommu; do
		vprobe reclaim a all
		fail_at $point 4
		vprobe detach a
		was_hit $point
		[ "$(vm_ram_resident a)" -ge $INJECT_RAM ]
		attach
		all_is_well
	done
}

@test "reset: a fill fails; the guest boots with all its memory" {
	vprobe reclaim a all
	fail_at populate 5
	fail_at fill_iommu 9
	vm_qmp a system_reset
	wait_until 60 was_hit populate
	vm_wait a
	was_hit populate
	was_hit fill_iommu
	wait_until 60 vprobe_ready a
	no_trace a
	[ "$(vm_ram_resident a)" -ge $INJECT_RAM ]
	# What comes now counts from here.
	vprobe detach a
	attach
	all_is_well
}

# Any allocation of the kernel, not only those that the module has points for.
# try_nth CALL N COMMAND...: N-th allocation in ioctl CALL fails; true if there
# were so many. If not, all_tried tells that the call was made.
try_nth() {
	local call=$1 nth=$2

	shift 2
	echo x > /run/left
	FAILNTH=$nth FAILNTH_CALL=$call FAILNTH_LEFT=/run/left \
		LD_PRELOAD=$TOOLS/failnth.so "$@" >/run/nth.log 2>&1 || :
	[ "$(cat /run/left)" = 0 ]
}

# An x would be an error, too.
all_tried() { [ "$(cat /run/left)" -gt 0 ]; }

need_fault_injection() {
	local dir

	[ -e /proc/self/fail-nth ] || skip \
		"this kernel cannot fail allocations"
	for dir in failslab fail_page_alloc; do
		echo N > /sys/kernel/debug/$dir/ignore-gfp-wait
	done
	# IOMMUFD has one of its own. What they say looks like a complaint.
	for dir in /sys/kernel/debug/fail*/; do
		[ ! -e "$dir/verbose" ] || echo 0 > "$dir/verbose"
	done
	echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
	echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
}

@test "every allocation in an attach fails once" {
	need_fault_injection
	vprobe detach a
	nth=1
	while try_nth 1 $nth vprobe attach "$(vm_pid a)" --stray absorb; do
		# Some can be done without.
		[ "$(vprobe --json ls)" = '[]' ] || vprobe detach a
		still_waiting "allocation $nth"
		nth=$((nth + 1))
	done
	all_tried
	echo "$nth allocations"
	[ $nth -gt 5 ]
	vprobe detach a
	attach
	all_is_well
}

# The first ones are the calls' own, most of the rest for the pages of the blocks.
@test "allocations in a reclaim and in a fill fail: the first ones, and samples" {
	need_fault_injection
	vprobe detach a
	vprobe attach "$(vm_pid a)" --stray absorb
	wait_until 60 vprobe_ready a
	nth=1
	while try_nth 5 $nth vprobe reclaim a 8M; do
		all_watched a
		vprobe fill a all
		no_trace a
		still_waiting "allocation $nth"
		nth=$((nth + (nth < 40 ? 1 : nth / 8)))
	done
	all_tried
	echo "$nth allocations in a reclaim"
	[ $nth -gt 5 ]
	nth=1
	vprobe fill a all
	vprobe reclaim a 8M
	while try_nth 6 $nth vprobe fill a all; do
		all_watched a
		vprobe fill a all
		no_trace a
		vprobe reclaim a 8M
		still_waiting "allocation $nth"
		nth=$((nth + (nth < 40 ? 1 : nth / 8)))
	done
	all_tried
	echo "$nth allocations in a fill"
	[ $nth -gt 5 ]
	vprobe detach a
	attach
	all_is_well
}

# fails_at SHARE CALL COMMAND...: with holes each time, and everything as it was
# after it, but for those that nothing fails for any more. After the first ones,
# which are the call's own, most are for the pages of the blocks that are filled:
# there, one in SHARE.
fails_at() {
	local share=$1 call=$2

	shift 2
	need_fault_injection
	nth=1
	while :; do
		echo "# $*: allocation $nth" >&3
		vprobe reclaim a 8M
		try_nth "$call" $nth "$@" || break
		as_it_was
		all_watched a
		vprobe fill a all
		no_trace a
		nth=$((nth + 1 + nth / share))
	done
	all_tried
	as_it_was
	echo "$nth allocations in $*"
	all_is_well
}

as_it_was() {
	[ "$(vprobe --json ls)" != '[]' ] || attach
	[ "$(vstat a state)" != quarantined ] || vprobe release a
	register_again
}

@test "allocations in a detach fail: the first ones, and samples of the rest" {
	fails_at 4 2 vprobe detach a
	[ $nth -gt 5 ]
}

# A VM with one block of 64 KiB, so that what is for its pages can be tried as well.
mock_attach() {
	is_attached mock || vprobe attach "$(held_pid vmm)" --name mock \
		--granule 64K --stray absorb
	[ "$(vstat mock state)" != quarantined ] || vprobe release mock
	vprobe_ready mock || bad_helper mock free $((16 << 20)) 1 4 $((8 << 20))
}

# Whatever failed: nothing is lost, and all of it works again.
mock_is_whole() {
	mock_attach
	all_watched mock
	vprobe fill mock all
	no_trace mock
	[ "$(stat -L -c %b "$ram")" = "$blocks" ]
	pinned_as "$pinned"
	vprobe reclaim mock all
	[ "$(vstat mock memory.holes)" = 1 ]
}

# each_fails CALL COMMAND...: with the block taken, unless that is what is to fail
each_fails() {
	local nth=1 STILL_SAID

	mock_is_whole
	while :; do
		[ "$3" != reclaim ] || vprobe fill mock all
		try_nth "$1" $nth "${@:2}" || break
		mock_is_whole
		still_waiting "allocation $nth"
		nth=$((nth + 1))
	done
	all_tried
	echo "$nth allocations in ${*:2}"
	[ $nth -gt 1 ]
	mock_is_whole
}

mock_start() {
	need_fault_injection
	hold vmm "$TOOLS/mockvmm" -i 1 -b 65536 "$(head -n 1 /run/testbed/edu)"
	ram=$(memfds "$(held_pid vmm)" mock)
	blocks=$(stat -L -c %b "$ram")
	pinned=$(pinned_pages)
	mock_attach
}

mock_end() {
	vprobe detach mock
	release vmm
	all_is_well
}

@test "every allocation in a reclaim, and in a fill of a small block, fails once" {
	mock_start
	each_fails 5 vprobe reclaim mock all
	each_fails 6 vprobe fill mock all
	mock_end
}

@test "every allocation in a detach fails once" {
	mock_start
	each_fails 2 vprobe detach mock
	mock_end
}

@test "every allocation in a quarantine, and in a helper's removal, fails once" {
	mock_start
	each_fails 11 vprobe quarantine mock
	each_fails 4 vprobe helper remove mock
	mock_end
}

@test "every allocation in a registration, and in a free-map, fails once" {
	mock_start
	each_fails 4 vprobed --oneshot-file /run/lie --vm mock
	each_fails 7 vprobe free-map mock --ask
	mock_end
}

@test "in the end nothing is left: the module unloads, logs are clean" {
	vprobe reclaim a all
	vprobe detach a
	works a 300
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	vprobe_gone
	host_log_clean
}
