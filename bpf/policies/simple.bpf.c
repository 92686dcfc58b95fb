// SPDX-License-Identifier: GPL-2.0-only
/*
 * simple: every so often, take all that is free.
 *
 * Good for: guests that sit idle for long; measuring what there is to gain.
 * A bad idea for: guests that allocate and free in bursts. What they have just
 * freed is taken and has to come back, which costs them a fault per block.
 *
 * Knobs: interval_ms, and leave_mib: what each guest keeps free.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

/* 16 TiB: more than any guest has. */
#define LEAVE_MIB_MAX	(1ULL << 24)

const volatile __u32 interval_ms = 10000;
const volatile __u64 leave_mib = 0;

SEC("struct_ops/init")
int BPF_PROG(simple_init)
{
	if (leave_mib > LEAVE_MIB_MAX)
		return -VPROBE_KNOB_RANGE;
	return vprobe_again_may(interval_ms) ? 0 : -VPROBE_KNOB_RANGE;
}

SEC("struct_ops/decide")
int BPF_PROG(simple_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	vprobe_take(decision, VPROBE_ALL, leave_mib << 20);
	vprobe_again(decision, interval_ms);
	return 0;
}

SEC(".struct_ops")
struct vprobe_policy_ops simple = {
	.init = (void *)simple_init,
	.decide = (void *)simple_decide,
	.name = "simple",
};

char _license[] SEC("license") = "GPL";
