# SPDX-License-Identifier: GPL-2.0-only
#
# What IOMMUFD does where there are holes that only its mock IOMMU can show: it
# tracks what is dirty, and warns if page tables are not unmapped as they were
# mapped. Run by tests/selftests, on the kernel that has it.
# takes: 100

load ../lib/vm.bash
load ../lib/host.bash
load ../lib/vprobe.bash
load ../lib/tools.bash

# Four blocks of 64 KiB, 16 MiB behind the beginning: pages 4096 to 4159 of 16384.
RAM=$((64 << 20))
HOLES=$((4 << 16))

setup_file() {
	host_log_clean
	pinned_pages > /run/pinned-before
}

teardown() { release_all; }

# mock_vm STRAY [OPTION]...
mock_vm() {
	local stray=$1

	shift
	hold vmm "$TOOLS/mockvmm" -i 1 "$@" mock
	vprobe attach "$(held_pid vmm)" --name mock --granule 64K --stray "$stray"
	bad_helper mock free $((16 << 20)) 4 4 $((8 << 20))
}

mock_gone() {
	vprobe detach mock
	release vmm
	pinned_as "$(cat /run/pinned-before)"
	host_log_clean
}

says() {
	local said

	said=$(tell vmm "$1")
	[ "$said" = "$2" ] || { echo "'$1' got '$said', not '$2'"; return 1; }
}

taken() {
	vprobe reclaim mock all
	[ "$(vstat mock memory.holes)" = 4 ]
}

given_back() {
	vprobe fill mock all
	no_trace mock
}

# dirty_but_for_holes STRAY REACHED: so many bytes a device reaches with holes
dirty_but_for_holes() {
	mock_vm "$1" -b 65536
	says track tracks
	says write "wrote $RAM"
	says dirty 'dirty: 0-16383'
	says dirty 'dirty:'
	taken
	says write "wrote $2"
	says dirty 'dirty: 0-4095 4160-16383'
	says dirty 'dirty:'
	# No device has written to the memory that comes back.
	says write "wrote $2"
	given_back
	says dirty 'dirty: 0-4095 4160-16383'
	says write "wrote $RAM"
	says dirty 'dirty: 0-16383'
	# What was dirty when it was taken is not any more.
	says write "wrote $RAM"
	taken
	says dirty 'dirty: 0-4095 4160-16383'
	given_back
	says dirty 'dirty:'
	mock_gone
}

@test "what devices write is told, but for holes: fault" {
	dirty_but_for_holes fault $((RAM - HOLES))
}

@test "what devices write is told, but for holes: absorb" {
	dirty_but_for_holes absorb $RAM
}

@test "dirty tracking goes on and off while there are holes" {
	mock_vm absorb -b 65536
	taken
	says track tracks
	says write "wrote $RAM"
	says 'track no' tracks
	says track tracks
	says dirty 'dirty:'
	says write "wrote $RAM"
	says dirty 'dirty: 0-4095 4160-16383'
	given_back
	says 'track no' tracks
	says track tracks
	says dirty 'dirty:'
	says write "wrote $RAM"
	says dirty 'dirty: 0-16383'
	mock_gone
}

# With VFIO's first version user space may unmap in the middle of what it has mapped.
@test "VFIO type 1: an unmap cuts next to a hole, and not within" {
	mock_vm fault -1
	says track tracks
	taken
	says 'unmap 4100 4' 'unmapped nothing: Device or resource busy'
	says 'unmap 4090 10' 'unmapped nothing: Device or resource busy'
	says 'unmap 4150 20' 'unmapped nothing: Device or resource busy'
	says write "wrote $((RAM - HOLES))"
	says dirty 'dirty: 0-4095 4160-16383'
	# Up to a hole, from one on, and the first hole itself. (IOMMUFD tells of what is
	# dirty only where all is mapped.)
	says 'unmap 4090 6' 'unmapped 24576'
	says 'unmap 4160 10' 'unmapped 40960'
	says 'unmap 4096 16' 'unmapped 65536'
	says write "wrote $((RAM - HOLES - 65536))"
	given_back
	says write "wrote $((RAM - 131072))"
	# Where a hole was it may cut again, and what is left of the block is taken.
	says 'unmap 4120 4' 'unmapped 16384'
	taken
	says write "wrote $((RAM - HOLES - 65536))"
	given_back
	says write "wrote $((RAM - 131072 - 16384))"
	mock_gone
}

@test "VFIO type 1: all of it is unmapped at once, with holes in it" {
	mock_vm absorb -1
	says track tracks
	taken
	says 'unmap 0 16384' "unmapped $RAM"
	says write 'wrote 0'
	given_back
	says write 'wrote 0'
	mock_gone
}
