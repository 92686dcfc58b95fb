# SPDX-License-Identifier: GPL-2.0-only
#
# Devices that go where they should not, and a guest that lies: only that guest
# can be hurt (I1, I3, I6, I8). A second guest, `b', runs beside all the time
# and checks its memory.
# takes: 390
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	# What it does about a guest that lies is in service.bats.
	vprobed_start --no-attach --no-quarantine
	vprobe_vm a nvme=1 edu=1 attach='--stray absorb'
	vprobe_vm b mem=512M edu=1
}

teardown_file() {
	vm_kill_all
}

teardown() {
	! vm_alive c || vm_kill c
}

reattach() {
	vprobe detach "$1"
	vprobe attach "$(vm_pid "$1")" --stray "$2"
	wait_until 60 vprobe_ready "$1"
}

# A hole that a small program in the guest does not need: gpa, size.
pick_hole() {
	vprobe reclaim "$1" all
	read -r gpa size < <(last_hole "$1" "${2:-1}")
	echo "hole $gpa, $size bytes"
	[ -n "$gpa" ]
}

# A vCPU looks at the hole, which fills it.
vcpu_sees_zeros() {
	reads=$(vstat "$1" fills.read)
	[ "$(guest_run "$1" "physmem $gpa $size")" = 0 ]
	[ "$(vstat "$1" fills.read)" -gt "$reads" ]
	no_hole "$1" "$gpa"
	[ "$(behind "$1" resident "$gpa" "$size")" = "$size" ]
	[ "$(behind "$1" nonzero "$gpa" "$size")" = 0 ]
}

# Another hole, where the same scrap memory is.
other_hole() {
	holes "$1" | awk -v gpa="$gpa" '
		$1 != gpa && $1 % (2 ^ 21) == gpa % (2 ^ 21) { at = $1 }
		END { print at }'
}

@test "absorb: DMA into a hole is no fault and changes no memory" {
	faults=$(iommu_faults)
	pick_hole a
	for at in 0 4096 $((size - 4096)); do
		guest_run a "edu write $((gpa + at)) 0x5a 4096"
	done
	still_empty a
	[ "$(iommu_faults)" = "$faults" ]
}

@test "absorb: the vCPU finds zeros where the device wrote" {
	pick_hole a
	guest_run a "edu write $gpa 0x5a 4096"
	guest_run a "edu write $((gpa + size - 4096)) 0x5a 4096"
	still_empty a
	vcpu_sees_zeros a
}

@test "absorb: after the fill the same DMA goes to memory" {
	pick_hole a
	guest_run a "edu write $gpa 0x5a 4096"
	still_empty a
	vprobe fill a all
	[ "$(behind a resident "$gpa" "$size")" = "$size" ]
	[ "$(behind a nonzero "$gpa" 4096)" = 0 ]
	# It is free memory still: nobody minds.
	guest_run a "edu write $gpa 0x77 4096"
	[ "$(guest_run a "edu read $gpa 16")" = "$(hex 16 77)" ]
	[ "$(behind a nonzero "$gpa" 4096)" = 4096 ]
	# And to scrap once it is a hole again, whatever the device remembers.
	vprobe reclaim a all
	is_hole a "$gpa"
	other=$(other_hole a)
	guest_run a "edu write $gpa 0x66 64"
	[ "$(guest_run a "edu read $other 64")" = "$(hex 64 66)" ]
	still_empty a
}

@test "absorb: what a device reads in a hole is its own VM's, or zero" {
	pick_hole a
	guest_run a "edu write $gpa 0x5a 64"
	[ "$(guest_run a "edu read $gpa 64")" = "$(hex 64 5a)" ]
	# It is scrap that was written to, not what was there before.
	other=$(other_hole a)
	[ "$(guest_run a "edu read $other 64")" = "$(hex 64 5a)" ]
	still_empty a
	# The other VM's scrap memory is another one, and as good as new.
	pick_hole b
	[ "$(guest_run b "edu read $gpa 4096")" = "$(hex 4096 00)" ]
	guest_run b "edu write $gpa 0x33 64"
	still_empty b
	pick_hole a
	[ "$(guest_run a "edu read $gpa 64")" = "$(hex 64 5a)" ]
}

@test "absorb: scrap memory is new when the VM is attached again" {
	reattach a absorb
	pick_hole a
	[ "$(guest_run a "edu read $gpa 4096")" = "$(hex 4096 00)" ]
}

@test "absorb: DMA into holes while another VM checks its memory" {
	faults=$(iommu_faults)
	GUEST_TIMEOUT=900 guest_run b 'memhog -m 256 -n 4' >/run/hog.log 3>&- &
	hog=$!
	pick_hole a
	guest_run a "i=0; while [ \$i -lt 40 ]; do
		edu write \$(($gpa + i * 4096)) 0x5a 4096; i=\$((i + 1)); done"
	still_empty a
	status=0
	wait $hog || status=$?
	cat /run/hog.log
	[ $status = 0 ]
	[ "$(iommu_faults)" = "$faults" ]
}

