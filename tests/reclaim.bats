# SPDX-License-Identifier: GPL-2.0-only
#
# Taking free memory and giving it back: how much, at what cost, and that an
# idle guest does not notice (I1, I2, I3).
# takes: 330

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash

TRACE=/sys/kernel/tracing

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1
}

teardown_file() {
	# 64 MiB for each CPU.
	echo 4 > $TRACE/buffer_size_kb
	vm_kill_all
	vprobed_stop
}

@test "one reclaim takes at least 95 % of the guest's large free blocks" {
	free=$(guest_free_high a)
	resident=$(vm_ram_resident a)
	pinned=$(pinned_pages)
	available=$(mem_available)
	committed=$(committed_bytes)
	taken=$(reclaim_quiet a)
	# Before anybody asks for the state of the memfd, which would mend that.
	committed=$((committed - $(committed_bytes)))
	echo "free $free, taken $taken"
	[ "$free" -gt $((500 << 20)) ]
	[ "$taken" -ge $((free * 95 / 100)) ]
	# In the memfd, in the host's memory, and in what iommufd has pinned for
	# devices, which is what it maps.
	[ $((resident - $(vm_ram_resident a))) -ge $((taken * 99 / 100)) ]
	[ $(($(mem_available) - available)) -ge $((taken * 90 / 100)) ]
	[ $((pinned - $(pinned_pages))) -ge $((taken / 4096 * 99 / 100)) ]
	[ $committed -ge $((taken * 90 / 100)) ]
}

committed_bytes() {
	awk '/^Committed_AS:/ { printf "%d\n", $2 * 1024 }' /proc/meminfo
}

@test "every hole has a watch, and the helper was asked again after arming" {
	[ "$(vstat a memory.holes)" -gt 0 ]
	all_watched a
	[ "$(vstat a memory.holes)" = "$(vstat a memory.taken_blocks)" ]
	[ "$(vstat a helper.runs)" -ge 2 ]
	# One EPT flush and one IOTLB flush for a batch, not for a block.
	[ "$(vstat a watches.tlb_flushes)" -gt 0 ]
	[ "$(vstat a watches.iotlb_flushes)" -gt 0 ]
	[ $(($(vstat a watches.tlb_flushes) * 8)) -lt "$(vstat a watches.armed)" ]
	[ $(($(vstat a watches.iotlb_flushes) * 8)) -lt \
		"$(vstat a memory.taken_blocks)" ]
}

@test "a second reclaim finds nothing, as holes are known" {
	before=$(vstat a memory.holes)
	taken=$(vstat a memory.taken_blocks)
	vprobe reclaim a all
	[ "$(vstat a memory.holes)" -ge "$before" ]
	# But for what the guest has freed meanwhile.
	[ $((($(vstat a memory.taken_blocks) - taken) * 20)) -le "$before" ]
	[ "$(vstat a memory.repopulated)" = 0 ]
}

@test "an idle guest stays reclaimed: 1 % of the watches fire in 60 s at most" {
	holes=$(vstat a memory.holes)
	[ "$holes" -gt 100 ]
	fired=$(vstat a watches.fired)
	others=$(for_others)
	sleep 60
	fired=$(($(vstat a watches.fired) - fired))
	echo "$fired of $holes watches fired"
	[ $((fired * 100)) -le "$holes" ]
	[ $(((holes - $(vstat a memory.holes)) * 100)) -le "$holes" ]
	[ "$(for_others)" = "$others" ]
}

# What no guest that is well makes grow.
for_others() {
	vprobe__stat a '[.watches.emulated, .fills.read, .fills.failsafes,
		.fills.timeouts]' -c
}

@test "free-map lists the holes, and its JSON agrees with stat" {
	run vprobe --json free-map a
	[ "$status" = 0 ]
	[ "$(jq '[.blocks[] | select(.state == "hole")] | length' \
		<<<"$output")" = "$(vstat a memory.holes)" ]
}

