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

# reclaim_until SECONDS FILLS: every 100 ms, for so long and until vCPUs have got so
# many blocks back, for which a slow machine has some more time
reclaim_until() {
	local end=$((SECONDS + $1)) last STILL_SAID

	last=$((end + $(patience 150)))
	while [ $SECONDS -lt $end ] ||
		{ [ $SECONDS -lt $last ] && [ "$(vstat a fills.vcpu)" -le "$2" ]; }; do
		if vprobe --json reclaim a all >/run/reclaim 2>&1; then
			cat /run/reclaim >>/run/reclaims
		else
			tr -d '\n' </run/reclaim >>/run/bad
			echo >>/run/bad
		fi
		still_waiting "fill number $2"
		sleep 0.1
	done
}

FIO='until [ -e /run/enough ]; do
		fio --name=v --filename=/dev/nvme0n1 --rw=randrw --bs=64k \
			--size=32m --direct=1 --ioengine=libaio --iodepth=8 \
			--verify=crc32c --verify_fatal=1 --verify_backlog=64 \
			--loops=1000 --runtime=30 --time_based=1 || exit
	done >/run/fio.log 2>&1'

HOG='until [ -e /run/enough ]; do memhog -m 300 -t 2 -s 10 || exit; done'

# What the guest reads goes to pages that were free a moment ago, beside fio's file.
read_loop() {
	echo "n=0
	while [ ! -e /run/enough ] || [ \$n -lt $1 ]; do
		echo 3 >/proc/sys/vm/drop_caches
		dd if=/dev/nvme0n1 bs=1M skip=64 count=32 2>/dev/null | md5sum
		n=\$((n + 1))
	done >/run/reads"
}

# under_load READS COMMAND...: while the guest does all it can, and reads as often
under_load() {
	local fio hog reads status=0

	guest_run a 'rm -f /run/enough'
	local GUEST_TIMEOUT=700
	guest_run a "$FIO" 3>&- &
	fio=$!
	guest_run a "$HOG" >/run/hog.log 3>&- &
	hog=$!
	guest_run a "$(read_loop "$1")" 3>&- &
	reads=$!
	shift
	"$@"
	guest_run a 'touch /run/enough'
	wait "$hog" || status=$?
	cat /run/hog.log
	wait "$reads" || status=$?
	wait "$fio" || status=$?
	guest_run a 'tail -n 5 /run/fio.log'
	return $status
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
	under_load 6 reclaim_until "$SECONDS_OF_LOAD" 100
	none_failed
	echo "$(passes) passes"
	[ "$(passes)" -ge $((48 / $(patience 1))) ]
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
	reclaim_until 5 "$(vstat a fills.vcpu)"
	vprobe detach a
	nobody_attached
}

@test "detach under load" {
	under_load 1 detach_soon
	reads_were_right 1
}

# Strays are no faults here, so what the guest finds in its memory has to tell.
@test "the same with stray DMA absorbed, as it is by default" {
	vprobe attach "$(vm_pid a)"
	wait_until 60 vprobe_ready a || guest_run a /vprobe-inject
	under_load 1 reclaim_until $((SECONDS_OF_LOAD / 4)) 20
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
