# SPDX-License-Identifier: GPL-2.0-only
#
# Taking memory ten times a second from a guest that works as hard as it can:
# fio with verification on the NVMe, and memory with checked contents.
# takes: 390

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

# The debug kernel is slow: some passes are to fit in.
SECONDS_OF_LOAD=$(patience 120)

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
		if vprobe --json reclaim a all >/run/reclaim 2>&1; then
			cat /run/reclaim >>/run/reclaims
		else
			tr -d '\n' </run/reclaim >>/run/bad
			echo >>/run/bad
		fi
		sleep 0.1
	done
}

# What the guest reads goes to pages that were free a moment ago, beside fio's file.
READ_LOOP='while [ ! -e /run/enough ]; do
		echo 3 >/proc/sys/vm/drop_caches
		dd if=/dev/nvme0n1 bs=1M skip=64 count=32 2>/dev/null | md5sum
	done >/run/reads'

# under_load SECONDS COMMAND...: while the guest does all it can
under_load() {
	local s=$1 hog reads

	shift
	guest_run a 'rm -f /run/enough /run/fio.status'
	GUEST_TIMEOUT=$((s * 3 + 120)) guest_run a \
		"fio --name=v --filename=/dev/nvme0n1 --rw=randrw --bs=64k \
		--size=32m --direct=1 --ioengine=libaio --iodepth=8 \
		--verify=crc32c --verify_fatal=1 --verify_backlog=64 \
		--loops=1000 --runtime=$s --time_based=1 >/run/fio.log 2>&1
		echo \$? >/run/fio.status" 3>&- &
	GUEST_TIMEOUT=$((s * 3 + 120)) guest_run a \
		"memhog -m 300 -t 2 -s $s" >/run/hog.log 3>&- &
	hog=$!
	GUEST_TIMEOUT=$((s * 3 + 120)) guest_run a "$READ_LOOP" 3>&- &
	reads=$!
	"$@"
	wait "$hog"
	cat /run/hog.log
	guest_run a 'touch /run/enough'
	wait "$reads"
	wait_until $((s + 120)) guest_run a '[ -s /run/fio.status ]'
	guest_run a 'tail -n 5 /run/fio.log'
	[ "$(guest_run a 'cat /run/fio.status')" = 0 ]
}

# Somebody else had the VMM's locks for long: an answer, if it is a rare one.
none_failed() {
	local busy

	[ -e /run/bad ] || return 0
	sort /run/bad | uniq -c
	busy=$(grep -c '"reason":"busy"' /run/bad)
	[ "$busy" = "$(wc -l < /run/bad)" ] && [ $((busy * 10)) -lt "$(passes)" ]
}

passes() { jq -s length /run/reclaims; }

@test "fio, reads and memory checks while memory is taken every 100 ms" {
	rm -f /run/bad /run/reclaims
	under_load "$SECONDS_OF_LOAD" reclaim_for "$SECONDS_OF_LOAD"
	none_failed
	echo "$(passes) passes"
	[ "$(passes)" -ge 8 ]
}

# reads_were_right AT_LEAST
reads_were_right() {
	local want times sum

	want=$(nvme_pattern 0 33554432 67108864 | md5sum)
	guest_run a 'sort /run/reads | uniq -c' | tee /run/kinds
	[ "$(wc -l < /run/kinds)" = 1 ]
	read -r times sum _ < /run/kinds
	[ "$sum" = "${want%% *}" ]
	[ "$times" -ge "$1" ]
}

@test "all that the guest read by DMA is what is on the disk" {
	reads_were_right 6
}

@test "memory did move, and nothing was emulated" {
	vprobe stat a
	[ "$(vstat a watches.fired)" -gt 100 ]
	[ "$(vstat a fills.vcpu)" -gt 100 ]
	nothing_odd
}

nothing_odd() {
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	[ "$(vstat a fills.timeouts)" = 0 ]
}

detach_soon() {
	local before

	before=$(vstat a fills.vcpu)
	reclaim_for 5
	wait_until 60 more_than "$before" vstat a fills.vcpu
	vprobe detach a
	nobody_attached
}

@test "detach under load" {
	under_load "$(patience 20)" detach_soon
	reads_were_right 1
}

# Strays are no faults here, so what the guest finds in its memory has to tell.
@test "the same with stray DMA absorbed, as it is by default" {
	vprobe attach "$(vm_pid a)"
	wait_until 60 vprobe_ready a || guest_run a /vprobe-inject
	under_load $((SECONDS_OF_LOAD / 4)) reclaim_for $((SECONDS_OF_LOAD / 4))
	reads_were_right 1
	none_failed
	fills=$(vstat a fills.vcpu)
	echo "$(passes) passes in all, $fills fills"
	[ "$fills" -gt 20 ]
	nothing_odd
}

@test "zero IOMMU faults, clean logs" {
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
