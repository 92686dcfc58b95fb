# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Guests (level 2), for tests and scripts that run on the testbed's host. Needs
# lib/host.bash.
#
#	vm_start NAME [KEY=VALUE]...	start a guest, do not wait for it
#	vm_wait NAME			wait until it runs commands
#	vm_boot NAME [KEY=VALUE]...	both; a guest that the emulator loses
#					while it boots is started once more
#	guest_run NAME COMMAND		its output and exit status (600 s, or
#					$GUEST_TIMEOUT: then 124)
#	vm_qmp NAME COMMAND [JSON]	a QMP command; prints what it returns
#	qemu_says NAME STATUS		whether query-status does
#	vm_pid NAME | vm_alive NAME
#	vm_stop NAME			power off, properly; waits
#	vm_kill NAME			kill -9; waits
#	vm_kill_all
#
# What a guest can be given:
#	mem=1G smp=1 kernel=6.12 cid=N	(5.10, 6.1, new; cid=0: no vsock; debian:
#					not a busybox but what l2debian makes)
#	nvme=N edu=N			so many devices; `yes' is 1
#	backing=memfd|thp|hugetlb|anon	what its RAM is made of
#	inject=yes			whether the injector starts at boot
#	tools=yes			the disk with fio and kexec
#	reboot=no			what a reset does: boot again, or end
#	append=TEXT			for the guest kernel's command line
#	qemu=ARGS			more arguments, split at blanks

VM_DIR=/run/vm
VM_PORTS=4
VM_DEBIAN=/vprobe/build/tests/debian
# A guest whose processors stand still for 20 s is slow, not broken.
VM_PATIENCE='rcupdate.rcu_cpu_stall_timeout=100 watchdog_thresh=50'

vm__die() { echo "testbed: $*" >&2; return 1; }

vm__count() {
	case $1 in
	yes) echo 1 ;;
	no) echo 0 ;;
	*) echo "$1" ;;
	esac
}

# vm__initrd KERNEL: the path of the initramfs; made once.
vm__initrd() {
	local initrd=/run/initrd-$1.cpio

	if [ ! -e /vprobe/build/tests/guest.cpio ]; then
		vm__die "there is no build/tests/guest.cpio: make guest-image"
		return
	fi
	if [ ! -e "$initrd" ]; then
		cat "/vprobe/l2/base-$1.cpio" \
			/vprobe/build/tests/guest.cpio > "$initrd.part" ||
			return 1
		mv "$initrd.part" "$initrd"
	fi
	echo "$initrd"
}

