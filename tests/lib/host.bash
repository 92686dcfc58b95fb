# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What tests look at on the testbed's host, apart from the vprobe command.
#
#	memfds PID NAME		paths of the memfds of a process with such a name
#	vm_ram NAME		paths of the memfds behind guest RAM
#	mib_behind FILE		what such a memfd has, in MiB, without delay
#	vm_ram_resident NAME	bytes of guest RAM that the host backs
#	mem_available		bytes
#	pinned_pages		pages that somebody has pinned for DMA
#	pinned_as N		whether they are as many as N were
#	iommu_faults		IOMMU faults since the host booted
#	host_log_clean		fails, and shows why, if the kernel complained
#	guest_log_clean NAME	likewise; works on a guest that is gone, too
#	guest_free_high NAME [ORDER]	bytes that its buddyinfo lists from that
#				order on, 9 if none is given
#	complaints FILE		those in a log that a slow machine is no reason for
#	nvme_pattern N [BYTES [OFFSET]]	what NVMe N holds when L1 boots
#	kmemleak_clean		debug kernel: no leak; elsewhere it succeeds
#	wait_until SECONDS COMMAND...	poll it until it succeeds; twice as long, two
#				minutes at least
#	still_waiting WHAT	for a loop that waits: says so once a minute
#	more_than N COMMAND...	whether it prints a larger number
#	seconds MS		for sleep(1)
#	is_debug		whether the host runs the debug kernel
#	patience SECONDS	more of them on the debug kernel, which is slow

# A complaint of a kernel, in its log.
COMPLAINT='BUG: |kernel BUG|(KASAN|UBSAN|KFENCE|KCSAN): |Oops: |Call Trace:'
COMPLAINT+='|WARNING: (CPU|possible|suspicious|inconsistent|bad|lock|held)'
COMPLAINT+='|blocked for more than|soft lockup|hard LOCKUP|detected (expedited )?stall'
COMPLAINT+='|general protection|Kernel panic|refcount_t: |corruption'
COMPLAINT+='|suspected memory leaks|I/O error|nvme.*timeout|Buffer I/O'

# A function of ours in a task's stack.
# shellcheck disable=SC2034 # for those who source this
OURS='(vprobe|iommufd|iopt)_[a-z0-9_]*\+'

complaints() {
	grep -aE "$COMPLAINT" "$1" |
		grep -aEv 'soft lockup|detected (expedited )?stall|blocked for more|Call Trace|sysrq|NMI: Not'
}

memfds() {
	local fd

	for fd in "/proc/$1"/fd/*; do
		case $(readlink "$fd") in
		/memfd:"$2"*) echo "$fd" ;;
		esac
	done
}

vm_ram() { memfds "$(vm_pid "$1")" memory-backend-memfd; }

mib_behind() { echo $(($(stat -L -c %b "$1") >> 11)); }

vm_ram_resident() {
	local fd blocks=0 n

	for fd in $(vm_ram "$1"); do
		n=$(stat -L -c %b "$fd") && blocks=$((blocks + n))
	done
	echo $((blocks * 512))
}

mem_available() {
	awk '/^MemAvailable:/ { print $2 * 1024 }' /proc/meminfo
}

# IOMMUFD pins what it maps, and nearly nobody else here does.
pinned_pages() {
	awk '/^nr_foll_pin_acquired/ { a = $2 } /^nr_foll_pin_released/ { r = $2 }
		END { print a - r }' /proc/vmstat
}

# Firmware maps and unmaps a few pages below 1 MiB.
pinned_as() {
	local pinned

	pinned=$(pinned_pages)
	[ "$pinned" -ge $(($1 - 256)) ] && [ "$pinned" -le $(($1 + 256)) ] ||
		{ echo "$pinned pages are pinned, and were $1"; return 1; }
}

# The machine's own log and the kernel's: each may miss what the other has
# (the kernel limits the rate of its messages).
iommu_faults_machine() {
	grep -c 'vtd_dmar_fault\|vtd_fault_disabled' /out/qemu.log 2>/dev/null ||
		:
}
iommu_faults_kernel() { dmesg | grep -c 'DMAR:.*\[DMA.*fault addr' || :; }

iommu_faults() {
	local machine kernel

	machine=$(iommu_faults_machine)
	kernel=$(iommu_faults_kernel)
	machine=${machine:-0}
	echo $((machine > kernel ? machine : kernel))
}

# Only what came since the last call counts.
host_log_clean() {
	local seen=/run/log-seen old new

	old=$(cat $seen 2>/dev/null || echo 0)
	new=$(dmesg | wc -l)
	echo "$new" > $seen
	# What memory_failure() says of a page that a test has poisoned is none.
	! dmesg | tail -n "+$((old + 1))" | grep -v 'Memory failure: 0x' |
		grep -E -A 30 "$COMPLAINT" | head -n 80 | grep .
}

guest_log_clean() {
	local log=''

	! vm_alive "$1" || log=$(GUEST_TIMEOUT=180 guest_run "$1" dmesg) || return
	! { cat "$VM_DIR/$1/console.log"; echo "$log"; } |
		grep -aE -A 30 "$COMPLAINT" | head -n 80 | grep .
}

guest_free_high() {
	guest_run "$1" 'cat /proc/buddyinfo' |
		awk -v o="${2:-9}" '{ for (i = 5 + o; i <= NF; i++) b += $i * 2 ^ (i - 5) * 4096 }
		     END { printf "%.0f\n", b }'
}

nvme_pattern() {
	seq -f "nvme$1 %09.0f" $((${3:-0} / 16 + 1)) 99999999 2>/dev/null |
		head -c "${2:-134217728}"
}

kmemleak_clean() {
	local leaks=/sys/kernel/debug/kmemleak

	[ -e $leaks ] || return 0
	echo scan > $leaks
	sleep 5
	echo scan > $leaks
	! grep . $leaks
}

is_debug() { [[ $(uname -r) = *-vprobe-debug ]]; }

patience() {
	if is_debug; then
		echo $(($1 * 6))
	else
		echo "$1"
	fi
}

more_than() {
	local n=$1

	shift
	[ "$("$@")" -gt "$n" ]
}

seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# Who looks from outside (run-one) sees that something goes on here.
still_waiting() {
	[ $((SECONDS - ${STILL_SAID:=$SECONDS})) -ge 60 ] || return 0
	STILL_SAID=$SECONDS
	{ echo "# still waiting: $*" >&3; } 2>/dev/null || :
}

# Longer than is asked for: a machine that is slow is none that has failed.
wait_until() {
	local end tries=0 STILL_SAID

	end=$((SECONDS + $(patience $(($1 < 60 ? 120 : 2 * $1)))))
	shift
	until "$@"; do
		tries=$((tries + 1))
		[ $SECONDS -lt $end ] || [ $tries -lt 3 ] || return 1
		still_waiting "$@"
		sleep 0.2
	done
}
