// SPDX-License-Identifier: GPL-2.0-only
/*
 * forge: a policy for tests, that hands the module memory of its own instead of
 * what it was called with, or calls what it must not. The verifier has to refuse
 * all modes but the first.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

enum mode {
	HONEST,
	KICKS_ITS_OWN,
	KICKS_A_COPY,
	TAKES_FROM_ITS_OWN,
	ASKS_WITH_NULL,
	LOOPS_IN_A_FAULT,
	CALLS_ANOTHER,
	SETS_A_TIMER,
};

const volatile __u32 mode = HONEST;

struct vprobe_policy_vm own_vm;
struct vprobe_decision own_decision;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vprobe_policy_vm);
} empty SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} others SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct { struct bpf_timer timer; });
} timers SEC(".maps");

static int look_at_vm(void *map, __u32 *key, void *value)
{
	struct vprobe_policy_vm info;

	vprobe_vm_info(vprobe_vm_after(0), &info, sizeof(info));
	return 0;
}

static void set_timer(void)
{
	__u32 key = 0;
	void *timer = bpf_map_lookup_elem(&timers, &key);

	if (!timer)
		return;
	bpf_timer_init(timer, &timers, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(timer, look_at_vm);
	bpf_timer_start(timer, 0, 0);
}

SEC("struct_ops.s/decide")
int BPF_PROG(forge_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	struct vprobe_policy_vm copy;
	__u32 key = 0;

	switch (mode) {
	case KICKS_ITS_OWN:
		vprobe_kick(&own_vm);
		break;
	case KICKS_A_COPY:
		copy = *vm;
		vprobe_kick(&copy);
		break;
	case TAKES_FROM_ITS_OWN:
		vprobe_take(&own_decision, ~0ULL, 0);
		break;
	case ASKS_WITH_NULL:
		vprobe_vm_info(1, bpf_map_lookup_elem(&empty, &key),
			       sizeof(copy));
		break;
	case SETS_A_TIMER:
		set_timer();
		break;
	default:
		vprobe_vm_info(vm->id, &copy, sizeof(copy));
		/* Under RCU, which the verifier does not know. */
		bpf_map_update_elem(&known, &key, &key, BPF_ANY);
		bpf_for_each_map_elem(&known, look_at_vm, NULL, 0);
		vprobe_kick(vm);
		vprobe_again(decision, 1000);
		break;
	}
	return 0;
}

static long nothing(__u32 i, void *ctx)
{
	return 0;
}

SEC("struct_ops/filled")
void BPF_PROG(forge_filled, const struct vprobe_policy_vm *vm,
	      const struct vprobe_policy_fill *fill)
{
	if (mode == LOOPS_IN_A_FAULT)
		bpf_loop(1 << 23, nothing, NULL, 0);
	else if (mode == CALLS_ANOTHER)
		bpf_tail_call(ctx, &others, 0);
}

SEC(".struct_ops.link")
struct vprobe_policy_ops forge = {
	.decide = (void *)forge_decide,
	.filled = (void *)forge_filled,
	.name = "forge",
};

char _license[] SEC("license") = "GPL";
