# SPDX-License-Identifier: GPL-2.0-only
#
# Every guest kernel boots with an NVMe by iommufd and reads it by DMA, and
# every kind of guest RAM works. Nothing of V-Probe is used here.

load lib/vm.bash
load lib/host.bash

setup_file() {
	host_log_clean
	nvme_pattern 0 4194304 | md5sum > /run/want
}

teardown() {
	vm_kill_all
}

boots_and_reads() {
	vm_boot g nvme=1 smp=1 mem=512M inject=no "$@"
	guest_run g 'uname -r'
	got=$(guest_run g 'dd if=/dev/nvme0n1 bs=1M count=4 iflag=direct \
		2>/dev/null | md5sum')
	[ "${got%% *}" = "$(cut -d' ' -f1 /run/want)" ]
	guest_log_clean g
	vm_stop g
	host_log_clean
	[ "$(iommu_faults)" = 0 ]
}

@test "a guest with Linux 5.10" {
	boots_and_reads kernel=5.10
}

@test "a guest with Linux 6.1" {
	boots_and_reads kernel=6.1
}

@test "a guest with the newest Linux that Debian has" {
	boots_and_reads kernel=new
}

@test "guest RAM of transparent huge pages" {
	boots_and_reads backing=thp
}

@test "guest RAM in hugetlbfs" {
	boots_and_reads backing=hugetlb
}

@test "guest RAM of anonymous memory" {
	boots_and_reads backing=anon
}
