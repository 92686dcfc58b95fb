# SPDX-License-Identifier: GPL-2.0-only
#
# What vprobed does by itself: its configuration file, VMs that it attaches as
# their injectors call, VMs that it puts in quarantine. Guest `a' is honest all
# the time.
# takes: 300
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

CONF=/run/vprobed.conf

setup_file() {
	host_log_clean
	# Of five seconds each; a test has no time for half a minute.
	cat > $CONF <<-END
		stray = fault		# a mistake shows
		quarantine-intervals = 2
		quarantine-run-ms = 2000	# nor is a slow machine a reason
	END
	: > /out/vprobed.log
	start
	vm_start a nvme=1
	vm_wait a
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

start() { vprobed_start --config $CONF; }

is_quarantined() { [ "$(vstat "$1" state)" = quarantined ]; }

# What the guest's injector hears from the host.
register() {
	guest_run "$1" "/vprobe-inject --timeout $(patience 100)" 2>&1 |
		tee /dev/stderr
	return "${PIPESTATUS[0]}"
}

# It is asked what it has to give, until something has been done about it.
ask_until_quarantined() {
	asked() {
		vprobe reclaim "$1" all >/dev/null 2>&1 || :
		is_quarantined "$1"
	}
	wait_until 120 asked "$1" || { vprobe stat "$1"; return 1; }
	vprobe stat "$1" | grep '^quarantine'
}

# The other guest goes on, and gives and takes back memory.
a_is_well() {
	[ "$(vstat a state)" = ready ]
	vprobe fill a all
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	works a 200
	[ "$(vstat a quarantine)" = '' ]
}

@test "a mistake in the configuration file is reported with its line" {
	refused_with 2 '/run/bad:2: granule is a power of two from 64K to 32M, not "3M"' \
		with_config 'attach = yes' 'granule = 3M'
	refused_with 2 '/run/bad:1: there is no key "attached"; there are port, ' \
		with_config 'attached = yes'
	refused_with 2 '/run/bad:1: attach is "yes" or "no", not "maybe"' \
		with_config 'attach = maybe'
	refused_with 2 '/run/bad:2: port was set in line 1 already' \
		with_config 'port = 5000' 'port = 6000'
	refused_with 2 'cannot open /nosuch' vprobed --config /nosuch
	# Nobody else minds.
	kill -0 "$(cat "$VPROBED_PID")"
	# A right one comes further.
	refused_with 1 'cannot listen on vsock port' with_config 'verbose = yes'
}

with_config() {
	printf '%s\n' "$@" > /run/bad
	vprobed --config /run/bad
}

@test "a VM is attached as its injector calls, and its helper is in use" {
	wait_until 60 vprobe_ready a
	[ "$(vstat a pid)" = "$(vm_pid a)" ]
	[ "$(vstat a cid)" = "$(vm_cid a)" ]
	[ "$(vstat a stray)" = fault ]
	grep "attached process $(vm_pid a) as VM $(vstat a id)" /out/vprobed.log
	a_is_well
}

@test "one that cannot be attached: its registration is kept, and says why" {
	vm_boot b mem=512M backing=anon
	out=$(register b)
	echo "$out"
	grep "kept until the VM is attached.*not a shared memfd" <<<"$out"
	grep "guest $(vm_cid b): registration:.*not a shared memfd" \
		/out/vprobed.log
	! is_attached b || return 1
	vm_kill b
}

@test "what was detached by hand stays so, until it is attached by hand" {
	vprobe detach a
	out=$(register a)
	echo "$out"
	grep 'kept until the VM is attached.*somebody has detached it' <<<"$out"
	! is_attached a || return 1
	vprobe attach "$(vm_pid a)" --stray fault
	# What was kept is good enough.
	wait_until 60 vprobe_ready a
	a_is_well
}

times_forgot() { grep -c 'forgot\|its helper taken away' /out/vprobed.log; }

@test "a helper that was taken away does not come back with the next attach" {
	for how in 'helper remove' quarantine; do
		forgot=$(times_forgot) || :
		# shellcheck disable=SC2086 # it is to be split
		vprobe $how a
		vprobe detach a
		vprobe attach "$(vm_pid a)" --stray fault
		# vprobed may have seen it before the detach.
		wait_until 30 more_than "$forgot" times_forgot
		[ "$(vstat a state)" = no-helper ]
		register a
		vprobe_ready a
	done
	a_is_well
}

times_listening() { grep -c 'is confined and listens' /out/vprobed.log; }

@test "vprobed is killed and started again: VMs stay as they were" {
	vprobe reclaim a all
	before=$(vprobe --json stat a | jq -c '[.id, .state, .memory.passes]')
	holes=$(vstat a memory.holes)
	listened=$(times_listening)
	vprobed_kill
	start
	wait_until 60 more_than "$listened" times_listening
	[ "$(vprobe --json stat a |
		jq -c '[.id, .state, .memory.passes]')" = "$before" ]
	# The guest may have used a few.
	[ "$(vstat a memory.holes)" -ge $((holes - holes / 20)) ]
	# It has looked around when it can hear guests again.
	wait_until 60 register a
	[ "$(vstat a id)" = "$(jq '.[0]' <<<"$before")" ]
	a_is_well
}

@test "a helper that fails puts its VM in quarantine, and nobody else" {
	! vm_alive b || vm_kill b
	vm_start b mem=512M
	vm_wait b
	wait_until 60 vprobe_ready b
	bad_helper b angry
	GUEST_TIMEOUT=900 guest_run a 'memhog -m 300 -n 3' >/run/hog.log 3>&- &
	hog=$!
	ask_until_quarantined b
	[[ $(vstat b quarantine) = *'its helper fails'* ]]
	wait_until 20 no_trace b
	wait_until 20 grep "guest $(vm_cid b): quarantine: VM $(vstat b id)" \
		/out/vprobed.log
	vprobe ls | grep ' b .* quarantined '
	socat -u UNIX-CONNECT:/run/vprobed-metrics - |
		grep 'vprobe_quarantined{.*name="b"} 1'
	wait $hog
	a_is_well
	works b
}

@test "one in quarantine gets no helper, whoever asks" {
	refused_with 1 'is in quarantine.*vprobe release' vprobe reclaim b all
	run register b
	echo "$output"
	[ "$status" != 0 ]
	[[ $output = *'is in quarantine'* ]]
	refused_with 1 'is in quarantine' bad_helper b stuck
	is_quarantined b
}

@test "a quarantine outlives vprobed" {
	why=$(vstat b quarantine)
	vprobed_kill
	start
	is_quarantined b
	[ "$(vstat b quarantine)" = "$why" ]
	a_is_well
}

@test "released, it may register again" {
	vprobe release b
	[ "$(vstat b state)" = no-helper ]
	refused_with 1 'not in quarantine' vprobe release b
	wait_until 60 register b
	vprobe_ready b
	taken=$(reclaim_quiet b)
	[ "$taken" -ge $((200 << 20)) ]
	works b
}

@test "a helper that reports what cannot be" {
	bad_helper b free $(((256 << 20) + 4096)) 64 9 $((128 << 20))
	ask_until_quarantined b
	[[ $(vstat b quarantine) = *'reports blocks that cannot be'* ]]
	wait_until 20 no_trace b
	a_is_well
}

@test "a quarantine ends with the attachment" {
	vprobe detach b
	vprobe attach "$(vm_pid b)"
	[ "$(vstat b quarantine)" = '' ]
	wait_until 60 register b
	vprobe_ready b
}

@test "an operator does the same by hand, with memory taken" {
	vprobe reclaim b all
	[ "$(vstat b memory.holes)" -gt 20 ]
	vprobe quarantine b --why 'I do not like it'
	is_quarantined b
	[ "$(vstat b quarantine)" = 'I do not like it' ]
	no_trace b
	works b
	vprobe release b
	wait_until 60 register b
	vprobe_ready b
}

@test "a helper that says one thing and then another" {
	read -r gpa size < <(longest_free b)
	bad_helper b fickle "$gpa" $((size >> 21)) 9 $((24 << 20))
	ask_until_quarantined b
	[[ $(vstat b quarantine) = *'not free a moment later'* ]]
	[ "$(vstat b memory.holes)" = 0 ]
	works b
	a_is_well
}

# From here on for somebody who has no patience at all, also with the honest.
without_patience() {
	! grep -q "$1" $CONF || return 0
	! is_attached a || vprobe detach a
	vprobed_stop
	sed -i "/^${1%%=*}=/d" $CONF
	echo "$1" >> $CONF
	start
}

@test "a guest that wants its memory back all the time" {
	without_patience 'quarantine-fill-rate = 1'
	honest_again b
	vprobe policy load simple interval_ms=200 --vm b
	GUEST_TIMEOUT=900 guest_run b \
		'until [ -e /run/enough ]; do memhog -m 150; done' \
		>/run/hog.log 3>&- &
	hog=$!
	wait_until 120 is_quarantined b
	guest_run b 'touch /run/enough'
	wait $hog
	vprobe policy unload --vm b
	[[ $(vstat b quarantine) = *'blocks per second and GiB back'* ]]
	# It is in quarantine first, and whole a moment later.
	wait_until 20 no_trace b
	works b
}

@test "a guest that writes to holes and not to their watches" {
	without_patience 'quarantine-failsafes = 2'
	for _ in 1 2; do
		honest_again b
		read -r gpa size < <(longest_free b)
		bad_helper b free "$gpa" $((size >> 21)) 9 $((24 << 20))
		vprobe reclaim b all
		guest_run b 'memhog -m 380' || :
		wait_until 20 has_no_helper b
	done
	wait_until 20 is_quarantined b
	[[ $(vstat b quarantine) = *'not to their watches first'* ]]
	wait_until 20 no_trace b
}

honest_again() {
	! is_quarantined "$1" || vprobe release "$1"
	wait_until 60 register "$1"
	vprobe_ready "$1"
}

has_no_helper() { ! vprobe_ready "$1"; }

@test "a helper that is too slow" {
	without_patience 'quarantine-run-ms = 1'
	! is_quarantined b || vprobe release b
	bad_helper b slow
	ask_until_quarantined b
	[[ $(vstat b quarantine) = *'a run of its helper takes'* ]]
	works b
}

@test "clean logs, zero IOMMU faults" {
	vprobe detach all
	for guest in a b; do
		works $guest
		guest_log_clean $guest
		vm_stop $guest
	done
	[ "$(iommu_faults)" = 0 ]
	host_log_clean
}
