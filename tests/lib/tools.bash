# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests of misuse share. Needs lib/vm.bash, host.bash, vprobe.bash.
#
#	$TOOLS			the folder with the tools of tests/host
#	holes NAME		guest-physical addresses and sizes, one per line
#	last_hole NAME		the one that a guest uses last; likewise
#	is_hole | no_hole NAME ADDRESS	whether it is one now
#	free_blocks NAME	what the helper reports free now; likewise
#	longest_free NAME	the most of that side by side: address and size
#	behind NAME resident|nonzero ADDRESS BYTES	see host/guestmem.c
#	still_empty NAME	the hole at $gpa of $size bytes has no memory, and
#				what the host could read of it is zero
#	hold NAME COMMAND...	run it in the background until it has said that
#				it is ready, with an input that does not end
#	tell NAME LINE		say that to it; prints the line that it answers
#	release NAME		end its input; its exit status, and its output
#				in $released (it has to run in the same shell)
#	release_all		for teardown(): what a failed test did not release
#	drop_held		for a background job: their inputs do not end while
#				it has them, too
#	refused_with CODE PATTERN COMMAND...	it says no, in a sentence
#	vprobe_gone		ends vprobed, unloads the module: the kernel frees
#				the programs that hold it only a moment later
#	is_attached NAME
#	nobody_attached		no VM is
#	hex COUNT DIGITS	what edu and latedev print of COUNT such bytes
#	bad_helper NAME ARGS...	give the VM a helper of host/mklie.c, which
#				passes all checks and then does wrong
#	works NAME		memory and NVMe of the guest are as they should

TOOLS=/vprobe/build/tests/host

blocks() {
	vprobe --json free-map "$1" ${3:+"$3"} |
		jq -r ".blocks[] | select(.state == \"$2\") | \"\(.gpa) \(.bytes)\""
}

holes() { blocks "$1" hole; }
free_blocks() { blocks "$1" free --ask; }
longest_free() {
	free_blocks "$1" | awk '
		$1 != end { start = $1 }
		{ end = $1 + $2 }
		end - start > most { most = end - start; first = start }
		END { print first, most }'
}
is_hole() { holes "$1" | grep "^$2 "; }
no_hole() {
	local list

	list=$(holes "$1") || return
	! grep "^$2 " <<<"$list"
}

# The end of the first 3 GiB: nobody's lists start there.
last_hole() { holes "$1" | tail -n "${2:-1}" | head -n 1; }

hex() { printf "$2%.0s" $(seq "$1"); echo; }

behind() { "$TOOLS/guestmem" "$(vm_pid "$1")" "$2" "$3" "$4"; }

# shellcheck disable=SC2154 # the caller has set both
still_empty() {
	is_hole "$1" "$gpa"
	[ "$(behind "$1" resident "$gpa" "$size")" = 0 ]
	[ "$(behind "$1" nonzero "$gpa" "$size")" = 0 ]
	[ "$(vstat "$1" memory.repopulated)" = 0 ]
}

hold() {
	local name=$1 fd

	shift
	rm -f "/run/hold-$name".*
	mkfifo "/run/hold-$name.in"
	"$@" <"/run/hold-$name.in" >"/run/hold-$name.out" 2>&1 3>&- &
	echo $! > "/run/hold-$name.pid"
	# Opening it waits for the other end.
	exec {fd}>"/run/hold-$name.in"
	echo "$fd" > "/run/hold-$name.fd"
	wait_until 60 grep -q '^\(ready\|pinned\)$' "/run/hold-$name.out" ||
		{ cat "/run/hold-$name.out"; return 1; }
}

tell() {
	local out=/run/hold-$1.out lines fd

	lines=$(wc -l < "$out")
	fd=$(cat "/run/hold-$1.fd")
	echo "$2" >&"$fd"
	wait_until 60 more_than "$lines" sed -n '$=' "$out"
	tail -n 1 "$out"
}

