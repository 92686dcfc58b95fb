# SPDX-License-Identifier: GPL-2.0-only
#
# Policies: loading, swapping and unloading them, what they may decide, and how
# one that misbehaves is thrown out.
# takes: 250

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

POLICIES=/usr/lib/vprobe/policies
EVIL=/vprobe/build/bpf/tests/policies/evil.bpf.o
FORGE=/vprobe/build/bpf/tests/policies/forge.bpf.o

setup_file() {
	host_log_clean
	vprobed_start
	vprobe_vm a nvme=1
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	vprobe policy unload >/dev/null 2>&1 || :
	vprobe policy unload --vm a >/dev/null 2>&1 || :
	bpftool struct_ops unregister name simple >/dev/null 2>&1 || :
	rm -rf /sys/fs/bpf/links /sys/fs/bpf/evil-bss
}

# policy_is NAME: it drives the VM
policy_is() {
	[ "$(vprobe --json policy show |
		jq -r '.[] | select(.drives == 1) | .name')" = "$1" ]
}

taken_more_than() { [ "$(vstat a memory.hole_bytes)" -gt "$1" ]; }
took_again() { [ "$(vstat a memory.taken_blocks)" -gt "$1" ]; }

nothing_taken() {
	vprobe fill a all
	no_trace a
}

@test "without a policy the built-in one drives the VM, and takes nothing" {
	wait_until 10 policy_is '(built-in)'
	[ "$(vstat a memory.taken_blocks)" = 0 ]
}

@test "bpftool struct_ops register alone is enough, and unregister" {
	bpftool struct_ops register $POLICIES/simple.bpf.o
	wait_until 30 policy_is simple
	wait_until 30 taken_more_than $((500 << 20))
	bpftool struct_ops unregister name simple
	wait_until 30 policy_is '(built-in)'
	nothing_taken
}

@test "bpftool struct_ops register with a link that is pinned" {
	bpftool struct_ops register $EVIL /sys/fs/bpf/links
	wait_until 30 policy_is evil
	wait_until 30 taken_more_than $((500 << 20))
	rm /sys/fs/bpf/links/evil
	wait_until 30 policy_is '(built-in)'
	nothing_taken
}

@test "load, set, unload; knobs are obeyed" {
	vprobe policy load simple interval_ms=200
	wait_until 30 policy_is simple
	wait_until 30 taken_more_than $((500 << 20))
	id=$(vstat a memory.policy_id)
	vprobe policy set leave_mib=300
	[ "$(vstat a memory.policy_id)" != "$id" ] || wait_until 30 policy_is simple
	vprobe fill a all
	before=$(vstat a memory.taken_blocks)
	wait_until 30 took_again "$before"
	sleep 2
	[ "$(vstat a memory.free_bytes)" -ge $((290 << 20)) ]
	[ "$(guest_free_high a)" -ge \
		$(($(vstat a memory.hole_bytes) + (290 << 20))) ]
	vprobe policy unload
	wait_until 30 policy_is '(built-in)'
	nothing_taken
}

@test "top shows size, use and policy, as text and as JSON" {
	vprobe policy load simple interval_ms=200
	wait_until 30 taken_more_than $((500 << 20))
	run vprobe top -n 2 -d 1
	[ "$status" = 0 ]
	[ "$(grep -c '^host .* available ' <<<"$output")" = 2 ]
	[ "$(grep -c ' a .*ready .*simple' <<<"$output")" = 2 ]
	out=$(vprobe --json top -n 1)
	[ "$(jq -r '.vms[0].policy' <<<"$out")" = simple ]
	[ "$(jq '.vms[0] | .used_bytes + .hole_bytes == .ram_bytes' \
		<<<"$out")" = true ]
	[ "$(jq .host_total_bytes <<<"$out")" -gt $((1 << 30)) ]
	refused_with 2 'delay is 1 to 3600' vprobe top -d 0
	vprobe policy unload
	nothing_taken
}

@test "metrics on a unix socket, plain and by HTTP" {
	plain=$(socat -u UNIX-CONNECT:/run/vprobed-metrics -)
	grep -q "^vprobe_ram_bytes{vm=\"$(vstat a id)\",name=" <<<"$plain"
	[ "$(tail -n 1 <<<"$plain")" = '# EOF' ]
	http=$(printf 'GET /metrics HTTP/1.0\r\n\r\n' |
		socat -t 5 - UNIX-CONNECT:/run/vprobed-metrics)
	[[ $http = "HTTP/1.0 200 OK"* ]]
	[ "$(tail -n 1 <<<"$http")" = '# EOF' ]
	[ "$(stat -c %a /run/vprobed-metrics)" = 600 ]
}

@test "a policy of the VM goes before one that is for all" {
	vprobe policy load watermark
	wait_until 30 policy_is watermark
	vprobe policy load simple --vm a
	wait_until 30 policy_is simple
	[ "$(vprobe --json policy show | jq length)" = 3 ]
	vprobe policy unload --vm a
	wait_until 30 policy_is watermark
	vprobe policy unload
	nothing_taken
}

one_of_two() { policy_is simple || policy_is watermark; }

