# SPDX-License-Identifier: GPL-2.0-only
#
# A Debian guest as it is installed, with its own kernel, initramfs and systemd: the
# initramfs-tools hook and vprobe-inject.service do what they are for.
# takes: 350
# long

load lib/vm.bash
load lib/host.bash
load lib/vprobe.bash
load lib/tools.bash

setup_file() {
	host_log_clean
	echo 'stray = fault' > /run/vprobed.conf
	vprobed_start --config /run/vprobed.conf
	vm_start d kernel=debian tools=no nvme=1 reboot=yes
	GUEST_TIMEOUT=400 vm_wait d
}

teardown_file() {
	vm_kill_all
	vprobed_stop
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || {
		tail -n 30 /out/vprobed.log "$VM_DIR/d/console.log"
		guest_run d 'journalctl -b --no-pager -n 40; systemctl status \
			vprobe-inject --no-pager; dmesg | tail -n 20' || :
	}
	host_log_clean && [ "$(iommu_faults)" = 0 ]
}

unit() { guest_run d "systemctl show -P $1 vprobe-inject"; }
has_started() { [ "$(unit ActiveState)" = active ]; }
boot_id() { GUEST_TIMEOUT=20 guest_run d 'cat /proc/sys/kernel/random/boot_id'; }

@test "it registers from the initramfs, once; its unit finds that it has" {
	wait_until 120 has_started
	[ "$(unit Result)" = success ]
	[ "$(unit NRestarts)" = 0 ]
	guest_run d 'systemctl is-enabled vprobe-inject'
	[ "$(talker_connected)" = 1 ]
	wait_until 30 vprobe_ready d
	# Before there was a systemd.
	guest_run d '[ $(stat -c %Y /run/vprobe-inject.registered) -le $(date \
		-d "$(systemctl show -P UserspaceTimestamp)" +%s) ]'
}

@test "its memory is taken, and is there when it is needed" {
	taken=$(reclaim_quiet d)
	echo "$((taken >> 20)) MiB"
	[ "$taken" -ge $((400 << 20)) ]
	works d 300
	all_watched d
}

@test "the unit is stopped: the host gives all back; started: it may take again" {
	vprobe reclaim d all
	guest_run d 'systemctl stop vprobe-inject'
	no_trace d
	[ "$(vstat d state)" = no-helper ]
	[ "$(vstat d fills.failsafes)" = 0 ]
	guest_run d 'systemctl start vprobe-inject'
	wait_until 30 vprobe_ready d
	[ "$(reclaim_quiet d)" -ge $((400 << 20)) ]
}

@test "the hook for suspend: all is given back, and taken again afterwards" {
	vprobe reclaim d all
	guest_run d '/usr/lib/systemd/system-sleep/vprobe-inject pre suspend'
	no_trace d
	[ "$(vstat d state)" = no-helper ]
	guest_run d '/usr/lib/systemd/system-sleep/vprobe-inject post suspend'
	wait_until 60 vprobe_ready d
	[ "$(vstat d fills.failsafes)" = 0 ]
	[ "$(reclaim_quiet d)" -ge $((400 << 20)) ]
}

has_rebooted() {
	local now

	now=$(boot_id 2>/dev/null) && [ "$now" != "$1" ]
}

@test "it reboots: the fail-safe has nothing to do" {
	vprobe reclaim d all
	old=$(boot_id)
	had=$(talker_connected)
	# Not so soon that the answer to this gets lost.
	guest_run d '(sleep 3; systemctl reboot) >/dev/null 2>&1 &'
	wait_until 400 has_rebooted "$old"
	wait_until 120 has_started
	[ "$(vstat d fills.failsafes)" = 0 ]
	# The goodbye, and that of the new boot's initramfs.
	[ "$(talker_connected)" = $((had + 2)) ]
	wait_until 30 vprobe_ready d
	[ "$(reclaim_quiet d)" -ge $((400 << 20)) ]
	works d 300
}

@test "it is detached, and has lost nothing" {
	vprobe detach d
	[ "$(vm_ram_resident d)" -ge $((1 << 30)) ]
	guest_log_clean d
	guest_run d '[ -z "$(systemctl --failed --plain --no-legend)" ] ||
		{ systemctl --failed; exit 1; }'
}

@test "it is switched off: no goodbye, which would need the memory" {
	vprobe attach "$(vm_pid d)"
	wait_until 60 vprobe_ready d
	vprobe reclaim d all
	had=$(talker_connected)
	guest_run d '(sleep 3; systemctl poweroff) >/dev/null 2>&1 &'
	vm__gone d 300
	wait_until 10 grep -qx 0 "$VM_DIR/d/ended"
	[ "$(talker_connected)" = "$had" ]
}
