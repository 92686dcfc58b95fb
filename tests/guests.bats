# SPDX-License-Identifier: GPL-2.0-only
#
# Each guest kernel and each kind of guest RAM, from end to end: memory is
# taken, comes back, and the NVMe reads into it by DMA.
# takes: 260
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	vprobed_start
}

teardown_file() {
	vprobed_stop
}

teardown() {
	vm_kill_all
}

meminfo() { awk -v what="$1:" '$1 == what { print $2 }' /proc/meminfo; }
huge_mib() { echo $(($(meminfo ShmemHugePages) >> 10)); }

goes_and_comes_back() {
	vprobe_vm b nvme=1 mem=512M smp=1 "$@"
	b_goes_and_comes_back
}

b_goes_and_comes_back() {
	free=$(guest_free_high b)
	resident=$(vm_ram_resident b)
	taken=$(reclaim_quiet b)
	huge=$(huge_mib) pool=$(meminfo HugePages_Free)
	echo "free $free, taken $taken; $huge MiB are huge, $pool in the pool"
	[ "$free" -gt $((200 << 20)) ]
	[ "$taken" -ge $((free * 95 / 100)) ]
	[ $((resident - $(vm_ram_resident b))) -ge $((taken * 99 / 100)) ]
	all_watched b
	guest_run b 'memhog -m 150'
	want=$(nvme_pattern 0 16777216 | md5sum)
	got=$(guest_run b 'dd if=/dev/nvme0n1 bs=1M count=16 iflag=direct \
		2>/dev/null | md5sum')
	[ "${got%% *}" = "${want%% *}" ]
	[ "$(vstat b watches.emulated)" = 0 ]
	[ "$(vstat b fills.failsafes)" = 0 ]
	vprobe reclaim b all
	vprobe detach b
	[ "$(vm_ram_resident b)" -ge "$resident" ]
	came_back=$(huge_mib)
	guest_log_clean b
	vm_stop b
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}

@test "a guest with Linux 5.10" {
	goes_and_comes_back kernel=5.10
}

@test "a guest with Linux 6.1" {
	goes_and_comes_back kernel=6.1
}

@test "a guest with the newest Linux that Debian has" {
	goes_and_comes_back kernel=new
}

# QEMU 10 maps a memfd 4 KiB off, where no huge page fits; a fill does not mind.
@test "guest RAM of transparent huge pages" {
	vprobe_vm b nvme=1 mem=512M smp=1 backing=thp
	vprobe reclaim b all
	vprobe fill b all
	whole=$(huge_mib)
	[ "$whole" -ge 256 ]
	b_goes_and_comes_back
	echo "$whole MiB, then $huge, then $came_back"
	[ $((whole - huge)) -ge $(((taken >> 20) * 9 / 10)) ]
	[ "$came_back" -ge 256 ]
}

@test "guest RAM in hugetlbfs" {
	goes_and_comes_back backing=hugetlb
	[ "$pool" -ge $((taken >> 21)) ]
}

@test "a guest that cannot be supported says why, and registers nothing" {
	while read -r append status text; do
		vm_boot u mem=512M smp=1 append="$append"
		echo "$append: $(guest_run u 'cat /run/inject.log')"
		[ "$(guest_run u 'cat /run/inject.status')" = "$status" ]
		guest_run u 'cat /run/inject.log' | grep -q "$text"
		vprobe attach "$(vm_pid u)"
		sleep 2
		[ "$(vstat u state)" = no-helper ]
		vm_kill u
	done <<-END
		page_poison=1 7 page_poison
		lockdown=confidentiality 5 locked down
	END
}

@test "a guest without /proc/kcore says so, and registers nothing" {
	vm_boot u mem=512M smp=1 inject=no
	vprobe attach "$(vm_pid u)"
	status=0
	out=$(guest_run u 'mkdir /tmp/proc
		cp /proc/cmdline /proc/cpuinfo /proc/filesystems /tmp/proc
		mount --bind /tmp/proc /proc
		/vprobe-inject') || status=$?
	echo "$out"
	[ "$status" = 6 ]
	grep -q '/proc/kcore' <<<"$out"
	[ "$(vstat u state)" = no-helper ]
}

@test "a granule of 256 KiB: blocks of order 6 and up go and come back" {
	vprobe_vm c mem=512M smp=1 attach='--granule 256K'
	free=$(guest_free_high c 6)
	taken=$(reclaim_quiet c)
	small=$(holes c | awk '$2 < 2097152' | wc -l)
	echo "free $free, taken $taken, $small blocks are less than 2 MiB"
	[ "$taken" -ge $((free * 95 / 100)) ]
	[ "$small" -gt 0 ]
	all_watched c
	works c 300
	vprobe reclaim c all
	vprobe detach c
	# It has no device, for which all of it would be there.
	[ "$(vm_ram_resident c)" -ge "$taken" ]
	guest_log_clean c
	vm_stop c
}

@test "a guest without devices" {
	vprobe_vm c mem=512M smp=1
	free=$(guest_free_high c)
	taken=$(reclaim_quiet c)
	[ "$free" -gt $((200 << 20)) ]
	[ "$taken" -ge $((free * 95 / 100)) ]
	guest_run c 'memhog -m 150'
	vm_stop c
}

@test "several memory slots: a guest with memory above 4 GiB" {
	vprobe_vm d nvme=1 mem=2304M smp=1 \
		qemu="-M q35,memory-backend=m0,max-ram-below-4g=1G"
	free=$(guest_free_high d)
	taken=$(reclaim_quiet d)
	echo "free $free, taken $taken"
	[ "$taken" -ge $((free * 95 / 100)) ]
	[ "$(vprobe --json free-map d |
		jq '[.blocks[] | select(.gpa >= 4294967296)] | length')" -gt 100 ]
	guest_run d 'memhog -m 600 -t 2'
	vprobe reclaim d all
	works d 1500
	guest_log_clean d
	vm_stop d
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
