# SPDX-License-Identifier: GPL-2.0-only
#
# Every step of the module that can fail fails once: it is reported and undone,
# and nothing is lost. (Which steps there are: kern/vprobe/inject.c.)

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

FAIL=/sys/kernel/debug/vprobe/fail

setup_file() {
	host_log_clean
	vprobed_start
	# Two iommufds: one with the NVMe, one that is open and idle.
	exec {iommu}<>/dev/iommu
	vm_start a nvme=1 qemu="-object iommufd,id=fd1,fd=$iommu"
	exec {iommu}>&-
	vm_wait a
	attach
}

teardown_file() {
	vm_kill_all
}

# A test that failed leaves nothing behind for the next one.
setup() {
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

# fail_at POINT N: the N-th pass through it from now on
fail_at() { echo "$2" > "$FAIL/$1"; }

# Without a guest that fills something itself.
paused() {
	local status=0

	vm_qmp a stop
	"$@" || status=$?
	vm_qmp a cont
	return $status
}

# It really was reached.
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

@test "there are the points that are tested here, and no others" {
	[ "$(ls $FAIL | tr '\n' ' ')" = "alloc_backing alloc_block \
alloc_helper alloc_index alloc_vm arm ask_again drop fill_iommu pin_check \
populate punch puncher register " ]
}

attach_fails() {
	vprobe detach a
	fail_at "$1" "$2"
	refused_with 1 'memory' vprobe attach "$(vm_pid a)"
	was_hit "$1"
	[ "$(vprobe --json ls)" = '[]' ]
	attach
	all_is_well
}

@test "attach: alloc_vm" { attach_fails alloc_vm 1; }
@test "attach: alloc_backing" { attach_fails alloc_backing 1; }
@test "attach: puncher of the first iommufd" { attach_fails puncher 1; }
@test "attach: puncher of the second iommufd" { attach_fails puncher 2; }
@test "attach: register" { attach_fails register 1; }

@test "registration: alloc_helper; the old helper stays" {
	vprobe reclaim a all
	holes=$(vstat a memory.holes)
	fail_at alloc_helper 1
	run guest_run a /vprobe-inject
	[ "$status" != 0 ]
	[[ $output = *memory* ]]
	[ "$(vstat a state)" = ready ]
	[ "$(vstat a memory.holes)" -gt $((holes / 2)) ]
	all_is_well
	guest_run a /vprobe-inject
	all_is_well
}

@test "registration: a fill fails; it is tried again" {
	for point in populate fill_iommu; do
		vprobe reclaim a all
		# The guest needs a few blocks to run it at all.
		fail_at $point 100
		guest_run a /vprobe-inject
		[ "$(vstat a state)" = ready ]
		[ "$(vstat a fills.waits)" -gt 0 ]
		all_is_well
	done
}

@test "removing the helper: a fill fails; it is tried again" {
	vprobe reclaim a all
	fail_at populate 3
	paused vprobe helper remove a
	[ "$(vstat a state)" = no-helper ]
	no_trace a
	guest_run a /vprobe-inject
	[ "$(vstat a state)" = ready ]
	all_is_well
}

# The whole pass ends with an error.
pass_fails() {
	for n in 1 2 40; do
		fail_at "$1" $n
		[ "$1" != alloc_backing ] || [ $n = 1 ] || fail_at "$1" 1
		[ "$1" != ask_again ] || [ $n -lt 40 ] || fail_at "$1" 3
		refused_with 1 "$2" vprobe reclaim a all
		was_hit "$1"
		all_watched a
		all_is_well
	done
}

@test "reclaim: alloc_backing" { pass_fails alloc_backing memory; }
@test "reclaim: alloc_block" { pass_fails alloc_block memory; }
@test "reclaim: alloc_index" { pass_fails alloc_index memory; }
@test "reclaim: ask_again" { pass_fails ask_again helper; }

# block_refused POINT REASON: the pass goes on without what failed
block_refused() {
	for n in 1 5; do
		[ "$1" != arm ] || [ $n = 1 ] || n=2
		refused=$(vstat a "refused.$2")
		undo=$(vstat a fills.undo)
		fail_at "$1" $n
		vprobe reclaim a all
		was_hit "$1"
		[ "$(vstat a "refused.$2")" -gt "$refused" ]
		[ "$1" = arm ] || [ $(($(vstat a fills.undo) - undo)) = 1 ]
		all_watched a
		[ "$(vstat a memory.holes)" -gt 50 ]
		all_is_well
	done
}

@test "reclaim: arm" { block_refused arm watch; }
@test "reclaim: punch" { block_refused punch iommu; }
@test "reclaim: pin_check" { block_refused pin_check pinned; }
@test "reclaim: drop" { block_refused drop pinned; }

@test "undo fails as well: the block is a hole, and comes back" {
	for point in populate fill_iommu; do
		fail_at punch 3
		fail_at $point 1
		vprobe reclaim a all
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
	vprobe reclaim a all
	was_hit fill_iommu
	repopulated=$(vstat a memory.repopulated)
	vprobe reclaim a all
	[ "$(vstat a memory.repopulated)" -gt "$repopulated" ]
	[ "$(vm_ram_resident a)" -lt $((400 << 20)) ]
	all_is_well
}

fill_fails() {
	for n in 1 2 50; do
		vprobe reclaim a all
		fail_at "$1" $n
		paused refused_with 1 'memory' vprobe fill a all
		was_hit "$1"
		[ "$(vstat a memory.holes)" -gt 0 ]
		all_watched a
		all_is_well
	done
}

@test "fill: populate" { fill_fails populate; }
@test "fill: fill_iommu" { fill_fails fill_iommu; }

@test "a vCPU's fill fails: it waits and goes on" {
	for point in populate fill_iommu; do
		for n in 1 20; do
			vprobe reclaim a all
			waits=$(vstat a fills.waits)
			fail_at $point $n
			works a 400
			was_hit $point
			[ $(($(vstat a fills.waits) - waits)) = 1 ]
			[ "$(vstat a fills.timeouts)" = 0 ]
			all_is_well
		done
	done
}

@test "detach: a fill fails; detach tries again" {
	for point in populate fill_iommu; do
		vprobe reclaim a all
		fail_at $point 4
		vprobe detach a
		was_hit $point
		[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
		attach
		all_is_well
	done
}

@test "reset: a fill fails; the guest boots with all its memory" {
	vprobe reclaim a all
	fail_at populate 5
	fail_at fill_iommu 9
	vm_qmp a system_reset
	wait_until 60 test "$(cat $FAIL/populate)" = 0
	vm_wait a
	was_hit populate
	was_hit fill_iommu
	wait_until 60 vprobe_ready a
	no_trace a
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
	# What comes now counts from here.
	vprobe detach a
	attach
	all_is_well
}

# Any allocation of the kernel, not only those that the module has points for.
# try_nth CALL N COMMAND...: N-th allocation in ioctl CALL fails; true if there
# were so many
try_nth() {
	local call=$1 nth=$2

	shift 2
	echo x > /run/left
	FAILNTH=$nth FAILNTH_CALL=$call FAILNTH_LEFT=/run/left \
		LD_PRELOAD=$TOOLS/failnth.so "$@" >/run/nth.log 2>&1 || :
	[ "$(cat /run/left)" = 0 ]
}

need_fault_injection() {
	local dir

	[ -e /proc/self/fail-nth ] || skip \
		"this kernel cannot fail allocations; make check-debug has one"
	for dir in failslab fail_page_alloc; do
		echo N > /sys/kernel/debug/$dir/ignore-gfp-wait
		echo 0 > /sys/kernel/debug/$dir/verbose
	done
	echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
	echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
}

@test "every allocation in an attach fails once" {
	need_fault_injection
	vprobe detach a
	nth=1
	while try_nth 1 $nth vprobe attach "$(vm_pid a)" --stray fault; do
		# Some can be done without.
		[ "$(vprobe --json ls)" = '[]' ] || vprobe detach a
		nth=$((nth + 1))
	done
	echo "$nth allocations"
	[ $nth -gt 5 ]
	vprobe detach a
	attach
	all_is_well
}

@test "every allocation in a reclaim and in a fill fails once" {
	need_fault_injection
	nth=1
	while try_nth 5 $nth vprobe reclaim a 8M; do
		all_watched a
		vprobe fill a all
		no_trace a
		nth=$((nth + (nth < 100 ? 1 : nth / 20)))
	done
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
		nth=$((nth + (nth < 100 ? 1 : nth / 20)))
	done
	echo "$nth allocations in a fill"
	[ $nth -gt 5 ]
	all_is_well
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