drop_held() {
	local file fd

	for file in /run/hold-*.fd; do
		[ -e "$file" ] || continue
		fd=$(cat "$file")
		exec {fd}>&-
	done
}

release() {
	local fd status=0

	fd=$(cat "/run/hold-$1.fd")
	exec {fd}>&-
	wait "$(cat "/run/hold-$1.pid")" || status=$?
	rm -f "/run/hold-$1.pid"
	# shellcheck disable=SC2034 # for the caller
	released=$(cat "/run/hold-$1.out")
	return $status
}

release_all() {
	local pid

	for pid in /run/hold-*.pid; do
		[ -e "$pid" ] || continue
		kill "$(cat "$pid")" 2>/dev/null || :
		rm -f "$pid"
	done
}

held_pid() { cat "/run/hold-$1.pid"; }

refused_with() {
	local code=$1 pattern=$2 out status=0

	shift 2
	out=$("$@" 2>&1 </dev/null) || status=$?
	if [ $status = "$code" ] && grep -qE -- "$pattern" <<<"$out"; then
		return 0
	fi
	echo "'$*' ended with status $status, not $code, or does not match"
	echo "  '$pattern', and said:"
	printf '  %s\n' "$out"
	return 1
}

is_attached() { [ -n "$(vprobe --json ls | jq ".[] | select(.name == \"$1\")")" ]; }
nobody_attached() { [ "$(vprobe --json ls | jq length)" = 0 ]; }

vprobe_gone() {
	[ ! -e "$VPROBED_PID" ] || kill "$(cat "$VPROBED_PID")" || :
	rm -f "$VPROBED_PID"
	wait_until 30 modprobe -r vprobe
}

bad_helper() {
	"$TOOLS/mklie" /run/lie "${@:2}"
	vprobed --oneshot-file /run/lie --vm "$1"
}

# A guest that hangs: what its vCPUs do, and what they wait for. The registers
# come last, as asking for them wakes a vCPU that waits for a lost interrupt.
hang_report() {
	local task pid

	vm_alive "$1" || { echo "guest $1 does not run"; return 0; }
	pid=$(vm_pid "$1")
	for _ in 1 2; do
		kvm_counts "$pid"
		sleep 2
	done
	for task in "/proc/$pid/task/"*; do
		echo "$(cat "$task/comm"): $(cut -d" " -f3 "$task/stat")"
		cat "$task/stack"
	done
	vprobe stat "$1" | grep -v ' 0$' || :
	vm_qmp "$1" human-monitor-command \
		'{"command-line": "info registers -a"}' |
		sed 's/\\r\\n/\n/g' | grep -E 'CPU#|RIP|CR2'
	tail -n 5 "$VM_DIR/$1/console.log"
	dmesg | tail -n 20
}

# Of the VM with that VMM: those that change tell what goes on.
kvm_counts() {
	(cd /sys/kernel/debug/kvm/"$1"-* && grep -s . exits halt_exits \
		irq_exits irq_window_exits irq_injections pf_taken pf_fixed \
		nmi_injections tlb_flush | tr '\n' ' ') || :
	echo
}

works() {
	local want got status=0

	guest_run "$1" "memhog -m ${2:-64}" || status=$?
	[ $status != 124 ] || hang_report "$1"
	[ $status = 0 ] || return $status
	[ -s "$VM_DIR/$1/nvme" ] || return 0
	want=$(nvme_pattern "$(nvme_number "$1")" 4194304 | md5sum)
	got=$(guest_run "$1" 'dd if=/dev/nvme0n1 bs=1M count=4 iflag=direct \
		2>/dev/null | md5sum')
	[ "${got%% *}" = "${want%% *}" ] ||
		{ echo "guest $1 reads something else from its NVMe"; return 1; }
}

# Which of the machine's NVMes the guest was given first.
nvme_number() {
	grep -nxF "$(head -n 1 "$VM_DIR/$1/nvme")" /run/testbed/nvme |
		awk -F: '{ print $1 - 1 }'
}