@test "a guest that needs its memory gets it, with one exit for the watch of each block" {
	vprobe reclaim a all
	vprobe --json free-map a > /run/before
	holes=$(vstat a memory.holes)
	bytes=$(vstat a memory.hole_bytes)
	fired=$(vstat a watches.fired)
	trace_faults
	guest_run a 'memhog -m 300 -t 2'
	vprobe --json free-map a > /run/after
	exits_for_blocks
	exits=$(wc -l < /run/exits)
	gone=$((holes - $(vstat a memory.holes)))
	back=$((bytes - $(vstat a memory.hole_bytes)))
	fired=$(($(vstat a watches.fired) - fired))
	echo "$exits exits, $fired watches fired for $gone blocks, $back bytes"
	[ "$back" -ge $((250 << 20)) ]
	[ "$fired" = "$gone" ]
	# KVM looks again if something else changed its page tables meanwhile.
	[ "$exits" -ge "$gone" ]
	[ "$exits" -le $((gone + gone / 20 + 1)) ]
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
}

# All exits of guests for want of a page that may be written to.
trace_faults() {
	echo 0 > $TRACE/tracing_on
	echo 65536 > $TRACE/buffer_size_kb
	echo 'error_code & 2' > $TRACE/events/kvm/kvm_page_fault/filter
	echo 1 > $TRACE/events/kvm/kvm_page_fault/enable
	echo > $TRACE/trace
	echo 1 > $TRACE/tracing_on
}

# Those for the watches of blocks that are no holes any more, a page in a line
# of /run/exits.
exits_for_blocks() {
	echo 0 > $TRACE/tracing_on
	echo 0 > $TRACE/events/kvm/kvm_page_fault/enable
	[ "$(grep -c 'LOST' $TRACE/trace)" = 0 ] || return 1
	jq -rn '[$after[].blocks[].gpa] as $left | $before[].blocks[] |
		select(.state == "hole" and (.gpa | IN($left[]) | not)) |
		.watch_gpa / 4096 | floor' --slurpfile before /run/before \
		--slurpfile after /run/after | xargs printf '%013x\n' > /run/watches
	sed -n 's/.* kvm_page_fault: .*address 0x\([0-9a-f]*\)[0-9a-f]\{3\} .*/\1/p' \
		$TRACE/trace | grep -xF -f /run/watches > /run/exits || :
	echo > $TRACE/trace
}

# The guest uses half of what was taken, twice: KVM maps each page that was a watch
# once, or again if it lost it meanwhile, but no write is stopped, as if it still were
# one.
tracks_nothing() {
	echo '{"blocks": []}' > /run/after
	trace_faults
	guest_run a 'memhog -m 300 -t 2'
	guest_run a 'memhog -m 300 -t 2'
	exits_for_blocks
	sort /run/exits | uniq -c | sort -n > /run/each
	tail -n 1 /run/each
	[ -s /run/each ]
	[ "$(awk '$1 > 3' /run/each | wc -l)" = 0 ]
}

# The calls of a pass, one in a line: what comes after a scan, batch by batch (I3).
in_order() {
	awk '/^ *vprobe-/ && / <-/ {
		sub(/.*: /, "")
		sub(/ <-.*/, "")
		if ($0 == "kvm_write_track_add_gfns") {
			did = "watched"
			flushes = 0
			batches++
		} else if ($0 == "kvm_flush_remote_tlbs") {
			flushes++
		} else if ($0 == "vprobe_ask" && did == "watched") {
			wrong += flushes != 1
			did = "asked"
		} else if ($0 == "iommufd_punch") {
			wrong += did != "asked"
			did = "punched"
		} else if ($0 == "vprobe_backing_drop") {
			wrong += did != "punched"
			dropped++
		}
	}
	END {
		print batches " batches, " dropped " dropped, " wrong + 0 " wrong"
		exit wrong || batches < 2 || !dropped
	}' $TRACE/trace
}

