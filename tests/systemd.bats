# SPDX-License-Identifier: GPL-2.0-only
#
# vprobed.service as it is installed, under a systemd that has booted the host:
# that the sandbox around it leaves it what it needs, and that it comes back.
# systemd
# takes: 90
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	# Loading them is up to the unit.
	modprobe -r vprobe
	modprobe -r vhost_vsock 2>/dev/null || :
}

teardown_file() {
	vm_kill_all
	systemctl stop vprobed
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] ||
		journalctl -b --no-pager -u vprobed -n 30
	host_log_clean
}

main_pid() { systemctl show -P MainPID vprobed; }
is_active() { systemctl -q is-active vprobed; }
the_log() { journalctl --sync; journalctl -b --no-pager -o cat -u vprobed; }

@test "systemd understands every line of the unit" {
	run systemd-analyze verify --man=no vprobed.service
	echo "$output"
	[ "$status" = 0 ]
	[ "$(grep -c vprobed <<<"$output")" = 0 ]
	# What it says of the sandbox: 10 is none.
	systemd-analyze security --no-pager --threshold=50 vprobed.service
}

@test "enabled and started, it says that it is ready" {
	systemctl enable --now vprobed
	is_active
	[ -d /sys/module/vprobe ]
	the_log | grep 'listening on vsock port'
	[ "$(systemctl show -P NRestarts vprobed)" = 0 ]
	# The testbed's kernel has no UTS namespaces.
	! the_log | grep -v ProtectHostname |
		grep -i 'ignor\|denied\|not permitted' || return 1
}

@test "a VM is attached as its injector calls; taking and giving work" {
	vm_start a nvme=1
	vm_wait a
	wait_until 60 vprobe_ready a
	taken=$(reclaim_quiet a)
	[ "$taken" -ge $((500 << 20)) ]
	works a 200
	[ "$(iommu_faults)" = 0 ]
	the_log | grep "attached process $(vm_pid a) as VM $(vstat a id)"
}

@test "its policies, pressure and metrics work inside the sandbox" {
	vprobe policy load simple interval_ms=1000
	vprobe policy show | grep simple
	wait_until 30 has_many_holes a
	socat -u UNIX-CONNECT:/run/vprobed/metrics - >/run/metrics
	grep 'vprobe_holes.*name="a"' /run/metrics
	tail -n 1 /run/metrics | grep -x '# EOF'
	vprobe policy unload
	! the_log | grep -i 'pressure.*\(cannot\|denied\)' || return 1
}

has_many_holes() { [ "$(vstat "$1" memory.holes)" -gt 100 ]; }

@test "what it may do is what the unit says" {
	pid=$(main_pid)
	grep 'NoNewPrivs:.*1' "/proc/$pid/status"
	grep 'Seccomp:.*2' "/proc/$pid/status"
	bound=$(sed -n 's/CapBnd:[[:space:]]*//p' "/proc/$pid/status")
	[ "$(capsh --decode="$bound")" = "0x$bound=$(caps)" ]
	# It has a talker, without any.
	talker=$(pgrep -P "$pid")
	grep 'CapEff:.*0000000000000000' "/proc/$talker/status"
	refused_with 1 'Read-only file system' \
		nsenter -t "$pid" -m touch /etc/vprobe/new
}

# Of the unit, in the order of their numbers.
caps() {
	systemctl show -P CapabilityBoundingSet vprobed | tr ' ' ,
}

@test "killed, it is started again; the VM stays as it was" {
	vprobe reclaim a all
	before=$(vstat a id)
	pid=$(main_pid)
	kill -9 "$pid"
	again() {
		is_active && [ "$(main_pid)" != "$pid" ]
	}
	wait_until 60 again
	[ "$(systemctl show -P NRestarts vprobed)" = 1 ]
	[ "$(vstat a id)" = "$before" ]
	has_many_holes a
	works a 200
	guest_run a '/vprobe-inject'
}

@test "stopped, it is gone, and the VM still stays as it was" {
	vprobe reclaim a all
	systemctl stop vprobed
	[ "$(systemctl show -P Result vprobed)" = success ]
	[ -z "$(pidof vprobed)" ]
	[ ! -e /run/vprobed ]
	[ "$(vstat a state)" = ready ]
	works a 200
	vprobe detach a
	guest_log_clean a
	[ "$(iommu_faults)" = 0 ]
}
