# SPDX-License-Identifier: GPL-2.0-only
#
# Memory that somebody else has pinned is left alone (I4), and what comes of memory
# that has failed.
# takes: 230
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1
}

teardown_file() {
	vm_kill_all
}

teardown() {
	release_all
}

# A block that stays free: the last one is used last.
pick_block() {
	read -r gpa size < <(free_blocks a | tail -n 1)
	echo "block $gpa, $size bytes"
	[ -n "$gpa" ]
}

# Reclaim while gpa is pinned, and then again without.
left_alone() {
	before=$(vstat a refused.pinned)
	vprobe reclaim a all
	[ $(($(vstat a refused.pinned) - before)) -ge 1 ]
	no_hole a "$gpa"
	[ "$(behind a resident "$gpa" "$size")" = "$size" ]
	# All the others were taken.
	[ "$(vstat a memory.hole_bytes)" -ge $((500 << 20)) ]
	all_watched a
	works a
}

taken_later() {
	pinned=$(vstat a refused.pinned)
	vprobe fill a all
	vprobe reclaim a all
	[ "$(vstat a refused.pinned)" = "$pinned" ]
	# It may be in use by now, or part of a larger block; it is not pinned.
	[ "$(free_blocks a | wc -l)" -le 16 ]
	works a
	vprobe fill a all
	no_trace a
}

@test "a fixed buffer of an io_uring over the same memfd is left alone" {
	pick_block
	hold uring "$TOOLS/pin" uring "$(vm_pid a)" "$gpa" 2097152
	left_alone
	release uring
	[ "$released" = $'pinned\nintact' ]
}

@test "after the io_uring has gone the block can be taken" {
	taken_later
}

@test "one pinned page of a block is enough" {
	pick_block
	hold uring "$TOOLS/pin" uring "$(vm_pid a)" $((gpa + size - 4096)) 4096
	left_alone
	release uring
	[ "$released" = $'pinned\nintact' ]
	taken_later
}

@test "memory in a legacy VFIO container over the same memfd is left alone" {
	pick_block
	hold vfio "$TOOLS/pin" vfio "$(vm_pid a)" "$gpa" "$size" \
		"$(tail -n 1 /run/testbed/edu)"
	left_alone
	release vfio
	[ "$released" = $'pinned\nintact' ]
}

@test "after the container has gone the block can be taken" {
	taken_later
}

@test "what somebody pins in a hole is not taken again, and the guest gets it" {
	vprobe reclaim a all
	read -r gpa size < <(last_hole a)
	hold uring "$TOOLS/pin" uring "$(vm_pid a)" "$gpa" "$size"
	is_hole a "$gpa"
	vprobe reclaim a all
	[ "$(behind a resident "$gpa" "$size")" = "$size" ]
	vprobe fill a all
	release uring
	[ "$released" = $'pinned\nintact' ]
	works a 300
	taken_later
}

@test "pins come and go while memory is taken: nothing is lost" {
	read -r gpa size < <(free_blocks a | tail -n 1)
	rm -f /run/stop /run/pins
	while [ ! -e /run/stop ]; do
		"$TOOLS/pin" uring "$(vm_pid a)" "$gpa" "$size" </dev/null
	done >>/run/pins 2>&1 3>&- &
	pins=$!
	for _ in 1 2 3 4 5 6 7 8; do
		vprobe reclaim a all
		vprobe fill a all
	done
	touch /run/stop
	wait $pins
	sort /run/pins | uniq -c
	[ "$(grep -c intact /run/pins)" -gt 8 ]
	[ "$(grep -c -v 'intact\|pinned' /run/pins)" = 0 ]
	no_trace a
	works a 300
}

# The kernel's word for it is hwpoison.
failed_kib() { awk '/^HardwareCorrupted:/ { print $2 }' /proc/meminfo; }

@test "a page that has failed: its block is taken, and comes back sound" {
	pick_block
	before=$(failed_kib)
	"$TOOLS/guestmem" "$(vm_pid a)" poison "$gpa" 4096
	[ "$(failed_kib)" = $((before + 4)) ]
	vprobe reclaim a all
	is_hole a "$gpa"
	vprobe fill a all
	[ "$(behind a resident "$gpa" "$size")" = "$size" ]
	[ "$(behind a nonzero "$gpa" "$size")" = 0 ]
	[ "$(guest_run a "physmem $gpa $size")" = 0 ]
	works a 300
	no_trace a
	[ "$(failed_kib)" = $((before + 4)) ]
}

@test "one in a huge page: the block is left alone" {
	vprobe_vm b nvme=1 mem=512M backing=thp
	# QEMU maps it where no huge page fits; a fill does not mind.
	vprobe reclaim b all
	vprobe fill b all
	read -r gpa size < <(free_blocks b | tail -n 1)
	"$TOOLS/guestmem" "$(vm_pid b)" poison $((gpa + 4096)) 4096
	before=$(vstat b refused.pinned)
	vprobe reclaim b all
	no_hole b "$gpa"
	[ "$(vstat b refused.pinned)" -gt "$before" ]
	[ "$(vstat b memory.taken_blocks)" -gt 16 ]
	vprobe fill b all
	no_trace b
	vm_kill b
}

@test "zero IOMMU faults, clean logs, nothing is pinned in the end" {
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
