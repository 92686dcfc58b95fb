/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What policies can call; see kern/vprobe/policy_bpf.c. Include vmlinux.h and
 * bpf/bpf_helpers.h before. What a policy is: include/linux/vprobe_policy.h of
 * the patched kernel, whose types are in vmlinux.h.
 */
#ifndef VPROBE_KFUNCS_H
#define VPROBE_KFUNCS_H

/* In decide(): */
extern void vprobe_take(struct vprobe_decision *decision, __u64 bytes,
			__u64 leave) __ksym;
extern void vprobe_give(struct vprobe_decision *decision, __u64 bytes) __ksym;
extern void vprobe_measure(struct vprobe_decision *decision) __ksym;
extern void vprobe_again(struct vprobe_decision *decision, __u32 ms) __ksym;

/* In decide(), prefer() and filled(): */
extern void vprobe_kick(const struct vprobe_policy_vm *vm) __ksym;

/* In sleepable programs: */
extern int vprobe_vm_info(__u64 vm_id, void *info, __u32 info__sz) __ksym;
extern __u64 vprobe_vm_after(__u64 vm_id) __ksym;

#define VPROBE_ALL	(~0ULL)
/* ERANGE, of init(): `vprobe policy load` says that a knob is out of range. */
#define VPROBE_KNOB_RANGE	34

/* What else vprobe_again() evicts for; for an init() with knobs in milliseconds. */
static __always_inline bool vprobe_again_may(__u32 ms)
{
	return ms >= VPROBE_POLICY_AGAIN_MIN && ms <= VPROBE_POLICY_AGAIN_MAX;
}

#endif
