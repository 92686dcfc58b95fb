# SPDX-License-Identifier: GPL-2.0-only
#
# What a VMM may do with its iommufd while there are holes: copy memory, unmap it,
# destroy IOASes, and map memory that does not come for as long as it likes, which
# is its own loss and nobody else's (host/ioas.c does it in QEMU's place); and what
# it may do to its own mapping of the guest's memory (host/remap.c).
# takes: 260
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

# Not RAM, and nothing that the IOMMU reserves.
IOVA=$((8 << 30))

setup_file() {
	host_log_clean
	vprobed_start
	# Long enough for all that goes on meanwhile.
	vprobe_vm a nvme=1 attach="--stray fault --fill-timeout $(patience 240)000"
	vprobe_vm b mem=512M
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	release_all
	host_log_clean && [ "$(iommu_faults)" = 0 ]
}

# Where QEMU has the guest's memory at that address.
hva() {
	vm_qmp "$1" human-monitor-command "{\"command-line\": \"gpa2hva $2\"}" |
		jq -r . | tr -d '\r' | awk 'NF { print $NF }'
}

# What of the mapping that begins there is in memory.
rss_kib() {
	awk -v at="$(printf %x "$2")" '
		index($1, at "-") == 1 { found = 1 }
		found && $1 == "Rss:" { print $2; exit }' \
		"/proc/$(vm_pid "$1")/smaps"
}

ioas() { "$TOOLS/ioas" "$(vm_pid a)" "$@"; }

@test "memory with holes is copied, wholly or in part, and unmapped again" {
	vprobe reclaim a all
	holes=$(vstat a memory.holes)
	# RAM from 1 MiB up is one mapping to QEMU.
	ioas copy $((1 << 20)) $((1023 << 20))
	for part in first last; do
		read -r gpa size < <(holes a | { [ $part = first ] &&
			head -n 1 || tail -n 1; })
		echo "hole $gpa, $size bytes"
		ioas copy "$gpa" "$size"
		# Its edges, and where nobody made any.
		ioas copy $((gpa - 4096)) $((size + 4096))
		ioas copy "$gpa" $((size - 4096))
		ioas copy $((gpa + 4096)) 4096
	done
	[ "$(vstat a memory.holes)" = "$holes" ]
	works a 300
	vprobe fill a all
	no_trace a
}

@test "a second mapping of it for the same devices: taken, filled and unmapped" {
	vprobe fill a all
	vprobe reclaim a all
	read -r gpa size < <(last_hole a)
	# In part a hole, and with others beside it. What devices reach has both.
	for part in "$((gpa - 4096)) $((size + 4096))" "$gpa $size" \
		"$((gpa + 4096)) 4096" "$((1 << 20)) $((1023 << 20))"; do
		echo "at ${part% *}, ${part#* } bytes"
		# shellcheck disable=SC2086 # they are two
		hold alias ioas alias $part $((IOVA + ${part% *}))
		is_hole a "$gpa"
		works a 300
		vprobe fill a all
		vprobe reclaim a all
		[ "$(vm_ram_resident a)" -lt $((400 << 20)) ]
		release alias
		[ "$released" = $'ready\nunmapped' ]
	done
	vprobe fill a all
	no_trace a
}

@test "where a hole begins or ends is no place to unmap at" {
	vprobe reclaim a all
	read -r gpa size < <(last_hole a)
	[ "$(ioas cut "$gpa" "$size")" = 'refused: No such file or directory' ]
	# What QEMU mapped there goes wholly or not at all.
	read -r gpa size < <(holes a | head -n 1)
	[ "$(ioas cut $((1 << 20)) $((gpa + size + 4096 - (1 << 20))))" = \
		'refused: No such file or directory' ]
	ioas copy $((1 << 20)) $((1023 << 20))
	is_hole a "$gpa"
	works a
}

