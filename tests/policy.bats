# SPDX-License-Identifier: GPL-2.0-only
#
# Policies: loading, swapping and unloading them, and what they may decide.
# takes: 270
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash
load lib/policy.bash

FORGE=/vprobe/build/bpf/tests/policies/forge.bpf.o

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

# leaves_mib MIB: by what the policy was told, and by what the guest says
leaves_mib() {
	[ "$(vstat a memory.free_bytes)" -ge $(($1 << 20)) ] &&
		[ "$(guest_free_high a)" -ge \
			$(($(vstat a memory.hole_bytes) + ($1 << 20))) ]
}

@test "load, set, unload; knobs are obeyed" {
	vprobe policy load simple interval_ms=200
	wait_until 30 policy_is simple
	wait_until 30 taken_more_than $((500 << 20))
	id=$(vstat a memory.policy_id)
	vprobe policy set leave_mib=300
	[ "$(vstat a memory.policy_id)" != "$id" ] || wait_until 30 policy_is simple
	vprobe fill a all
	wait_until 30 taken_more_than $((400 << 20))
	wait_until 30 leaves_mib 290
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

metrics_by_http() {
	http=$(printf 'GET /metrics HTTP/1.0\r\n\r\n' |
		socat -t 5 - UNIX-CONNECT:/run/vprobed-metrics)
	[[ $http = "HTTP/1.0 200 OK"* ]] &&
		[ "$(tail -n 1 <<<"$http")" = '# EOF' ]
}

@test "metrics on a unix socket, plain and by HTTP" {
	plain=$(socat -u UNIX-CONNECT:/run/vprobed-metrics -)
	grep -q "^vprobe_ram_bytes{vm=\"$(vstat a id)\",name=" <<<"$plain"
	[ "$(tail -n 1 <<<"$plain")" = '# EOF' ]
	# Who asks too late gets the plain ones.
	wait_until 30 metrics_by_http
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
	refused_with 1 'knob is out of range' \
		vprobe policy load simple leave_mib=17592186044416
	refused_with 1 'knob is out of range' \
		vprobe policy load headroom max_percent=101
	refused_with 1 'knob is out of range' \
		vprobe policy load watermark pressure_percent=101
	refused_with 1 'no attached VM' vprobe policy load simple --vm nosuch
	refused_with 1 'No space left' vprobe policy load $EVIL mode=1
	refused_with 1 'nothing was loaded|no policy was loaded' \
		vprobe policy unload --vm a
	refused_with 2 'show, load, set or unload' vprobe policy frobnicate
	refused_with 2 'which policy' vprobe policy load
	refused_with 2 'goes with unload' vprobe policy load simple --all
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

# For longer, and with NVMes at work: overcommit.bats.
@test "policies are swapped every 100 ms, a malicious one among them" {
	vprobe policy load simple interval_ms=50
	GUEST_TIMEOUT=900 guest_run a 'memhog -m 300 -t 2 -s 600' 3>&- & hog=$!
	end=$((SECONDS + 20)) last=$((SECONDS + 300)) n=0
	while [ $SECONDS -lt $end ] || { [ $n -lt 9 ] && [ $SECONDS -lt $last ]; }; do
		vprobe policy load $EVIL mode=8 >/dev/null
		sleep 0.1
		vprobe policy load headroom interval_ms=100 >/dev/null
		sleep 0.1
		vprobe policy load simple interval_ms=50 >/dev/null
		sleep 0.1
		n=$((n + 3))
	done
	guest_run a 'killall memhog'
	wait $hog
	echo "$n swaps"
	[ $n -ge 9 ]
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
	none_named simple
	vm_stop b
}

none_named() {
	! vprobe --json policy show | jq -r '.[].name' | grep -x "$1"
}

@test "unload --all empties all slots, also of a VM that has gone" {
	vprobe_vm b mem=512M
	vprobe policy load simple --vm b
	vm_stop b
	vprobe policy load fair
	[ "$(vprobe --json policy unload --all | jq .unloaded)" = 2 ]
	none_named simple
	none_named fair
	[ -z "$(ls /sys/fs/bpf/vprobe; ls /run/vprobe/policies)" ]
	[ "$(vprobe --json policy unload --all | jq .unloaded)" = 0 ]
}

@test "without a BPF file system a policy is refused, and does not decide" {
	mount -t tmpfs tmpfs /sys/fs/bpf
	refused_with 1 'mount -t bpf -o mode=700 bpf /sys/fs/bpf' vprobe policy load simple
	none_named simple
	umount /sys/fs/bpf
}

@test "zero IOMMU faults, and nobody complained" {
	vprobe detach a
	[ "$(iommu_faults)" = 0 ]
	guest_log_clean a
	vm_stop a
	host_log_clean
}
