# SPDX-License-Identifier: GPL-2.0-only
#
# The testbed itself: nothing of V-Probe is used here.
# takes: 65

load lib/vm.bash
load lib/host.bash

setup_file() {
	host_log_clean
}

teardown_file() {
	vm_kill_all
}

@test "the host has KVM with nested paging" {
	[ -c /dev/kvm ]
	grep -qx '[1Y]' /sys/module/kvm_amd/parameters/npt ||
		grep -qx '[1Y]' /sys/module/kvm_intel/parameters/ept
}

@test "three NVMe and two edu devices wait to be passed through" {
	[ "$(wc -l < /run/testbed/nvme)" = 3 ]
	[ "$(wc -l < /run/testbed/edu)" = 2 ]
	for dev in $(cat /run/testbed/*); do
		driver=$(readlink "/sys/bus/pci/devices/$dev/driver")
		[ "${driver##*/}" = vfio-pci ]
	done
}

@test "a guest boots with an NVMe through iommufd" {
	vm_boot a nvme=yes edu=yes
	guest_run a 'ls /dev/nvme0n1'
}

@test "guest commands: output and exit status come back" {
	run guest_run a 'echo one; echo two >&2; exit 7'
	[ "$status" = 7 ]
	[ "$output" = $'one\ntwo' ]
	[ "$(guest_run a 'head -c 300000 /dev/zero | base64' | wc -c)" -gt 400000 ]
}

@test "what the guest reads by DMA is what is on the disk" {
	want=$(nvme_pattern 0 16777216 | md5sum)
	got=$(guest_run a 'dd if=/dev/nvme0n1 bs=1M count=16 iflag=direct |
		md5sum' | grep -v records)
	[ "${got%% *}" = "${want%% *}" ]
}

@test "all of the guest's memory is pinned and resident" {
	resident=$(vm_ram_resident a)
	echo "resident: $resident"
	[ "$resident" -ge 1073741824 ]
}

@test "memory in the guest holds what was written" {
	guest_run a 'memhog -m 200 -t 2'
}

@test "fio verifies what it wrote to the NVMe" {
	guest_run a 'fio --name=v --filename=/dev/nvme0n1 --rw=randwrite \
		--bs=64k --size=8m --direct=1 --ioengine=libaio --iodepth=4 \
		--verify=crc32c'
}

@test "edu writes to a page of the guest, and no IOMMU fault was seen" {
	guest_run a 'mkfifo /run/go; edu page </run/go >/run/page &
		exec 3>/run/go
		while ! [ -s /run/page ]; do sleep 0.1; done
		edu write "$(head -n1 /run/page)" 0x5a 4096; echo >&3; wait
		tail -n1 /run/page | tr -d "5a\n" | wc -c > /run/other
		tail -n1 /run/page | wc -c > /run/all'
	[ "$(guest_run a 'cat /run/other /run/all')" = $'0\n8193' ]
	[ "$(iommu_faults)" = 0 ]
}

@test "edu DMA to where no memory is: both oracles see the fault" {
	guest_run a 'edu read 0x7000000000 64'
	[ "$(iommu_faults_machine)" -ge 1 ]
	[ "$(iommu_faults_kernel)" -ge 1 ]
}

@test "the guest powers off; nobody complained" {
	guest_log_clean a
	vm_stop a
	host_log_clean
}
