# SPDX-License-Identifier: GPL-2.0-only
#
# Devices, IOASes and memslots that come, and go, while there are holes: they see
# them as holes, and what the devices read is right all the same (I1, I3).
# takes: 400
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
	release_all
	vm_kill_all
}

# plug NAME JSON: and wait until the guest has an NVMe more
plug() {
	local before

	before=$(guest_run "$1" 'ls /dev | grep -c "^nvme[0-9]*n1$"') || :
	vm_qmp "$1" device_add "$2"
	more() {
		[ "$(guest_run "$1" 'ls /dev | grep -c "^nvme[0-9]*n1$"')" -gt \
			"$2" ]
	}
	wait_until 60 more "$1" "$before"
}

unplug() {
	vm_qmp "$1" device_del "{\"id\": \"$2\"}"
	gone() {
		local list

		list=$(vm_qmp "$1" qom-list '{"path": "/machine/peripheral"}') &&
			! grep -q "\"$2\"" <<<"$list"
	}
	wait_until 60 gone "$1" "$2"
}

# The guest's driver needed some memory; what is a hole still has none.
mostly_empty() {
	local now

	now=$(vm_ram_resident "$1")
	echo "from $((before >> 20)) to $((now >> 20)) MiB"
	[ $((now - before)) -lt $((64 << 20)) ]
	read -r gpa size < <(last_hole "$1")
	still_empty "$1"
}

# What the guest reads from its last NVMe is what is on the disk DEV.
reads_last() {
	local want got nr

	nr=$(grep -nxF "$2" /run/testbed/nvme | cut -d: -f1)
	want=$(nvme_pattern $((nr - 1)) 33554432 | md5sum)
	got=$(guest_run "$1" 'dd if=$(ls /dev/nvme*n1 | tail -n 1) of=/run/x \
		bs=1M count=32 2>/dev/null; md5sum < /run/x; rm /run/x')
	echo "want $want, got $got"
	[ "${got%% *}" = "${want%% *}" ]
}

@test "an NVMe that is plugged in while there are holes sees them as holes" {
	vprobe_vm a nvme=1
	faults=$(iommu_faults)
	vprobe reclaim a all
	before=$(vm_ram_resident a)
	dev=$(vm__devices a nvme 1)
	plug a "{\"driver\": \"vfio-pci\", \"host\": \"$dev\",
		\"iommufd\": \"iommufd0\", \"bus\": \"rp0\", \"id\": \"hot0\"}"
	mostly_empty a
	vprobe reclaim a all
	reads_last a "$dev"
	[ "$(iommu_faults)" = "$faults" ]
	unplug a hot0
	vprobe reclaim a all
	works a
	[ "$(iommu_faults)" = "$faults" ]
	guest_log_clean a
	host_log_clean
}

# Where QEMU has nothing mapped.
OWN=$((8 << 30))

# faulted COMMAND...: the machine sees an IOMMU fault, and a hole stays one
faulted() {
	local before

	before=$(iommu_faults_machine)
	"$@"
	[ "$(iommu_faults_machine)" -gt "$before" ]
	still_empty d
}

@test "a device with IO page tables of its own, made when there are holes: fault" {
	vprobe_vm d nvme=1 mem=512M
	dev=$(vm__devices d edu 1)
	vprobe reclaim d all
	[ "$(vstat d memory.holes)" -gt 50 ]
	read -r gpa size < <(last_hole d)
	hold late "$TOOLS/latedev" "$(vm_pid d)" "$dev" $OWN
	still_empty d
	faulted tell late "write $gpa 0x5a 4096"
	faulted tell late "read $((gpa + size - 4096)) 4096"
	# They are filled, and punched, with the others.
	vprobe fill d all
	faults=$(iommu_faults_machine)
	[ "$(tell late "write $gpa 0x77 4096")" = written ]
	[ "$(tell late "read $gpa 16")" = "$(hex 16 77)" ]
	[ "$(behind d nonzero "$gpa" 4096)" = 4096 ]
	[ "$(iommu_faults_machine)" = "$faults" ]
	vprobe reclaim d all
	is_hole d "$gpa"
	faulted tell late "write $gpa 0x5a 4096"
	# It leaves while there are holes.
	release late
	works d 200
	vprobe fill d all
	no_trace d
	vprobe detach d
	guest_log_clean d
	vm_stop d
	host_log_clean
}

