# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of attach, registration and reclaim that fail, once each.
# takes: 500
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

# A test that failed leaves nothing behind for the next one.
setup() {
	inject_reset
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
		was_hit $point
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
	for n in 1 40; do
		fail_at "$1" $n
		[ "$1" != alloc_backing ] || [ $n = 1 ] || fail_at "$1" 1
		[ "$1" != ask_again ] || [ $n -lt 40 ] || fail_at "$1" 3
		paused refused_with 1 "$2" vprobe reclaim a all
		was_hit "$1"
		all_watched a
		vprobe fill a all
	done
	all_is_well
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
		paused vprobe reclaim a all
		was_hit "$1"
		[ "$(vstat a "refused.$2")" -gt "$refused" ]
		[ "$1" = arm ] || [ $(($(vstat a fills.undo) - undo)) = 1 ]
		all_watched a
		[ "$(vstat a memory.holes)" -gt 50 ]
		vprobe fill a all
	done
	all_is_well
}

@test "reclaim: arm" { block_refused arm watch; }
@test "reclaim: punch" { block_refused punch iommu; }
@test "reclaim: pin_check" { block_refused pin_check pinned; }
@test "reclaim: drop" { block_refused drop pinned; }

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
