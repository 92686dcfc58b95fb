/* SPDX-License-Identifier: GPL-2.0-only */
/* What policy.c and policy_bpf.c share. */
#ifndef _VPROBE_POLICY_INTERNAL_H
#define _VPROBE_POLICY_INTERNAL_H

#include "vprobe.h"

struct vprobe_policy {
	struct list_head node;
	struct vprobe_policy_ops *ops;
	u64 id;
	spinlock_t lock;	/* the account; innermost */
	u64 sec;		/* the second that the account is for */
	u64 sec_ns;
	u32 sec_kicks;
	bool was_over;		/* the budget, in the second before */
	u64 calls;
	u64 ns;
	atomic_t evicting;
	bool evicted;		/* with release and acquire: exit.why is set */
	bool exited;
	struct vprobe_policy_exit exit;
	struct work_struct evict_work;
};

/* What a program was called with: @info is what it sees of it. */
struct vprobe_policy_call {
	struct vprobe_policy_vm info;
	struct vprobe_policy *policy;
	struct vprobe_vm *vm;
	bool kicked;
};

int vprobe_policy_add(struct vprobe_policy_ops *ops,
		      struct vprobe_policy_ops *old);
void vprobe_policy_del(struct vprobe_policy_ops *ops);
int vprobe_policy_vm_info(u64 id, struct vprobe_policy_vm *info);
void vprobe_policy_kick(struct vprobe_policy_call *call);

#endif
