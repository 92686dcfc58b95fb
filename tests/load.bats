# SPDX-License-Identifier: GPL-2.0-only
#
# Taking memory ten times a second from a guest that works as hard as it can:
# fio with verification on the NVMe, and memory with checked contents.
# takes: 200

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash

SECONDS_OF_LOAD=${SECONDS_OF_LOAD:-120}

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1 smp=2
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

reclaim_for() {
	local end=$((SECONDS + $1))

	while [ $SECONDS -lt $end ]; do
		vprobe --json reclaim a all >>/run/reclaims || echo "$?" >>/run/bad
		sleep 0.1
	done
}

# What the guest reads goes to pages that were free a moment ago, beside fio's file.
READ_LOOP='while [ ! -e /run/enough ]; do
		echo 3 >/proc/sys/vm/drop_caches
		dd if=/dev/nvme0n1 bs=1M skip=64 count=32 2>/dev/null | md5sum
	done >/run/reads'

@test "fio, reads and memory checks while memory is taken every 100 ms" {
	rm -f /run/bad /run/reclaims
	s=$SECONDS_OF_LOAD
	guest_run a "fio --name=v --filename=/dev/nvme0n1 --rw=randrw --bs=64k \
		--size=32m --direct=1 --ioengine=libaio --iodepth=8 \
		--verify=crc32c --verify_fatal=1 --verify_backlog=64 \
		--loops=1000 --runtime=$s --time_based=1 >/run/fio.log 2>&1
		echo \$? >/run/fio.status" 3>&- &
	GUEST_TIMEOUT=$((s * 3 + 120)) guest_run a \
		"memhog -m 300 -t 2 -s $s" >/run/hog.log 3>&- &
	hog=$!
	GUEST_TIMEOUT=$((s * 3 + 120)) guest_run a "$READ_LOOP" 3>&- &
	reads=$!
	reclaim_for "$s"
	wait "$hog"
	cat /run/hog.log
	guest_run a 'touch /run/enough'
	wait "$reads"
	wait_until $((s + 120)) guest_run a '[ -s /run/fio.status ]'
	guest_run a 'tail -n 5 /run/fio.log'
	[ "$(guest_run a 'cat /run/fio.status')" = 0 ]
	[ ! -e /run/bad ]
	echo "$(wc -l < /run/reclaims) passes"
	# One in two seconds; the debug kernel is slow.
	[ $(($(wc -l < /run/reclaims) * $(patience 2))) -gt "$s" ]
}

@test "all that the guest read by DMA is what is on the disk" {
	want=$(nvme_pattern 0 33554432 67108864 | md5sum)
	guest_run a 'sort /run/reads | uniq -c' | tee /run/kinds
	[ "$(wc -l < /run/kinds)" = 1 ]
	read -r times sum _ < /run/kinds
	[ "$sum" = "${want%% *}" ]
	[ $((times * $(patience 1))) -gt 5 ]
}

@test "memory did move, and nothing was emulated" {
	vprobe stat a
	[ $(($(vstat a watches.fired) * $(patience 1))) -gt 100 ]
	[ $(($(vstat a fills.vcpu) * $(patience 1))) -gt 100 ]
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	[ "$(vstat a fills.timeouts)" = 0 ]
}

@test "detach under load" {
	guest_run a 'memhog -m 300 -t 2 -s 10' >/run/hog.log 3>&- &
	hog=$!
	for _ in 1 2 3 4 5; do
		vprobe reclaim a all
	done
	vprobe detach a
	[ -z "$(vprobe --json ls | jq -r '.[].id')" ]
	wait "$hog"
}

@test "zero IOMMU faults, clean logs" {
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
