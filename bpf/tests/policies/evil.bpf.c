// SPDX-License-Identifier: GPL-2.0-only
/*
 * evil: a policy for tests, that does what a policy should not. The knob `mode'
 * says what.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

enum mode {
	HONEST,
	INIT_FAILS,
	DECIDE_FAILS,
	AGAIN_TOO_SOON,
	AGAIN_TOO_LATE,
	PREFER_NONSENSE,
	SLOW,
	FLOOD,
	/* Not against the rules, but against the guest: all, there and back. */
	MALICIOUS,
	SPARES_ALL,
	LATER_ONLY,
	ONE_LONG_CALL,
	/* In filled(), as often as a guest has it called: not a flood. */
	KICKS_ONCE_A_CALL,
};

const volatile __u32 mode = HONEST;

static __u64 calls;
/* How it ended: 1 + enum vprobe_policy_end. For who has pinned the map. */
__u32 ended;
/* By pressure(): how often, and the last of it that was not 0. */
__u32 times_told;
__u32 told;

SEC("struct_ops.s/init")
int BPF_PROG(evil_init)
{
	return mode == INIT_FAILS ? -28 /* ENOSPC */ : 0;
}

SEC("struct_ops.s/exit")
void BPF_PROG(evil_exit, const struct vprobe_policy_exit *exit)
{
	ended = exit->end + 1;
}

static long until(__u32 i, __u64 *end)
{
	return bpf_ktime_get_ns() > *end;
}

/* However fast the host is. */
static void spin_for(__u64 ns)
{
	__u64 end = bpf_ktime_get_ns() + ns;
	int i;

	bpf_for(i, 0, 1000)
		bpf_loop(1 << 20, until, &end, 0);
}

SEC("struct_ops/decide")
int BPF_PROG(evil_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	int i;

	vprobe_again(decision, VPROBE_POLICY_AGAIN_MIN);
	switch (mode) {
	case DECIDE_FAILS:
		return -5;
	case AGAIN_TOO_SOON:
		vprobe_again(decision, VPROBE_POLICY_AGAIN_MIN - 1);
		break;
	case AGAIN_TOO_LATE:
		vprobe_again(decision, VPROBE_POLICY_AGAIN_MAX + 1);
		break;
	case SLOW:
		spin_for(100 * 1000 * 1000);
		break;
	case ONE_LONG_CALL:
		/* Not in one second and the next: that would be the budget. */
		if (!__sync_fetch_and_add(&calls, 1))
			spin_for(1200 * 1000 * 1000);
		break;
	case FLOOD:
		bpf_for(i, 0, 2000)
			vprobe_kick(vm);
		break;
	case MALICIOUS:
		if (__sync_fetch_and_add(&calls, 1) & 1)
			vprobe_give(decision, VPROBE_ALL);
		vprobe_take(decision, VPROBE_ALL, calls & 2 ? VPROBE_ALL : 0);
		break;
	default:
		vprobe_take(decision, VPROBE_ALL, 0);
	}
	return 0;
}

SEC("struct_ops/prefer")
int BPF_PROG(evil_prefer, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_block *block)
{
	switch (mode) {
	case PREFER_NONSENSE:
		return __VPROBE_PREFER_MAX;
	case MALICIOUS:
		return block->gpa >> 21 & 1 ? VPROBE_PREFER_NOW :
					      VPROBE_PREFER_LATER;
	case SPARES_ALL:
		return VPROBE_PREFER_SPARE;
	case LATER_ONLY:
		return VPROBE_PREFER_LATER;
	default:
		return VPROBE_PREFER_NOW;
	}
}

SEC("struct_ops/filled")
void BPF_PROG(evil_filled, const struct vprobe_policy_vm *vm,
	      const struct vprobe_policy_fill *fill)
{
	if (mode == MALICIOUS || mode == KICKS_ONCE_A_CALL)
		vprobe_kick(vm);
}

SEC("struct_ops.s/pressure")
void BPF_PROG(evil_pressure, const struct vprobe_policy_host *host)
{
	times_told++;
	if (host->pressure)
		told = host->pressure;
}

SEC(".struct_ops.link")
struct vprobe_policy_ops evil = {
	.init = (void *)evil_init,
	.exit = (void *)evil_exit,
	.decide = (void *)evil_decide,
	.prefer = (void *)evil_prefer,
	.filled = (void *)evil_filled,
	.pressure = (void *)evil_pressure,
	.name = "evil",
};

char _license[] SEC("license") = "GPL";