@test "a pass watches with one flush, asks again, punches, and only then drops" {
	vprobe fill a all
	echo 0 > $TRACE/tracing_on
	echo kvm_write_track_add_gfns kvm_flush_remote_tlbs vprobe_ask \
		iommufd_punch vprobe_backing_drop > $TRACE/set_ftrace_filter
	echo function > $TRACE/current_tracer
	echo 1 > $TRACE/tracing_on
	vprobe reclaim a all
	echo 0 > $TRACE/tracing_on
	run in_order
	echo nop > $TRACE/current_tracer
	echo > $TRACE/set_ftrace_filter
	echo "$output"
	[ "$status" = 0 ]
}

@test "the NVMe reads by DMA into memory that was taken" {
	vprobe reclaim a all
	want=$(nvme_pattern 0 33554432 | md5sum)
	got=$(guest_run a 'dd if=/dev/nvme0n1 of=/run/x bs=1M count=32 \
		2>/dev/null; md5sum < /run/x; rm /run/x')
	[ "${got%% *}" = "${want%% *}" ]
	[ "$(iommu_faults)" = 0 ]
}

@test "what fires for nothing is counted when it is free again" {
	vprobe reclaim a all
	vprobe reclaim a all
	[ "$(vstat a watches.fired_idle)" -le "$(vstat a watches.fired)" ]
	[ "$(vstat a watches.fired_idle)" -gt 0 ]
}

@test "reading a hole through the VMM wastes memory, and the next pass takes it" {
	vprobe reclaim a all
	gpa=$(vprobe --json free-map a |
		jq '[.blocks[] | select(.state == "hole")][0].gpa')
	before=$(vm_ram_resident a)
	vm_qmp a human-monitor-command \
		"{\"command-line\": \"xp /1wx $gpa\"}"
	[ "$(vm_ram_resident a)" -gt "$before" ]
	vprobe reclaim a all
	[ "$(vstat a memory.repopulated)" -ge 1 ]
	[ "$(vm_ram_resident a)" -le $((before + (8 << 20))) ]
}

@test "reclaim SIZE takes about that much, fill SIZE gives it back" {
	vprobe fill a all
	no_trace a
	vprobe reclaim a 100M
	taken=$(vstat a memory.hole_bytes)
	[ "$taken" -ge $((100 << 20)) ]
	[ "$taken" -le $((104 << 20)) ]
	vprobe fill a 50M
	[ "$(vstat a memory.hole_bytes)" -le $((taken - (50 << 20))) ]
	[ "$(vstat a memory.hole_bytes)" -ge $((40 << 20)) ]
}

# Fill while a reclaim runs.
reclaim_and_fill() {
	local pid

	vprobe fill a all
	vprobe --json reclaim a all >/run/early 3>&- &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		vprobe fill a 2M >/run/filled || return
	done
	wait $pid
}

@test "a reclaim ends early for who wants memory back, and says so" {
	for _ in 1 2 3 4 5; do
		reclaim_and_fill
		[ "$(jq .ended_early /run/early)" = false ] || break
	done
	cat /run/early /run/filled
	[ "$(jq .ended_early /run/early)" = true ]
	[ "$(jq .interrupted /run/early)" = false ]
	[ "$(vprobe --json reclaim a all | jq .ended_early)" = false ]
	[ "$(vstat a memory.hole_bytes)" -gt "$(jq .taken_bytes /run/early)" ]
}

@test "what was given back is not watched any more, by KVM's own account" {
	vprobe reclaim a all
	vprobe --json free-map a > /run/before
	vprobe fill a all
	tracks_nothing
}

@test "detach gives everything back" {
	vprobe reclaim a all
	vprobe --json free-map a > /run/before
	vprobe detach a
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
	[ -z "$(vprobe --json ls | jq -r '.[].id')" ]
	tracks_nothing
}

@test "zero IOMMU faults, and nobody complained" {
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	host_log_clean
	vm_stop a
}
