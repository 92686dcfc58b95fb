# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What lifecycle.bats and lifecycle_reboot.bats have in common: VM a, what is looked
# at after each test, and that nothing is missing or left. Needs
# lib/vm.bash, host.bash, vprobe.bash and tools.bash.
#
#	lifecycle_vm [OPTION...]	for setup_file(): VM a, attached
#	nvme_reads_well VM		what is on its disk
#	has_holes VM			many
#	is_whole VM			no hole, no watch, each page pinned as at first

lifecycle_vm() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1 "$@"
	pinned_pages > /run/pinned
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	release_all
	kill -CONT "$(cat "$VPROBED_PID")" 2>/dev/null || :
	[ -n "$BATS_TEST_COMPLETED" ] || hang_report a
	host_log_clean && [ "$(iommu_faults)" = 0 ]
}

nvme_reads_well() {
	want=$(nvme_pattern 0 16777216 | md5sum)
	got=$(guest_run "$1" 'dd if=/dev/nvme0n1 bs=1M count=16 iflag=direct \
		2>/dev/null | md5sum')
	[ "${got%% *}" = "${want%% *}" ]
}

is_whole() {
	wait_until 120 no_trace "$1"
	wait_until 60 pinned_as "$(cat /run/pinned)"
}

has_holes() { [ "$(vstat "$1" memory.holes)" -gt 50 ]; }