@test "a device with IO page tables of its own, made when there are holes: absorb" {
	vprobe_vm d nvme=1 mem=512M attach='--stray absorb'
	faults=$(iommu_faults)
	dev=$(vm__devices d edu 1)
	vprobe reclaim d all
	read -r gpa size < <(last_hole d)
	hold late "$TOOLS/latedev" "$(vm_pid d)" "$dev" $OWN
	tell late "write $gpa 0x5a 64"
	# Each granule of each hole is the same scrap memory.
	others=0
	while read -r other _; do
		[ $((other % (2 << 20))) = $((gpa % (2 << 20))) ] || continue
		[ "$(tell late "read $other 64")" = "$(hex 64 5a)" ]
		others=$((others + 1))
	done < <(holes d | tail -n 20)
	[ $others -gt 5 ]
	still_empty d
	vprobe fill d all
	[ "$(tell late "read $gpa 64")" = "$(hex 64 00)" ]
	vprobe reclaim d all
	is_hole d "$gpa"
	[ "$(tell late "read $gpa 64")" = "$(hex 64 5a)" ]
	still_empty d
	release late
	works d 200
	[ "$(iommu_faults)" = "$faults" ]
	vprobe detach d
	guest_log_clean d
	vm_stop d
	host_log_clean
}

@test "a new IOAS, mapped as a whole while there are holes, has them too" {
	faults=$(iommu_faults)
	exec {iommu}<>/dev/iommu
	vprobe_vm c mem=512M \
		qemu="-object iommufd,id=fd1,fd=$iommu"
	exec {iommu}>&-
	[ "$(vstat c iommufds)" = 1 ]
	vprobe reclaim c all
	before=$(vm_ram_resident c)
	[ "$(vstat c memory.hole_bytes)" -ge $((200 << 20)) ]
	dev=$(vm__devices c nvme 1)
	for _ in 1 2; do
		plug c "{\"driver\": \"vfio-pci\", \"host\": \"$dev\",
			\"iommufd\": \"fd1\", \"bus\": \"rp0\", \"id\": \"hot0\"}"
		mostly_empty c
		vprobe reclaim c all
		reads_last c "$dev"
		guest_run c 'memhog -m 300'
		vprobe reclaim c all
		# Now with holes that the IOAS knows: it goes away with them.
		unplug c hot0
		vprobe reclaim c all
		before=$(vm_ram_resident c)
	done
	vprobe fill c all
	no_trace c
	guest_run c 'memhog -m 300'
	vprobe detach c
	vm_stop c
	[ "$(iommu_faults)" = "$faults" ]
	host_log_clean
}

@test "a first device on an iommufd that was not there at attach: no harm" {
	vprobe_vm c mem=512M
	vprobe reclaim c all
	faults=$(iommu_faults)
	dev=$(vm__devices c nvme 1)
	plug c "{\"driver\": \"vfio-pci\", \"host\": \"$dev\",
		\"iommufd\": \"iommufd0\", \"bus\": \"rp0\", \"id\": \"hot0\"}"
	reads_last c "$dev"
	vprobe reclaim c all
	guest_run c 'memhog -m 300'
	reads_last c "$dev"
	[ "$(iommu_faults)" = "$faults" ]
	# Attached again the iommufd is known.
	vprobe detach c
	vprobe attach "$(vm_pid c)" --stray fault
	wait_until 60 vprobe_ready c
	[ "$(vstat c iommufds)" = 1 ]
	vprobe reclaim c all
	[ "$(vstat c memory.hole_bytes)" -ge $((200 << 20)) ]
	reads_last c "$dev"
	[ "$(iommu_faults)" = "$faults" ]
	vprobe detach c
	guest_log_clean c
	vm_stop c
}

# The byte at 0x90 of the host bridge (PAM0) says whether the last 64 KiB below 1 MiB
# are RAM, and for whom. Firmware leaves them read-only; a guest that makes them RAM
# like any other has QEMU take the memslot of nearly all its memory away, and map it
# again as part of a larger one.
pam0() {
	guest_run "$1" "cd /sys/bus/pci/devices/0000:00:00.0
		printf '\\x$2' | dd of=config bs=1 seek=144 conv=notrunc 2>/dev/null
		dd if=config bs=1 skip=144 count=1 2>/dev/null | od -An -t x1"
}

@test "a guest has its RAM's memslot taken away and put back, holes and all" {
	vprobe_vm e nvme=1
	faults=$(iommu_faults)
	# All memory comes back in one exit.
	guest_run e "echo $(patience 100) > \
		/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout"
	for value in 30 10; do
		vprobe reclaim e all
		[ "$(vstat e memory.hole_bytes)" -ge $((500 << 20)) ]
		[ "$(pam0 e $value)" = " $value" ]
		no_trace e
		[ "$(vstat e state)" = ready ]
		works e 300
	done
	vprobe reclaim e all
	[ "$(vstat e memory.hole_bytes)" -ge $((500 << 20)) ]
	all_watched e
	works e 300
	[ "$(iommu_faults)" = "$faults" ]
	[ "$(vstat e fills.failsafes)" = 0 ]
	[ "$(vstat e watches.emulated)" = 0 ]
	vprobe detach e
	guest_log_clean e
	vm_stop e
}