@test "fault: DMA into a hole is an IOMMU fault, and changes no memory" {
	reattach a fault
	pick_hole a
	machine=$(iommu_faults_machine)
	kernel=$(iommu_faults_kernel)
	guest_run a "edu write $gpa 0x5a 4096"
	[ "$(iommu_faults_machine)" -gt "$machine" ]
	[ "$(iommu_faults_kernel)" -gt "$kernel" ]
	machine=$(iommu_faults_machine)
	guest_run a "edu read $((gpa + size - 4096)) 4096"
	[ "$(iommu_faults_machine)" -gt "$machine" ]
	still_empty a
	vcpu_sees_zeros a
}

@test "fault: beside the hole and after the fill DMA works as ever" {
	pick_hole a
	guest_run a "edu write $gpa 0x5a 64"
	faults=$(iommu_faults)
	vprobe fill a all
	guest_run a "edu write $gpa 0x77 64"
	[ "$(guest_run a "edu read $gpa 16")" = "$(hex 16 77)" ]
	vprobe reclaim a all
	works a
	[ "$(iommu_faults)" = "$faults" ]
	# What the device remembers of the block is gone with it.
	is_hole a "$gpa"
	machine=$(iommu_faults_machine)
	guest_run a "edu write $gpa 0x5a 64"
	[ "$(iommu_faults_machine)" -gt "$machine" ]
	still_empty a
}

@test "memory that went from one guest to another arrives as zeros" {
	# All that `a' can write is one pattern; it goes back to the host.
	guest_run a 'memhog -m 600'
	vprobe reclaim a all
	vprobe reclaim b all
	vprobe fill b all
	looked=0
	while read -r gpa size; do
		[ "$(behind b resident "$gpa" "$size")" = "$size" ]
		[ "$(behind b nonzero "$gpa" "$size")" = 0 ]
		looked=$((looked + 1))
	done < <(free_blocks b | tail -n 20)
	[ $looked -gt 10 ]
}

@test "a helper that reports used memory as free hurts its own guest only" {
	vprobe_vm c mem=512M nvme=1 attach='--stray absorb'
	# Most of its memory, used or not.
	bad_helper c free $((32 << 20)) 216 9 $((24 << 20))
	GUEST_TIMEOUT=900 guest_run b 'rm -f /run/enough
		until [ -e /run/enough ]; do memhog -m 256 || exit; done' \
		>/run/hog.log 3>&- &
	hog=$!
	guest_run c 'memhog -m 200 -s 100' >/run/victim.log 2>&1 3>&- &
	victim=$!
	sleep 2
	# Held still, or a write of its to the first blocks would stop the pass.
	vm_qmp c stop
	taken=$(reclaim_quiet c)
	vm_qmp c cont
	echo "taken from the guest that lied: $taken"
	[ "$taken" -ge $((32 << 20)) ]
	reclaim_quiet c || :
	# It did use what it called free: it found zeros, or wrote to a hole, or
	# is dead of it already.
	hurt() {
		! vm_alive c || vprobe__stat c \
			'.fills.read + .fills.failsafes > 0' -e >/dev/null
	}
	wait_until 60 hurt
	tail -n 3 "$VM_DIR/c/console.log"
	vm_kill c
	wait $victim || :
	cat /run/victim.log
	kill -0 $hog
	guest_run b 'touch /run/enough'
	status=0
	wait $hog || status=$?
	cat /run/hog.log
	[ $status = 0 ]
	guest_log_clean b
	works a
	guest_log_clean a
}

@test "a helper with the wrong watches is found out at the first write" {
	vprobe_vm c mem=512M nvme=1 attach='--stray absorb'
	# True blocks, side by side, but watches that the guest does not write
	# to; so many that it cannot do without all of them.
	read -r gpa size < <(longest_free c)
	echo "$size bytes from $gpa on"
	[ "$size" -ge $((128 << 20)) ]
	bad_helper c free "$gpa" $((size >> 21)) 9 $((24 << 20))
	vprobe reclaim c all
	[ "$(vstat c memory.holes)" -ge 40 ]
	guest_run c 'memhog -m 380' || :
	[ "$(vstat c fills.failsafes)" -ge 1 ]
	no_trace c
	# The helper is gone with its credit.
	[ "$(vstat c state)" = no-helper ]
	vprobe detach c
	vm_stop c
	works a
	host_log_clean
}

@test "nobody else was hurt" {
	vprobe detach a
	vprobe detach b
	works a 300
	guest_run b 'memhog -m 256'
	guest_log_clean a
	guest_log_clean b
	vm_stop a
	vm_stop b
	host_log_clean
}