@test "copies come and go while memory is taken and given back" {
	rm -f /run/stop
	while [ ! -e /run/stop ]; do
		ioas copy $((1 << 20)) $((1023 << 20)) || break
	done >/run/copies 2>&1 3>&- & copies=$!
	# They may be busy: a punch waits for a moment only.
	for _ in 1 2 3 4 5 6; do
		wait_until 30 vprobe reclaim a all
		wait_until 30 vprobe fill a all
	done
	touch /run/stop
	wait $copies
	sort /run/copies | uniq -c
	grep -q copied /run/copies
	[ "$(grep -vc copied /run/copies)" = 0 ]
	no_trace a
	works a 300
}

more_fired_than() { [ "$(vstat a watches.fired)" -gt "$1" ]; }

@test "memory that does not come: taking it ends, and does not wait" {
	vprobe fill a all
	hold late ioas hold $IOVA
	refused_with 1 'mapping memory' vprobe reclaim a all
	[ "$(vstat a memory.holes)" = 0 ]
	[ "$(vstat a refused.busy)" -ge 1 ]
	all_watched a
	release late
	[ "$released" = $'ready\nmapped' ]
	vprobe reclaim a all
	[ "$(vstat a memory.hole_bytes)" -ge $((500 << 20)) ]
}

@test "memory that does not come: others go on, and whoever waits can be killed" {
	vprobe reclaim a all
	# Whatever the guest does next may be what stands still first.
	fired=$(vstat a watches.fired)
	hold late ioas hold $IOVA
	(drop_held; GUEST_TIMEOUT=900 guest_run a 'memhog -m 300 -t 2') >/run/hog 2>&1 3>&- &
	hog=$!
	wait_until 60 more_fired_than "$fired"
	refused_with 1 'mapping memory' vprobe fill a all
	refused_with 137 '' timeout -s KILL "$(patience 2)" vprobe detach a
	vprobe reclaim b all
	[ "$(vstat b memory.hole_bytes)" -ge $((200 << 20)) ]
	works b 200
	release late
	wait $hog
	[ "$(vstat a state)" = ready ]
	[ "$(vstat a fills.timeouts)" = 0 ]
	works a 300
}

@test "something else where the guest's memory was: a fill leaves it alone" {
	vprobe reclaim a all
	read -r gpa size < <(last_hole a)
	address=$(hva a "$gpa")
	hold other "$TOOLS/remap" "$(vm_pid a)" "$address" "$size" anon
	[ "$(rss_kib a "$address")" = 0 ]
	refused_with 1 'something else mapped there' vprobe fill a all
	is_hole a "$gpa"
	[ "$(vstat a memory.holes)" = 1 ]
	[ "$(rss_kib a "$address")" = 0 ]
	release other
	vprobe fill a all
	no_trace a
	works a 300
}

@test "userfaultfd on the guest's memory: a fill fails, and does not wait" {
	vprobe reclaim a all
	read -r gpa size < <(last_hole a)
	hold other "$TOOLS/remap" "$(vm_pid a)" "$(hva a "$gpa")" "$size" minor
	refused_with 1 'something else mapped there' vprobe fill a all
	is_hole a "$gpa"
	[ "$(vstat a memory.holes)" = 1 ]
	vprobe reclaim a all
	release other
	vprobe fill a all
	no_trace a
	works a 300
}

is_stopped() { [ "$(vstat a state)" = stopped ]; }

@test "memory that does not come for longer than a fill may wait: the VM stops" {
	vprobe detach a
	vprobe attach "$(vm_pid a)" --stray fault --fill-timeout 2000
	wait_until 60 vprobe_ready a
	vprobe reclaim a all
	hold late ioas hold $IOVA
	(drop_held; GUEST_TIMEOUT=30 guest_run a 'memhog -m 300') \
		>/run/hog 2>&1 3>&- & hog=$!
	wait_until 60 is_stopped
	wait_until 60 qemu_says a internal-error
	refused_with 1 'mapping memory' vprobe detach a
	works b 200
	release late
	vprobe detach a
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
	wait $hog || :
	vm_kill a
}

@test "nothing is left" {
	vprobe detach b
	guest_log_clean b
	vm_stop b
	nobody_attached
}
