// SPDX-License-Identifier: GPL-2.0-only
/*
 * watermark: take nothing while the host has memory; when less than low_percent
 * of it is available, or tasks wait for memory, take until high_percent is.
 *
 * Good for: hosts that are seldom short of memory. Nobody pays before.
 * A bad idea for: hosts where memory is wanted suddenly and in large pieces (the
 * start of a VM with a passthrough device): it then has to be taken first.
 *
 * Knobs: low_percent, high_percent (not below it), pressure_percent (of the last
 * 10 s that some task waited for memory; 0: ignore), calm_ms and busy_ms (how often
 * to look).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

const volatile __u32 low_percent = 10;
const volatile __u32 high_percent = 20;
const volatile __u32 pressure_percent = 5;
const volatile __u32 calm_ms = 5000;
const volatile __u32 busy_ms = 500;

/* Below the low mark once, and not above the high one since. */
static bool taking;

SEC("struct_ops/init")
int BPF_PROG(watermark_init)
{
	if (low_percent > high_percent || high_percent > 100 ||
	    pressure_percent > 100)
		return -VPROBE_KNOB_RANGE;
	return vprobe_again_may(calm_ms) && vprobe_again_may(busy_ms) ?
		0 : -VPROBE_KNOB_RANGE;
}

static bool is_pressed(const struct vprobe_policy_host *host)
{
	return pressure_percent && host->pressure >= pressure_percent * 100;
}

SEC("struct_ops/decide")
int BPF_PROG(watermark_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	__u64 low = host->total_bytes / 100 * low_percent;
	__u64 high = host->total_bytes / 100 * high_percent;

	if (host->available_bytes < low || is_pressed(host))
		taking = true;
	else if (host->available_bytes >= high)
		taking = false;
	if (!taking) {
		vprobe_again(decision, calm_ms);
		return 0;
	}
	/* Each VM its part of what is missing, at least a little. */
	if (host->available_bytes < high)
		vprobe_take(decision, (high - host->available_bytes) /
			    (host->nr_vms ?: 1) + (2 << 20), 0);
	else
		vprobe_take(decision, 64 << 20, 0);
	vprobe_again(decision, busy_ms);
	return 0;
}

SEC(".struct_ops")
struct vprobe_policy_ops watermark = {
	.init = (void *)watermark_init,
	.decide = (void *)watermark_decide,
	.name = "watermark",
};

char _license[] SEC("license") = "GPL";