@test "of two that are loaded at the same time one remains" {
	for _ in 1 2 3 4 5 6; do
		vprobe policy load simple 3>&- &
		vprobe policy load watermark
		wait $!
	done
	wait_until 30 one_of_two
	[ "$(vprobe --json policy show |
		jq '[.[] | select(.name == "simple" or .name == "watermark")] |
			map(select(.state != "gone")) | length')" = 1 ]
	vprobe policy unload
	wait_until 30 policy_is '(built-in)'
	nothing_taken
}

@test "every policy that comes along loads and decides" {
	for file in "$POLICIES"/*.bpf.o; do
		name=$(basename "$file" .bpf.o)
		vprobe policy load "$name"
		wait_until 30 policy_is "$name"
		sleep 1
		[ "$(vprobe --json policy show |
			jq -r '.[0].state')" = ready ]
	done
	vprobe policy unload
	nothing_taken
}

@test "prefer: spared blocks stay, second choices are taken when needed" {
	vprobe policy load $EVIL mode=9
	wait_until 30 policy_is evil
	sleep 2
	[ "$(vstat a memory.holes)" = 0 ]
	vprobe policy load $EVIL mode=10
	wait_until 30 taken_more_than $((500 << 20))
	vprobe policy unload
	nothing_taken
}

@test "what is wrong is said, and the old policy stays" {
	vprobe policy load watermark
	wait_until 30 policy_is watermark
	refused_with 1 'cannot open the policy' vprobe policy load nosuch
	refused_with 1 'is no BPF object' vprobe policy load "$TOOLS/mklie"
	refused_with 1 'no struct vprobe_policy_ops' vprobe policy load \
		/usr/lib/vprobe/helpers/linux_buddy.bpf.o
	refused_with 1 'no knob nosuch; it has .*interval_ms' \
		vprobe policy load simple nosuch=1
	refused_with 1 'cannot be "-1"' vprobe policy load simple interval_ms=-1
	refused_with 1 'cannot be "5000000000"' \
		vprobe policy load simple interval_ms=5000000000
	refused_with 2 'no KEY=VALUE' vprobe policy load simple interval_ms
	refused_with 1 'knob is out of range' vprobe policy set calm_ms=7200000
	refused_with 1 'knob is out of range' vprobe policy set busy_ms=5
	refused_with 1 'knob is out of range' \
		vprobe policy load simple interval_ms=5
	refused_with 1 'knob is out of range' \
		vprobe policy load headroom interval_ms=0
	refused_with 1 'knob is out of range' vprobe policy load fair busy_ms=9
	refused_with 1 'no attached VM' vprobe policy load simple --vm nosuch
	refused_with 1 'No space left' vprobe policy load $EVIL mode=1
	refused_with 1 'nothing was loaded|no policy was loaded' \
		vprobe policy unload --vm a
	refused_with 2 'show, load, set or unload' vprobe policy frobnicate
	refused_with 2 'which policy' vprobe policy load
	policy_is watermark
}

@test "a policy that hands over memory of its own, or none, is not loaded" {
	for mode in 1 2 3; do
		refused_with 1 'must point to scalar' \
			vprobe policy load $FORGE mode=$mode
	done
	refused_with 1 'NULL' vprobe policy load $FORGE mode=4
	refused_with 1 'cannot use helper bpf_loop' \
		vprobe policy load $FORGE mode=5
	refused_with 1 'cannot use helper bpf_tail_call' \
		vprobe policy load $FORGE mode=6
	refused_with 1 'cannot use helper bpf_timer' \
		vprobe policy load $FORGE mode=7
	# It is not for any other reason.
	vprobe policy load $FORGE
	wait_until 30 policy_is forge
}

# evicted_for MODE TEXT: the built-in one takes over, and the reason stays
evicted_for() {
	vprobe policy load $EVIL mode="$1"
	wait_until 60 policy_is '(built-in)'
	vprobe policy show
	[ "$(vprobe --json policy show | jq -r '.[0].state')" = evicted ]
	grep -qE "$2" <<<"$(vprobe --json policy show | jq -r '.[0].why')"
	vprobe policy unload
	[ "$(vprobe --json policy show | jq -r '.[0].state')" = gone ]
	grep -qE "$2" <<<"$(vprobe --json policy show | jq -r '.[0].why')"
	nothing_taken
}

@test "evicted: decide() fails" { evicted_for 2 'decide\(\) returned -5'; }
@test "evicted: wants to look again too soon" { evicted_for 3 'in 9 ms'; }
@test "evicted: wants to look again too late" { evicted_for 4 'in 3600001 ms'; }
@test "evicted: prefer() answers nonsense" { evicted_for 5 'prefer\(\) returned 3'; }
@test "evicted: over its budget" { evicted_for 6 'ran for more than 250 ms'; }
@test "evicted: one call takes too long" {
	evicted_for 11 'ran for [0-9]+ ms in one call'
}
@test "evicted: floods" { evicted_for 7 'more than 1000 calls'; }

@test "not evicted: a guest has it called, and it wants to look again each time" {
	vprobe policy load $EVIL mode=12
	wait_until 30 taken_more_than $((500 << 20))
	guest_run a 'memhog -m 500 -t 2'
	policy_is evil
	vprobe policy unload
	nothing_taken
}

@test "an evicted policy can be replaced where it is" {
	vprobe policy load $EVIL mode=2
	wait_until 30 policy_is '(built-in)'
	vprobe policy load simple
	wait_until 30 policy_is simple
}

# of_evil NAME: one of its variables, from the map that is pinned
of_evil() {
	bpftool -j map dump pinned /sys/fs/bpf/evil-bss |
		jq ".. | objects | .$1? // empty"
}

# ended_is END: 1 + enum vprobe_policy_end, as exit() was told
ended_is() { [ "$(of_evil ended)" = "$1" ]; }

# What the newest evil policy knows outlives it.
pin_evil() {
	rm -f /sys/fs/bpf/evil-bss
	bpftool map pin id "$(bpftool -j map show |
		jq 'map(select(.name == "evil.bss")) | max_by(.id).id')" \
		/sys/fs/bpf/evil-bss
}

@test "exit() is told why: unregistered, evicted, replaced" {
	vprobe policy load $EVIL
	pin_evil
	vprobe policy unload
	wait_until 30 ended_is 1
	vprobe policy load $EVIL mode=2
	pin_evil
	wait_until 30 ended_is 3
	vprobe policy unload
	ended_is 3
	hold swap $TOOLS/policyswap $EVIL $POLICIES/simple.bpf.o
	wait_until 30 policy_is evil
	pin_evil
	release swap
	ended_is 2
	wait_until 30 policy_is '(built-in)'
}

@test "the most malicious policy costs time, and nothing else" {
	vprobe policy load $EVIL mode=8
	wait_until 30 policy_is evil
	guest_run a 'memhog -m 300 -t 2 -s 20'
	works a 100
	vprobe stat a
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	[ "$(vstat a fills.timeouts)" = 0 ]
	[ "$(vstat a fills.blocks)" -gt 100 ]
	vprobe policy unload
	nothing_taken
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
}

told_pressure() { grep -q 'memory pressure: ' /out/vprobed.log; }

@test "memory pressure reaches policies, by PSI" {
	# It spares all, and is only told once there is another for the VM.
	vprobe policy load $EVIL mode=9
	pin_evil
	vprobe policy load watermark low_percent=0 high_percent=0 \
		pressure_percent=1 busy_ms=100 --vm a
	wait_until 30 policy_is watermark
	sleep 1
	[ "$(vstat a memory.holes)" = 0 ]
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/tight
	echo 8M > /sys/fs/cgroup/tight/memory.high
	(
		echo $BASHPID > /sys/fs/cgroup/tight/cgroup.procs
		exec timeout 60 sh -c 'while :; do
			head -c 64M /dev/zero | tail -c 40M >/dev/null; done'
	) 3>&- &
	hog=$!
	wait_until 60 told_pressure
	wait_until 30 taken_more_than $((100 << 20))
	kill $hog || :
	wait $hog || :
	vprobe policy unload --vm a
	[ "$(of_evil times_told)" -ge 1 ]
	[ "$(of_evil told)" -ge 100 ]
	vprobe policy unload
	nothing_taken
}

# For longer, and with NVMes at work: overcommit.bats.
@test "policies are swapped every 100 ms, a malicious one among them" {
	vprobe policy load simple interval_ms=50
	guest_run a 'memhog -m 300 -t 2 -s 20' 3>&- & hog=$!
	end=$((SECONDS + 20)) n=0
	while [ $SECONDS -lt $end ]; do
		vprobe policy load $EVIL mode=8 >/dev/null
		sleep 0.1
		vprobe policy load headroom interval_ms=100 >/dev/null
		sleep 0.1
		vprobe policy load simple interval_ms=50 >/dev/null
		sleep 0.1
		n=$((n + 3))
	done
	wait $hog
	echo "$n swaps"
	[ $((n * $(patience 1))) -ge 9 ]
	[ "$(vprobe --json policy show | jq -r '.[0].state')" = ready ]
	vprobe policy unload
	all_watched a
	[ "$(vstat a watches.emulated)" = 0 ]
	[ "$(vstat a fills.failsafes)" = 0 ]
	[ "$(vstat a fills.timeouts)" = 0 ]
	works a 300
	nothing_taken
	[ "$(vm_ram_resident a)" -ge $((1 << 30)) ]
}

@test "a VM with a policy of its own goes: the policy stays, for nobody" {
	vprobe_vm b mem=512M
	vprobe policy load simple --vm b
	id=$(vstat b id)
	vprobe detach b
	[ "$(vprobe --json policy show |
		jq -r '.[] | select(.name == "simple") | .drives')" = 0 ]
	vprobe policy unload --vm "$id"
	[ "$(vprobe --json policy show | jq length)" -ge 1 ]
	[ -z "$(vprobe --json policy show | jq -r ".[].name" | grep -x simple)" ]
	vm_stop b
}

@test "zero IOMMU faults, and nobody complained" {
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