# vm__devices NAME nvme|edu N: the addresses of N devices that are free
vm__devices() {
	local left=$3 dev other

	[ "$left" -gt 0 ] || return 0
	while read -r dev; do
		other=$(grep -lxF "$dev" "$VM_DIR"/*/devices 2>/dev/null |
			head -n 1) || :
		if [ -n "$other" ]; then
			vm_alive "$(basename "$(dirname "$other")")" && continue
			sed -i "/^$dev\$/d" "$other"
		fi
		echo "$dev" >> "$VM_DIR/$1/devices"
		echo "$dev"
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 0
	done < "/run/testbed/$2"
	vm__die "there is no free $2 device left for guest $1"
}

vm_start() {
	local name=$1 dir=$VM_DIR/$1 arg key backend image initrd dev i
	local mem=1G smp=1 kernel=6.12 nvme=no edu=no backing=memfd inject=yes
	local tools=yes reboot=no append='' qemu='' cid=''
	local -a args

	shift
	for arg; do
		key=${arg%%=*}
		case $key in
		mem|smp|kernel|nvme|edu|backing|cid|inject|tools|reboot|append|qemu)
			local "$key=${arg#*=}" ;;
		*)
			vm__die "vm_start knows no '$arg'"; return ;;
		esac
	done
	if vm_alive "$name"; then
		vm__die "guest $name runs already"
		return
	fi
	rm -rf "$dir"
	mkdir -p "$dir"
	: > "$dir/devices"
	if [ "$kernel" = debian ]; then
		image=$VM_DEBIAN/vmlinuz initrd=$VM_DEBIAN/initrd.img
		append+=' root=LABEL=vprobe-root ro'
		qemu+=" -device virtio-blk-pci,drive=root
			-drive file=$VM_DEBIAN/root.ext4,if=none,id=root,format=raw,snapshot=on"
	else
		image=/vprobe/l2/vmlinuz-$kernel
		initrd=$(vm__initrd "$kernel") ||
			{ vm__die "there is no guest kernel $kernel"; return; }
	fi
	if [ -z "$cid" ]; then
		cid=$((100 + $(cat "$VM_DIR/cids" 2>/dev/null || echo 0)))
		echo $((cid - 99)) > "$VM_DIR/cids"
	fi

	backend=$(vm__backend "$backing" "$mem") || return
	[ "$inject" = yes ] || append+=' vprobe.inject=no'
	# shellcheck disable=SC2054 # the commas are for QEMU
	args=(-name "$name" -machine q35,memory-backend=m0,hpet=off -object "$backend"
		-accel kvm -cpu host -m "$mem" -smp "$smp"
		-nodefaults -display none
		-kernel "$image" -initrd "$initrd"
		-append "console=ttyS0 panic=-1 quiet loglevel=5 $VM_PATIENCE $append"
		-serial "file:$dir/console.log"
		-qmp "unix:$dir/qmp,server=on,wait=off"
		-device pcie-root-port,id=rp0,chassis=1
		-device pcie-root-port,id=rp1,chassis=2
		-device virtio-rng-pci -device virtio-serial-pci
		-object iommufd,id=iommufd0)
	[ "$reboot" = yes ] || args+=(-no-reboot)
	[ "$cid" = 0 ] ||
		args+=(-device "vhost-vsock-pci,guest-cid=$cid")
	[ "$tools" = no ] ||
		args+=(-device "virtio-blk-pci,drive=t,serial=vprobe-tools"
			-drive "file=/vprobe/l2/tools.ext4,if=none,id=t,format=raw,readonly=on")
	for i in $(seq 0 $((VM_PORTS - 1))); do
		mkfifo "$dir/ctl$i.in" "$dir/ctl$i.out"
		args+=(-chardev "pipe,id=ctl$i,path=$dir/ctl$i"
			-device "virtserialport,chardev=ctl$i,name=org.vprobe.$i")
	done
	vm__devices "$name" nvme "$(vm__count "$nvme")" > "$dir/nvme" || return
	vm__devices "$name" edu "$(vm__count "$edu")" > "$dir/edu" || return
	i=0
	while read -r dev; do
		args+=(-device "vfio-pci,host=$dev,iommufd=iommufd0,id=dev$i")
		i=$((i + 1))
	done < <(cat "$dir/nvme" "$dir/edu")
	echo "$cid" > "$dir/cid"
	# shellcheck disable=SC2086 # it is to be split
	vm__launch "$dir" "${args[@]}" $qemu
}

# vm__launch FOLDER ARGUMENT...
vm__launch() {
	local dir=$1

	shift
	printf '%q ' "$@" > "$dir/command"
	{
		setsid qemu-system-x86_64 "$@" &
		echo $! > "$dir/pid.part"
		mv "$dir/pid.part" "$dir/pid"
		status=0
		wait $! || status=$?
		echo $status > "$dir/ended"
	} </dev/null >"$dir/qemu.log" 2>&1 3>&- &
	until [ -e "$dir/pid" ]; do
		sleep 0.05
	done
}

# vm__backend BACKING SIZE: the object; the host is made to have what it needs
vm__backend() {
	local thp=never

	case $1 in
	memfd|thp)
		[ "$1" = memfd ] || thp=always
		echo $thp > /sys/kernel/mm/transparent_hugepage/shmem_enabled
		echo "memory-backend-memfd,id=m0,share=on,size=$2" ;;
	hugetlb)
		vm__hugepages "$2" || return
		echo "memory-backend-memfd,id=m0,share=on,size=$2,hugetlb=on,hugetlbsize=2M" ;;
	anon)
		echo "memory-backend-ram,id=m0,size=$2" ;;
	*)
		vm__die "no such backing: $1" ;;
	esac
}

# vm__hugepages SIZE: so many bytes of free 2 MiB pages
vm__hugepages() {
	local want have

	want=$(($(numfmt --from=iec "$1") >> 21))
	echo 1 > /proc/sys/vm/compact_memory
	echo $want > /proc/sys/vm/nr_hugepages
	have=$(cat /proc/sys/vm/nr_hugepages)
	[ "$have" -ge $want ] ||
		vm__die "the host has only $have of $want free huge pages"
}

vm_pid() { cat "$VM_DIR/$1/pid"; }
vm_cid() { cat "$VM_DIR/$1/cid"; }

vm_alive() {
	local pid state

	pid=$(cat "$VM_DIR/$1/pid" 2>/dev/null) || return 1
	state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || return 1
	case $state in
	''|Z*|X*) return 1 ;;
	esac
}

# vm__gone NAME SECONDS: wait until its process has ended
vm__gone() {
	local i

	for ((i = 0; i < $2 * 10; i++)); do
		vm_alive "$1" || return 0
		sleep 0.1
	done
	return 1
}

# guest__output NAME BYTES: from stdin, which has no end if the guest dies now
guest__output() {
	[ "$2" != 0 ] || return 0
	timeout "$(patience 60)" head -c "$2" && return
	echo "testbed: guest $1 gave no answer to the end" >&2
	return 124
}

# guest__ask NAME PORT SECONDS COMMAND: on a port that is ours alone
guest__ask() {
	local dir=$VM_DIR/$1 port=$2 id=$RANDOM$RANDOM
	local limit end line='' part verb got status size quiet=0
	# shellcheck disable=SC2034 # for still_waiting
	local STILL_SAID

	limit=$(patience "$3")
	end=$((SECONDS + limit))
	exec {rx}<>"$dir/ctl$port.out" {tx}<>"$dir/ctl$port.in"
	printf 'run %s %s\n' $id "$(base64 -w0 <<<"$4")" >&"$tx"
	while :; do
		# A time-out in the middle of a line: read took what was there.
		part=''
		if IFS= read -r -t 1 part <&"$rx"; then
			read -r verb got status size <<<"$line$part"
			line=''
			[ "$verb" = "done" ] || continue
			if [ "$got" = $id ]; then
				guest__output "$1" "$size" <&"$rx" || status=$?
				break
			fi
			# The answer to what somebody gave up waiting for.
			guest__output "$1" "$size" <&"$rx" >/dev/null || :
			continue
		fi
		line+=$part
		if [ $SECONDS -ge $end ]; then
			echo "testbed: guest $1 gave no answer in $limit s" >&2
			status=124
			break
		elif ! vm_alive "$1"; then
			echo "testbed: guest $1 ended" >&2
			status=125
			break
		else
			# The emulator may have lost the port's interrupt, see
			# docs/TESTING.md: this makes another.
			quiet=$((quiet + 1))
			[ $((quiet % 20)) != 0 ] || echo nudge >&"$tx"
			still_waiting "$1: $4"
		fi
	done
	exec {rx}>&- {tx}>&-
	[ "$status" -lt 124 ] || [ "$3" -lt 60 ] || guest__complaint "$1" >&2
	return "$status"
}

# If there is a reason that is not the emulator's, see lost_a_guest() in run-one.
guest__complaint() {
	! guest__reasons "$1" | grep . || echo "testbed: guest $1 complained"
}

# In the same function, at both of two looks.
sleeps_in_ours() {
	local first

	first=$(guest__stacks "$1")
	sleep 2
	guest__stacks "$1" | grep -xF -e "${first:-nowhere}" |
		sed 's/^/in the kernel: /'
}

guest__stacks() {
	grep -oE "\] $OURS" \
		"/proc/$(vm_pid "$1")"/task/*/stack 2>/dev/null
}

guest__reasons() {
	local state

	complaints "$VM_DIR/$1/console.log" | head -n 5
	grep -aE 'kvm run failed|Bus error|internal error' "$VM_DIR/$1/qemu.log"
	if vm_alive "$1"; then
		sleeps_in_ours "$1"
		state=$(vm_qmp "$1" query-status | jq -r .status)
		[ "$state" = running ] || echo "QEMU says: $state"
	else
		# By no signal but the one that vm_kill sends.
		state=$(cat "$VM_DIR/$1/ended")
		[ "$state" -lt 128 ] || [ "$state" = 137 ] ||
			echo "QEMU ended with status $state"
	fi
	[ ! -c /dev/vprobe ] || vprobe --json stat "$1" 2>/dev/null | jq -r '
		(if type == "array" then .[0] else . end) |
		select(.fills.timeouts > 0 or .watches.emulated > 0) |
		"V-Probe says: \(.fills.timeouts) fills were too late, \(.watches.emulated) writes emulated"'
}

guest_run() {
	local name=$1 port status

	[ -e "$VM_DIR/$name/pid" ] || { vm__die "no guest $name"; return 125; }
	while vm_alive "$name"; do
		for ((port = 0; port < VM_PORTS; port++)); do
			exec {lock}>"$VM_DIR/$name/lock$port"
			if flock -n "$lock"; then
				status=0
				guest__ask "$name" $port \
					"${GUEST_TIMEOUT:-600}" "$2" || status=$?
				exec {lock}>&-
				return $status
			fi
			exec {lock}>&-
		done
		sleep 0.2
	done
	echo "testbed: guest $name is not running" >&2
	return 125
}

vm_wait() {
	if ! GUEST_TIMEOUT=${GUEST_TIMEOUT:-300} guest_run "$1" true; then
		echo "--- QEMU of $1:" >&2
		cat "$VM_DIR/$1/qemu.log" >&2
		echo "--- the end of the console of $1:" >&2
		tail -n 30 "$VM_DIR/$1/console.log" >&2
		return 1
	fi
}

# Only for a guest in which V-Probe has no hand yet: see docs/TESTING.md.
vm_boot() {
	vm_start "$@" || return
	! GUEST_TIMEOUT=180 vm_wait "$1" || return 0
	echo "testbed: guest $1 did not boot: once more" >&2
	echo "guest $1" >> /out/again
	vm_kill "$1" && vm_start "$@" && vm_wait "$1"
}

vm_qmp() {
	local request

	request=$(jq -nc --arg c "$2" --argjson a "${3:-null}" \
		'{execute: $c} + if $a then {arguments: $a} else {} end') ||
		return
	printf '%s\n' '{"execute":"qmp_capabilities"}' "$request" |
		timeout "$(patience 60)" \
		socat -t "$(patience 30)" - "UNIX-CONNECT:$VM_DIR/$1/qmp" |
		jq -c 'select(.return or .error or has("return"))' |
		sed -n 2p | jq -e 'if .error then error(.error.desc)
			else .return end'
}

qemu_says() { [ "$(vm_qmp "$1" query-status | jq -r .status)" = "$2" ]; }

vm_kill() {
	kill -9 "$(vm_pid "$1")" 2>/dev/null || :
	vm__gone "$1" 60 || vm__die "guest $1 does not die"
}

vm_stop() {
	vm_alive "$1" || return 0
	# It has no time to answer, but may have to be asked twice.
	GUEST_TIMEOUT=45 guest_run "$1" 'poweroff -f' >/dev/null 2>&1 || :
	! vm__gone "$1" 60 || return 0
	vm__die "guest $1 did not power off: killing it"
	vm_kill "$1"
	return 1
}

vm_kill_all() {
	local dir

	for dir in "$VM_DIR"/*/; do
		[ ! -e "$dir/pid" ] || vm_kill "$(basename "$dir")"
	done
}
