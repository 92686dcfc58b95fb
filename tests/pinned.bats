# SPDX-License-Identifier: GPL-2.0-only
#
# Memory that somebody else has pinned is left alone (I4), and what comes of memory
# that has failed.
# takes: 330
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
	read -r gpa size < <(free_blocks "$1" | tail -n 1)
	echo "block $gpa, $size bytes"
	[ -n "$gpa" ]
}

# left_alone NAME MIB: reclaim while gpa is pinned; so much can be taken at least
left_alone() {
	before=$(vstat "$1" refused.pinned)
	vprobe reclaim "$1" all
	[ $(($(vstat "$1" refused.pinned) - before)) -ge 1 ]
	no_hole "$1" "$gpa"
	[ "$(behind "$1" resident "$gpa" "$size")" = "$size" ]
	# All the others were taken.
	[ "$(vstat "$1" memory.hole_bytes)" -ge $(($2 << 20)) ]
	all_watched "$1"
	works "$1"
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
	pick_block a
	hold uring "$TOOLS/pin" uring "$(vm_pid a)" "$gpa" 2097152
	left_alone a 500
	release uring
	[ "$released" = $'pinned\nintact' ]
}

@test "after the io_uring has gone the block can be taken" {
	taken_later
}

@test "one pinned page of a block is enough" {
	pick_block a
	hold uring "$TOOLS/pin" uring "$(vm_pid a)" $((gpa + size - 4096)) 4096
	left_alone a 500
	release uring
	[ "$released" = $'pinned\nintact' ]
	taken_later
}

@test "memory in a legacy VFIO container over the same memfd is left alone" {
	pick_block a
	hold vfio "$TOOLS/pin" vfio "$(vm_pid a)" "$gpa" "$size" \
		"$(tail -n 1 /run/testbed/edu)"
	left_alone a 500
	release vfio
	[ "$released" = $'pinned\nintact' ]
}

@test "after the container has gone the block can be taken" {
	taken_later
}

# left_alone_in BACKING: a part of what a huge page may be behind
left_alone_in() {
	vprobe_vm b nvme=1 mem=512M backing="$1"
	# A fill brings huge pages, where QEMU's own mapping does not.
	vprobe reclaim b all
	vprobe fill b all
	pick_block b
	hold uring "$TOOLS/pin" uring "$(vm_pid b)" "$gpa" 2097152
	left_alone b 200
	release uring
	[ "$released" = $'pinned\nintact' ]
	vprobe fill b all
	no_trace b
	vm_stop b
	# The other guest's memory stays as it was.
	echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled
}

@test "what is pinned of transparent huge pages is left alone" {
	left_alone_in thp
}

@test "what is pinned of hugetlbfs is left alone" {
	left_alone_in hugetlb
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
	pick_block a
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

@test "one whose block is punched, and then not dropped: it is sound, too" {
	pick_block a
	before=$(failed_kib)
	"$TOOLS/guestmem" "$(vm_pid a)" poison "$gpa" 4096
	undo=$(vstat a fills.undo)
	echo 1073741824 > /sys/kernel/debug/vprobe/fail/pin_check
	vprobe reclaim a all
	echo 0 > /sys/kernel/debug/vprobe/fail/pin_check
	[ "$(vstat a fills.undo)" -gt $((undo + 50)) ]
	no_trace a
	[ "$(behind a resident "$gpa" "$size")" = "$size" ]
	[ "$(behind a nonzero "$gpa" 4096)" = 0 ]
	works a 300
	[ "$(failed_kib)" = $((before + 4)) ]
}

# failed_in BACKING: devices do not lose it either, as they could not get it again
failed_in() {
	vprobe_vm b nvme=1 mem=512M backing="$1"
	# QEMU maps it where no huge page fits; a fill does not mind.
	vprobe reclaim b all
	vprobe fill b all
	pick_block b
	"$TOOLS/guestmem" "$(vm_pid b)" poison "$gpa" "$2"
	before=$(vstat b refused.pinned)
	undo=$(vstat b fills.undo)
	vprobe reclaim b all
	no_hole b "$gpa"
	[ "$(vstat b refused.pinned)" -gt "$before" ]
	[ "$(vstat b fills.undo)" = "$undo" ]
	[ "$(vstat b memory.hole_bytes)" -ge $((200 << 20)) ]
	vprobe fill b all
	no_trace b
	vprobe detach b
	vm_kill b
}

@test "one in a huge page: the block is left alone" {
	failed_in thp 4096
}

@test "a huge page of hugetlbfs that has failed: the block is left alone" {
	failed_in hugetlb 2097152
}

@test "zero IOMMU faults, clean logs, nothing is pinned in the end" {
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
