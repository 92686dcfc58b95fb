// SPDX-License-Identifier: GPL-2.0-only
/*
 * headroom: take all that is free but for what the guest needs at hand, which is
 * learned from what it wants back soon after it was taken.
 *
 * Each block that comes back within soon_ms was taken too early: the guest's
 * headroom grows by what such a burst wanted. While nothing comes back soon, it
 * shrinks by a 64th at each look, so that a guest that turns idle gives all.
 *
 * Good for: guests that allocate and free in bursts; most guests.
 * A bad idea for: hosts that need the last MiB. A guest with bursts keeps about
 * the size of one.
 *
 * Knobs: interval_ms, soon_ms, max_percent (of its memory that a guest may keep
 * as headroom).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vprobe_kfuncs.h"

#define MAX_VMS		4096

const volatile __u32 interval_ms = 2000;
const volatile __u32 soon_ms = 60000;
const volatile __u32 max_percent = 50;

struct learned {
	__u64 headroom;		/* bytes */
	__u64 burst;		/* bytes that came back soon, since the last look */
};

/* One that falls out only has to learn again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_VMS);
	__type(key, __u64);
	__type(value, struct learned);
} learned SEC(".maps");

static struct learned *state_of(__u64 vm_id)
{
	struct learned *s = bpf_map_lookup_elem(&learned, &vm_id);
	struct learned fresh = {};

	if (s)
		return s;
	bpf_map_update_elem(&learned, &vm_id, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&learned, &vm_id);
}

SEC("struct_ops/init")
int BPF_PROG(headroom_init)
{
	if (max_percent > 100)
		return -VPROBE_KNOB_RANGE;
	return vprobe_again_may(interval_ms) ? 0 : -VPROBE_KNOB_RANGE;
}

SEC("struct_ops/decide")
int BPF_PROG(headroom_decide, const struct vprobe_policy_vm *vm,
	     const struct vprobe_policy_host *host,
	     struct vprobe_decision *decision)
{
	__u64 most = vm->ram_bytes / 100 * max_percent;
	struct learned *s = state_of(vm->id);
	__u64 headroom = 0;
	__u64 burst;

	if (s) {
		burst = __sync_lock_test_and_set(&s->burst, 0);
		if (burst)
			s->headroom += burst;
		else
			s->headroom -= s->headroom / 64;
		if (s->headroom > most)
			s->headroom = most;
		headroom = s->headroom;
	}
	vprobe_take(decision, VPROBE_ALL, headroom);
	vprobe_again(decision, interval_ms);
	return 0;
}

SEC("struct_ops/filled")
void BPF_PROG(headroom_filled, const struct vprobe_policy_vm *vm,
	      const struct vprobe_policy_fill *fill)
{
	struct learned *s;

	if (fill->out_ns > soon_ms * 1000000ULL)
		return;
	s = state_of(vm->id);
	if (s)
		__sync_fetch_and_add(&s->burst, 4096ULL << (fill->block.order & 31));
}

SEC(".struct_ops")
struct vprobe_policy_ops headroom = {
	.init = (void *)headroom_init,
	.decide = (void *)headroom_decide,
	.filled = (void *)headroom_filled,
	.name = "headroom",
};

char _license[] SEC("license") = "GPL";
