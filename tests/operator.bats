# SPDX-License-Identifier: GPL-2.0-only
#
# Whatever an operator gets wrong is answered with a sentence, and leaves
# everything as it was (I10).
# takes: 110
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1
	vprobe reclaim a all
	state > /run/state
}

teardown_file() {
	vm_kill_all
}

teardown() {
	release_all
	! vm_alive b || vm_kill b
}

# QEMU is up; its guest does not run, as firmware changes memslots.
up() { wait_until 60 vm_qmp "$1" query-status; }

# What none of the wrong inputs may change.
state() {
	vprobe --json ls |
		jq -c '[.[] | {id, name, pid, cid, state, ram_bytes}]'
	vprobe --json stat a | jq -c '(if type == "array" then .[0] else . end) |
		[.stray, .granule_bytes, .iommufds, .fill_timeout_ms,
		 .memory.taken_blocks, .memory.passes, .helper,
		 .fills.blocks - .fills.vcpu - .fills.read]'
}

as_it_was() {
	diff /run/state <(state)
	all_watched a
}

nobody() {
	setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
}

root_without() {
	local cap=$1

	shift
	setpriv --bounding-set="-$cap" --inh-caps="-$cap" "$@"
}

@test "no such process" {
	sleep 0 &
	pid=$!
	wait $pid
	refused_with 1 "there is no process $pid" vprobe attach $pid
	refused_with 1 'there is no process 2147483647' \
		vprobe attach 2147483647
	for bad in 0 -1 12x abc 99999999999 1.5 ''; do
		refused_with 2 'process id' vprobe attach -- "$bad"
	done
	as_it_was
}

@test "a process that is no VMM" {
	refused_with 1 "process $$ is not a VMM" vprobe attach $$
	refused_with 1 'process 2 is not a VMM' vprobe attach 2
	refused_with 1 "process $(cat "$VPROBED_PID") is not a VMM" \
		vprobe attach "$(cat "$VPROBED_PID")"
	as_it_was
}

@test "the same as JSON: a sentence, a reason, an errno" {
	out=$(vprobe --json attach $$) && return 1
	[ "$(jq -r '.error' <<<"$out")" != null ]
	[ "$(jq -r '.reason' <<<"$out")" = none ]
	[ "$(jq -r '.errno' <<<"$out")" -gt 0 ]
	out=$(vprobe --json attach "$(vm_pid a)") && return 1
	[ "$(jq -r '.reason' <<<"$out")" = attached ]
	out=$(vprobe --json reclaim nosuch all) && return 1
	[ "$(jq -r '.error' <<<"$out")" != null ]
	as_it_was
}

@test "attach twice" {
	refused_with 1 'attached already' vprobe attach "$(vm_pid a)"
	refused_with 1 'attached already' \
		vprobe attach "$(vm_pid a)" --stray fault --name other
	as_it_was
}

@test "detach, stat, reclaim, fill, free-map of nothing" {
	for vm in nosuch 77 pid:1 id:99 ''; do
		refused_with 1 'no attached VM|is no VM' vprobe detach "$vm"
		refused_with 1 'no attached VM|is no VM' vprobe stat "$vm"
		refused_with 1 'no attached VM|is no VM' \
			vprobe reclaim "$vm" all
		refused_with 1 'no attached VM|is no VM' vprobe fill "$vm"
		refused_with 1 'no attached VM|is no VM' vprobe free-map "$vm"
		refused_with 1 'no attached VM|is no VM' \
			vprobe helper show "$vm"
		refused_with 1 'no attached VM|is no VM' \
			vprobe helper remove "$vm"
	done
	as_it_was
}

@test "sizes that do not parse" {
	for size in 12Q -5 0 0M 1.5.5G 99999999999999999999 1e9 G all1 '' \
		' 5M' 5MB 20000000T 1.G; do
		refused_with 2 'amount|size|invalid option' \
			vprobe reclaim a "$size"
		refused_with 2 'amount|size|invalid option' \
			vprobe fill a "$size"
	done
	refused_with 2 'how much' vprobe reclaim a
	refused_with 2 'unexpected argument' vprobe reclaim a 5M 6M
	as_it_was
}

@test "options that make no sense" {
	pid=$(vm_pid a)
	refused_with 2 'absorb or fault' vprobe attach "$pid" --stray maybe
	for granule in 3M 4K 2G 0 big; do
		refused_with 2 'granule' vprobe attach "$pid" \
			--granule $granule
	done
	refused_with 2 'time-out' vprobe attach "$pid" --fill-timeout 0
	refused_with 2 'context id' vprobe attach "$pid" --cid 2
	refused_with 2 'name' vprobe attach "$pid" --name ''
	refused_with 2 'which VM' vprobe detach
	refused_with 2 'process id of which VMM' vprobe attach
	as_it_was
}

@test "no permission" {
	for command in ls stat 'attach 1' 'detach all' 'reclaim a all' \
		'fill a' 'free-map a' 'helper remove a'; do
		# shellcheck disable=SC2086 # to be split
		refused_with 1 'no permission' nobody vprobe $command
		# shellcheck disable=SC2086
		refused_with 1 'no permission' \
			root_without sys_admin vprobe $command
	done
	refused_with 1 'no permission' nobody vprobed
	refused_with 1 'no permission' nobody vprobed --oneshot-file /dev/null
	as_it_was
}

@test "no permission to look into the VMM" {
	vm_start b mem=256M smp=1 inject=no qemu=-S
	up b
	refused_with 1 'no permission' \
		root_without sys_ptrace vprobe attach "$(vm_pid b)"
	as_it_was
}

