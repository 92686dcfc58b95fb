// SPDX-License-Identifier: GPL-2.0-only
/* What policies can call. Their struct_ops is in the kernel, virt/lib. */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include "policy.h"

__bpf_kfunc_start_defs();

/**
 * vprobe_take() - take free memory of the VM that decide() is asked about
 * @decision: decide()'s
 * @bytes: at most so much; ~0 for all
 * @leave: but leave the guest at least so much that is free
 */
__bpf_kfunc void vprobe_take(struct vprobe_decision *decision, u64 bytes,
			     u64 leave)
{
	decision->take = bytes;
	decision->leave = leave;
}

/**
 * vprobe_give() - give memory back before the guest asks for it
 * @decision: decide()'s
 * @bytes: so much
 */
__bpf_kfunc void vprobe_give(struct vprobe_decision *decision, u64 bytes)
{
	decision->give = bytes;
}

/**
 * vprobe_measure() - count what is free, for vprobe_policy_vm::free_bytes
 * @decision: decide()'s
 *
 * Before anything is taken. vprobe_take() with a @leave does so, too.
 */
__bpf_kfunc void vprobe_measure(struct vprobe_decision *decision)
{
	decision->measure = true;
}

/**
 * vprobe_again() - call decide() for this VM again
 * @decision: decide()'s
 * @ms: in so many milliseconds, VPROBE_POLICY_AGAIN_MIN to _MAX
 */
__bpf_kfunc void vprobe_again(struct vprobe_decision *decision, u32 ms)
{
	decision->again_ms = ms;
}

/**
 * vprobe_kick() - call decide() for this VM soon, whatever it asked for
 * @vm: what the program was called with
 */
__bpf_kfunc void vprobe_kick(const struct vprobe_policy_vm *vm)
{
	vprobe_policy_kick(container_of((struct vprobe_policy_vm *)vm,
					struct vprobe_policy_call, info));
}

/**
 * vprobe_vm_info() - look at another VM; sleepable programs only
 * @vm_id: which
 * @info: out
 * @info__sz: sizeof(*info)
 *
 * Return: 0 or -ENOENT; -EINVAL if the size is wrong.
 */
__bpf_kfunc int vprobe_vm_info(u64 vm_id, void *info, u32 info__sz)
{
	if (info__sz != sizeof(struct vprobe_policy_vm))
		return -EINVAL;
	return vprobe_policy_vm_info(vm_id, info);
}

/**
 * vprobe_vm_after() - for loops over all VMs; sleepable programs only
 * @vm_id: of the last one; 0 to begin with
 *
 * Return: the next VM's id, 0 if there is none.
 */
__bpf_kfunc u64 vprobe_vm_after(u64 vm_id)
{
	return vprobe_vm_id_after(vm_id);
}

__bpf_kfunc_end_defs();

/*
 * The type of the first argument says where most of them can be called. It has a
 * pointer in it, so that KF_TRUSTED_ARGS means what the program was called with: for
 * a structure of numbers alone the verifier takes the program's own memory. What it
 * says is not used: a global subprogram may write to it. Without KF_TRUSTED_ARGS a
 * buffer may be what a map lookup returned, and NULL.
 *
 * KF_SLEEPABLE keeps prefer() and filled() from looping over all VMs. It does not
 * say that the caller can sleep: to the verifier a callback of a sleepable program
 * is sleepable as well, and a timer's runs in softirq, a hash map's under RCU.
 */
BTF_KFUNCS_START(policy_kfuncs)
BTF_ID_FLAGS(func, vprobe_take, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_give, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_measure, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_again, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_kick, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_vm_info, KF_SLEEPABLE | KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_vm_after, KF_SLEEPABLE)
BTF_KFUNCS_END(policy_kfuncs)

static const struct btf_kfunc_id_set policy_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &policy_kfuncs,
};

static const struct vprobe_policy_backend policy_backend = {
	.owner = THIS_MODULE,
	.add = vprobe_policy_add,
	.del = vprobe_policy_del,
};

int vprobe_policy_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					 &policy_kfunc_set);
}

/* From here on there may be policies, so nothing may fail after it. */
int vprobe_policy_open(void)
{
	return vprobe_policy_set_backend(&policy_backend);
}

void vprobe_policy_exit(void)
{
	vprobe_policy_unset_backend();
}