@test "guest RAM of anonymous memory" {
	vm_start b mem=256M smp=1 backing=anon inject=no qemu=-S
	up b
	refused_with 1 'not a shared memfd.*memory-backend-memfd' \
		vprobe attach "$(vm_pid b)"
	as_it_was
}

@test "guest RAM of anonymous memory, with a device" {
	vm_start b mem=256M smp=1 backing=anon inject=no edu=1 qemu=-S
	up b
	refused_with 1 'not a shared memfd.*memory-backend-memfd' \
		vprobe attach "$(vm_pid b)"
	as_it_was
}

@test "a legacy VFIO container" {
	vm_start b mem=256M smp=1 inject=no \
		qemu="-S -device vfio-pci,host=$(head -n 1 /run/testbed/edu)"
	up b
	refused_with 1 'legacy VFIO container.*iommufd' \
		vprobe attach "$(vm_pid b)"
	as_it_was
}

@test "IO page table entries without a bound, as without the patches" {
	hold vmm "$TOOLS/mockvmm" -i 1 -b 0 "$(head -n 1 /run/testbed/edu)"
	refused_with 1 'larger than the granule.*iommufd' \
		vprobe attach "$(held_pid vmm)"
	as_it_was
	release vmm
	# With one it is fine.
	hold vmm "$TOOLS/mockvmm" -i 1 "$(head -n 1 /run/testbed/edu)"
	vprobe attach "$(held_pid vmm)" --name mock
	vprobe detach mock
	release vmm
	as_it_was
}

@test "IO page table entries that are larger than the granule asked for" {
	vm_start b mem=256M smp=1 inject=no edu=1 qemu=-S
	up b
	refused_with 1 'larger than the granule' \
		vprobe attach "$(vm_pid b)" --granule 64K
	as_it_was
}

@test "a VM whose memory is private, as that of confidential ones" {
	hold vmm "$TOOLS/mockvmm" -c
	refused_with 1 'is confidential' vprobe attach "$(held_pid vmm)"
	release vmm
	as_it_was
}

@test "a VMM with two VMs, one with too many iommufds" {
	hold vmm "$TOOLS/mockvmm" -v 2
	refused_with 1 'more than one virtual machine' \
		vprobe attach "$(held_pid vmm)"
	release vmm
	hold vmm "$TOOLS/mockvmm" -i 9
	refused_with 1 'more than 8 iommufds' vprobe attach "$(held_pid vmm)"
	release vmm
	as_it_was
}

@test "a context id that belongs to another VM" {
	vm_start b mem=256M smp=1 inject=no qemu=-S
	up b
	refused_with 1 "context id is $(vm_cid b), not $(vm_cid a)" \
		vprobe attach "$(vm_pid b)" --cid "$(vm_cid a)"
	as_it_was
}

@test "a guest without a helper: nobody knows what is free" {
	vm_start b mem=256M smp=1 inject=no qemu=-S
	up b
	vprobe attach "$(vm_pid b)"
	refused_with 1 'registered no helper.*vprobed' vprobe reclaim b all
	refused_with 1 'registered no helper' vprobe free-map b --ask
	refused_with 1 'no helper that could be removed' \
		vprobe helper remove b
	vprobe fill b all
	vprobe free-map b
	vprobe detach b
	refused_with 1 'no attached VM' vprobe detach b
	as_it_was
}

@test "two VMs with one name: it is not clear which one is meant" {
	vm_start b mem=256M smp=1 inject=no qemu=-S
	up b
	vprobe attach "$(vm_pid b)" --name a
	refused_with 1 '2 attached VMs match' vprobe reclaim a all
	refused_with 1 '2 attached VMs match' vprobe detach a
	vprobe detach "pid:$(vm_pid b)"
	as_it_was
}

@test "vprobed: a second one, files that are none, VMs that are none" {
	refused_with 1 'cannot listen on vsock port' vprobed
	refused_with 1 'cannot read /nosuch' vprobed --oneshot-file /nosuch
	refused_with 1 'cannot open /nosuch' vprobed --check /nosuch
	refused_with 1 'no attached VM' \
		vprobed --oneshot-file /dev/null --vm nosuch
	refused_with 2 'goes with --oneshot-file' vprobed --vm a
	refused_with 2 'is no vsock port' vprobed --port 0
	refused_with 2 'is no time from' vprobed --verify-timeout 5
	refused_with 2 'no user "nosuch"' vprobed --talker-user nosuch
	refused_with 2 'must not run as root' vprobed --talker-user root
	as_it_was
}

@test "the module is not unloaded under an attached VM" {
	refused_with 1 'in use' modprobe -r vprobe
	refused_with 1 'in use|temporarily unavailable' rmmod vprobe
	kill "$(cat "$VPROBED_PID")"
	wait "$(cat "$VPROBED_PID")" || :
	refused_with 1 'in use' modprobe -r vprobe
	all_watched a
	works a
}

@test "the module is not loaded" {
	vprobe detach a
	vprobe_gone
	for command in ls stat 'attach 1' 'detach all' 'reclaim a all' \
		'fill a' 'free-map a' 'helper show a'; do
		# shellcheck disable=SC2086 # to be split
		refused_with 1 'module is not loaded.*modprobe vprobe.*patches' \
			vprobe $command
	done
	refused_with 1 'module is not loaded' vprobed
	[ "$(vprobe --json version | jq .usable)" = false ]
	works a 300
}

@test "detach all of nothing" {
	modprobe vprobe
	refused_with 1 'nothing to detach' vprobe detach all
	[ "$(vprobe --json ls)" = '[]' ]
}

@test "after all of that the guest and the host are well" {
	vprobed_start
	vprobe attach "$(vm_pid a)"
	wait_until 30 guest_run a /vprobe-inject
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	works a 300
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
