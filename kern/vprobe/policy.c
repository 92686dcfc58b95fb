// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who decides what is taken when: policies, one work per VM that asks them, and
 * what becomes of one that misbehaves. What policies are is described in
 * include/linux/vprobe_policy.h, which comes with the kernel patches.
 *
 * The list of policies is read under policy_srcu, which is held while a program
 * runs. So whoever takes one off the list and waits for policy_srcu knows that
 * it was called for the last time. An eviction does not wait: it sets a flag
 * that every reader looks at, in whatever context, and leaves the rest to a
 * work.
 *
 * A VM's policy_work is pending or running as long as it is attached, and holds
 * a reference on it meanwhile; vm->policy_off, under vm->lock, ends that.
 *
 * Locks: policies_lock is taken from BPF's registration of struct_ops, outside
 * of all others here. Programs run under it for init() only.
 */
#include <linux/ctype.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "policy.h"

/* How long a pass for a policy may take, so that it is asked again in time. */
#define PASS_MS		5000
/* When to try again if somebody else has the VM's pass_lock. */
#define BUSY_MS		100U
#define HISTORY_MAX	16
#define LIST_MAX	4096U

static unsigned int builtin_percent = 10;
module_param(builtin_percent, uint, 0644);
MODULE_PARM_DESC(builtin_percent,
		 "without a policy, take all free memory when less than this part of the host's is available (0: never)");

static DEFINE_MUTEX(policies_lock);
static LIST_HEAD(policies);		/* newest first; srcu, policies_lock */
static u64 last_id;			/* policies_lock */
DEFINE_STATIC_SRCU(policy_srcu);
/* Those that were evicted and are not registered any more; policies_lock. */
static struct vprobe_policy_info history[HISTORY_MAX];
static unsigned int nr_history;
static u32 host_pressure;
static unsigned long host_pressure_at;	/* jiffies when it was told */
/* vprobed tells again every two seconds. */
#define PRESSURE_VALID	(10 * HZ)
/* One call that takes longer has no excuse. */
#define CALL_MAX_NS	NSEC_PER_SEC

static bool policy_usable(const struct vprobe_policy *p)
{
	/* With policy_evict(): exit.why is complete. */
	return !smp_load_acquire(&p->evicted);
}

/* The policy that drives a VM, NULL for the built-in one. policy_srcu. */
static struct vprobe_policy *policy_of(struct vprobe_vm *vm)
{
	struct vprobe_policy *p, *for_all = NULL;

	list_for_each_entry_srcu(p, &policies, node,
				 srcu_read_lock_held(&policy_srcu)) {
		if (!policy_usable(p))
			continue;
		if (p->ops->vm_id == vm->id)
			return p;
		if (!p->ops->vm_id && !for_all)
			for_all = p;
	}
	return for_all;
}

static void policy_call_exit(struct vprobe_policy *p, enum vprobe_policy_end end)
{
	struct vprobe_policy_exit exit;

	if (p->exited)
		return;
	p->exited = true;
	p->exit.end = end;
	/* A copy: programs can write to what they are told. */
	exit = p->exit;
	if (p->ops->exit)
		p->ops->exit(&exit);
}

static void kick_all(void);

static void evict_work(struct work_struct *work)
{
	struct vprobe_policy *p = container_of(work, struct vprobe_policy,
					       evict_work);

	pr_warn("vprobe: policy %s (%llu) evicted: %s\n", p->ops->name, p->id,
		p->exit.why);
	kick_all();
	synchronize_srcu(&policy_srcu);
	policy_call_exit(p, VPROBE_POLICY_EVICTED);
}

/*
 * Context: any, policy_srcu. The first reason counts. The policy is not asked
 * again by anybody who looks at the list from here on.
 */
static __printf(2, 3) void policy_evict(struct vprobe_policy *p,
					const char *fmt, ...)
{
	va_list args;

	if (atomic_xchg(&p->evicting, 1))
		return;
	va_start(args, fmt);
	vsnprintf(p->exit.why, sizeof(p->exit.why), fmt, args);
	va_end(args);
	/* With policy_usable(). */
	smp_store_release(&p->evicted, true);
	queue_work(system_unbound_wq, &p->evict_work);
}

/* A new second: was the last one, right before it, over the budget? */
static void policy_new_second(struct vprobe_policy *p, u64 sec)
{
	lockdep_assert_held(&p->lock);
	p->was_over = p->sec + 1 == sec &&
		      p->sec_ns > VPROBE_POLICY_BUDGET_MS * NSEC_PER_MSEC;
	p->sec = sec;
	p->sec_ns = 0;
	p->sec_kicks = 0;
}

static void policy_account(struct vprobe_policy *p, u64 start)
{
	u64 now = ktime_get_ns(), ns = now - start;
	u64 sec = div_u64(now, NSEC_PER_SEC);
	bool over;

	spin_lock(&p->lock);
	if (sec > p->sec)
		policy_new_second(p, sec);
	p->sec_ns += ns;
	p->calls++;
	p->ns += ns;
	over = p->was_over &&
	       p->sec_ns > VPROBE_POLICY_BUDGET_MS * NSEC_PER_MSEC;
	spin_unlock(&p->lock);

	if (ns > CALL_MAX_NS)
		policy_evict(p, "one of its programs ran for %llu ms in one call",
			     div_u64(ns, NSEC_PER_MSEC));
	else if (over)
		policy_evict(p,
			     "its programs ran for more than %u ms in a second, last for %llu us",
			     VPROBE_POLICY_BUDGET_MS, div_u64(ns, 1000));
}

/* Context: any, the VM referenced or RCU. */
static void describe_vm(struct vprobe_vm *vm, struct vprobe_policy_vm *info)
{
	info->call = NULL;
	info->id = vm->id;
	info->now_ns = ktime_get_ns();
	info->free_bytes = READ_ONCE(vm->free_bytes);
	info->taken_bytes = atomic64_read(&vm->counter[VPROBE_C_TAKEN_BYTES]);
	info->demand_fills = atomic64_read(&vm->counter[VPROBE_C_FILLS_VCPU]);
	info->demand_bytes = atomic64_read(&vm->counter[VPROBE_C_DEMAND_BYTES]);
	info->fill_waits = atomic64_read(&vm->counter[VPROBE_C_FILL_WAITS]);
	info->hole_bytes = READ_ONCE(vm->hole_bytes);
	/* A memslot may be on its way out; programs subtract one from the other. */
	info->ram_bytes = max(READ_ONCE(vm->ram_bytes), info->hole_bytes);
}

/**
 * vprobe_policy_vm_info() - for policies that look at other VMs
 * @id: of the VM
 * @info: out
 *
 * Without locks and without a reference, whose end would be the VM's: a program
 * may call it where nothing can sleep, in the middle of whoever has the locks.
 *
 * Context: any.
 * Return: 0 or ENOENT.
 */
int vprobe_policy_vm_info(u64 id, struct vprobe_policy_vm *info)
{
	struct vprobe_vm *vm;

	rcu_read_lock();
	vm = vprobe_vm_peek(id);
	if (vm)
		describe_vm(vm, info);
	rcu_read_unlock();
	return vm ? 0 : -ENOENT;
}

static void describe_host(struct vprobe_policy_host *host)
{
	host->total_bytes = (u64)totalram_pages() << PAGE_SHIFT;
	host->available_bytes = (u64)si_mem_available() << PAGE_SHIFT;
	host->pressure = READ_ONCE(host_pressure);
	/* Whoever told it may be gone. */
	if (time_after(jiffies, READ_ONCE(host_pressure_at) + PRESSURE_VALID))
		host->pressure = 0;
	host->nr_vms = vprobe_nr_vms();
}

static void decide_builtin(const struct vprobe_policy_host *host,
			   struct vprobe_decision *d)
{
	u64 percent = min(READ_ONCE(builtin_percent), 100U);

	d->again_ms = 5000;
	if (host->available_bytes < div_u64(host->total_bytes, 100) * percent)
		d->take = U64_MAX;
}

/* Ask the VM's policy; returns its id. Without an answer nothing is done. */
static u64 decide(struct vprobe_vm *vm, struct vprobe_decision *d)
{
	struct vprobe_policy_call call = { .vm = vm };
	struct vprobe_policy_host host;
	struct vprobe_policy *p;
	u64 start, id;
	int idx, r;

	describe_host(&host);
	idx = srcu_read_lock(&policy_srcu);
	p = policy_of(vm);
	id = p ? p->id : 0;
	WRITE_ONCE(vm->policy_id, id);
	if (!p) {
		decide_builtin(&host, d);
		goto out;
	}
	describe_vm(vm, &call.info);
	call.policy = p;
	start = ktime_get_ns();
	r = p->ops->decide(&call.info, &host, d);
	policy_account(p, start);
	if (r)
		policy_evict(p, "decide() returned %d", r);
	else if (d->again_ms < VPROBE_POLICY_AGAIN_MIN ||
		 d->again_ms > VPROBE_POLICY_AGAIN_MAX)
		policy_evict(p, "decide() wants to look again in %u ms, which has to be %u to %u",
			     d->again_ms, VPROBE_POLICY_AGAIN_MIN,
			     VPROBE_POLICY_AGAIN_MAX);
	if (!policy_usable(p))
		*d = (struct vprobe_decision) {
			.again_ms = VPROBE_POLICY_AGAIN_MIN
		};
out:
	srcu_read_unlock(&policy_srcu, idx);
	return id;
}

/* Whether the VM's policy is still the one with that id. */
static bool is_still(struct vprobe_vm *vm, u64 id)
{
	struct vprobe_policy *p;
	bool still;
	int idx;

	idx = srcu_read_lock(&policy_srcu);
	p = policy_of(vm);
	still = id == (p ? p->id : 0);
	srcu_read_unlock(&policy_srcu, idx);
	return still;
}

/**
 * vprobe_policy_prefer() - whether a pass takes a block
 * @vm: the VM
 * @id: of the policy that asked for the pass; no other one is asked
 * @report: the block
 *
 * Context: process, pass_lock.
 * Return: an enum vprobe_policy_prefer.
 */
int vprobe_policy_prefer(struct vprobe_vm *vm, u64 id,
			 const struct vprobe_report *report)
{
	struct vprobe_policy_block block = {
		.gpa = gfn_to_gpa(report->gfn),
		.order = report->order,
	};
	struct vprobe_policy_call call = { .vm = vm };
	struct vprobe_policy *p;
	int idx, r = VPROBE_PREFER_NOW;
	u64 start;

	idx = srcu_read_lock(&policy_srcu);
	p = policy_of(vm);
	if (id != (p ? p->id : 0)) {
		r = VPROBE_PREFER_SPARE;
	} else if (p && p->ops->prefer) {
		describe_vm(vm, &call.info);
		call.policy = p;
		start = ktime_get_ns();
		r = p->ops->prefer(&call.info, &block);
		policy_account(p, start);
		if (r < 0 || r >= __VPROBE_PREFER_MAX) {
			policy_evict(p, "prefer() returned %d", r);
			r = VPROBE_PREFER_SPARE;
		}
	}
	srcu_read_unlock(&policy_srcu, idx);
	return r;
}

/**
 * vprobe_policy_filled() - tell the policy that a vCPU has its block back
 * @vm: the VM
 * @blk: the block, which is GONE, or about to go
 * @fill_ns: how long it took
 *
 * Context: a vCPU's fault.
 */
void vprobe_policy_filled(struct vprobe_vm *vm, const struct vprobe_blk *blk,
			  u64 fill_ns)
{
	struct vprobe_policy_fill fill = {
		.block.gpa = gfn_to_gpa(blk->gfn),
		.block.order = blk->order,
		.fill_ns = fill_ns,
	};
	struct vprobe_policy_call call = { .vm = vm };
	struct vprobe_policy *p;
	u64 start;
	int idx;

	idx = srcu_read_lock(&policy_srcu);
	p = policy_of(vm);
	if (p && p->ops->filled) {
		describe_vm(vm, &call.info);
		call.policy = p;
		start = ktime_get_ns();
		fill.out_ns = start - blk->taken_ns;
		p->ops->filled(&call.info, &fill);
		policy_account(p, start);
	}
	srcu_read_unlock(&policy_srcu, idx);
}

/**
 * vprobe_policy_pressure() - VPROBE_IOC_PRESSURE
 * @pressure: see struct vprobe_policy_host
 *
 * Context: process.
 */
void vprobe_policy_pressure(u32 pressure)
{
	struct vprobe_policy_host host;
	struct vprobe_policy *p;
	u64 start;
	int idx;

	WRITE_ONCE(host_pressure_at, jiffies);
	WRITE_ONCE(host_pressure, pressure);
	idx = srcu_read_lock(&policy_srcu);
	list_for_each_entry_srcu(p, &policies, node,
				 srcu_read_lock_held(&policy_srcu)) {
		if (!policy_usable(p) || !p->ops->pressure)
			continue;
		describe_host(&host);
		start = ktime_get_ns();
		p->ops->pressure(&host);
		policy_account(p, start);
	}
	srcu_read_unlock(&policy_srcu, idx);
	kick_all();
}

/*
 * Have the VM's policy asked in @ms; if it is to be asked already: only then if
 * @sooner, or else when it would be. Context: any.
 */
static void queue_policy_work(struct vprobe_vm *vm, unsigned int ms,
			      bool sooner)
{
	unsigned long delay = msecs_to_jiffies(ms);
	unsigned long due = jiffies + delay;
	bool pending;

	spin_lock(&vm->lock);
	if (vm->policy_off)
		goto out_unlock;
	pending = delayed_work_pending(&vm->policy_work);
	if (pending && (!sooner || !time_before(due, vm->policy_due)))
		goto out_unlock;
	vm->policy_due = due;
	refcount_inc(&vm->ref);
	/* One that was pending has a reference of its own. */
	if (mod_delayed_work(vprobe_wq, &vm->policy_work, delay))
		refcount_dec(&vm->ref);
out_unlock:
	spin_unlock(&vm->lock);
}

/**
 * vprobe_policy_kick() - ask a VM's policy again soon, for a policy
 * @call: what the policy was called with
 *
 * The first in each call is free: how often filled() is called is up to guests.
 *
 * Context: any, policy_srcu.
 */
void vprobe_policy_kick(struct vprobe_policy_call *call)
{
	struct vprobe_policy *p = call->policy;
	u64 sec = div_u64(ktime_get_ns(), NSEC_PER_SEC);
	bool flood;

	spin_lock(&p->lock);
	if (sec > p->sec)
		policy_new_second(p, sec);
	p->sec_kicks += call->kicked;
	call->kicked = true;
	flood = p->sec_kicks > VPROBE_POLICY_KICKS;
	spin_unlock(&p->lock);
	if (flood)
		policy_evict(p, "more than %u calls of vprobe_kick() in a second",
			     VPROBE_POLICY_KICKS);
	else
		queue_policy_work(call->vm, VPROBE_POLICY_AGAIN_MIN, true);
}

static void kick_all(void)
{
	struct vprobe_vm *vm;
	u64 id = 0;

	while ((vm = vprobe_vm_next(&id))) {
		queue_policy_work(vm, 0, true);
		vprobe_vm_put(vm);
	}
}

/* In slices, so that whoever wants the lock need not wait for all of it. */
static void give(struct vprobe_vm *vm, u64 bytes, unsigned long deadline)
{
	int r = 0;

	while (bytes && !r && !vprobe_policy_pass_is_over(vm, deadline)) {
		u64 want = min_t(u64, bytes, SZ_16M), filled = 0;

		r = vprobe_fill_some(vm, want, 0, ULONG_MAX, VPROBE_FILL_OTHER,
				     &filled);
		if (!filled)
			break;
		bytes -= min(bytes, filled);
	}
}

/* What the policy wants, as far as the guest and the VM's state allow. */
static void carry_out(struct vprobe_vm *vm, const struct vprobe_decision *d,
		      u64 id)
{
	unsigned long deadline = (jiffies + msecs_to_jiffies(PASS_MS)) | 1;
	struct vprobe_reclaim arg = { .target = d->take };
	u64 free;

	lockdep_assert_held(&vm->pass_lock);

	give(vm, d->give, deadline);
	if (d->leave || d->measure) {
		if (vprobe_count_free(vm, deadline, &free))
			return;
		arg.target = min(d->take, free - min(free, d->leave));
	}
	if (arg.target)
		vprobe_reclaim_for_policy(vm, &arg, deadline, id);
}

/*
 * The lock is only tried: it may be held for long, and what was decided would be
 * out of date by then.
 */
void vprobe_policy_work(struct work_struct *work)
{
	struct vprobe_vm *vm = container_of(to_delayed_work(work),
					    struct vprobe_vm, policy_work);
	struct vprobe_decision d = { .again_ms = 1000 };
	u64 id;

	id = decide(vm, &d);
	if (d.take || d.give || d.measure) {
		if (!mutex_trylock(&vm->pass_lock)) {
			d.again_ms = min(d.again_ms, BUSY_MS);
		} else {
			if (!vm->detached && !READ_ONCE(vm->dying) &&
			    is_still(vm, id))
				carry_out(vm, &d, id);
			mutex_unlock(&vm->pass_lock);
		}
	}
	queue_policy_work(vm, d.again_ms, false);
	vprobe_vm_put(vm);
}

/* The VM is attached, and has its policy from here on. */
void vprobe_policy_start(struct vprobe_vm *vm)
{
	queue_policy_work(vm, 0, true);
}

/* It is being detached. Context: process, a reference on the VM. */
void vprobe_policy_stop(struct vprobe_vm *vm)
{
	spin_lock(&vm->lock);
	vm->policy_off = true;
	spin_unlock(&vm->lock);
	if (cancel_delayed_work(&vm->policy_work))
		vprobe_vm_put(vm);
}

static struct vprobe_policy *policy_create(struct vprobe_policy_ops *ops)
{
	struct vprobe_policy *p;
	struct vprobe_vm *vm;
	const char *c;
	int r = 0;

	lockdep_assert_held(&policies_lock);

	/* The kernel's isalnum() knows Latin-1, JSON does not. */
	for (c = ops->name; *c; c++)
		if (!isascii(*c))
			return ERR_PTR(-EINVAL);
	if (ops->vm_id) {
		vm = vprobe_vm_get(ops->vm_id);
		if (!vm)
			return ERR_PTR(-ENOENT);
		vprobe_vm_put(vm);
	}
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p)
		return ERR_PTR(-ENOMEM);
	p->ops = ops;
	spin_lock_init(&p->lock);
	INIT_WORK(&p->evict_work, evict_work);
	if (ops->init)
		r = ops->init();
	if (r) {
		kfree(p);
		return ERR_PTR(r < 0 && r >= -MAX_ERRNO ? r : -EINVAL);
	}
	p->id = ++last_id;
	return p;
}

static struct vprobe_policy *policy_find(const struct vprobe_policy_ops *ops)
{
	struct vprobe_policy *p;

	lockdep_assert_held(&policies_lock);
	list_for_each_entry(p, &policies, node)
		if (p->ops == ops)
			return p;
	return NULL;
}

static void policy_describe(const struct vprobe_policy *p,
			    struct vprobe_policy_info *info)
{
	*info = (struct vprobe_policy_info) {
		.id = p->id,
		.vm_id = p->ops->vm_id,
		.state = VPROBE_POLICY_STATE_READY,
		.calls = READ_ONCE(p->calls),
		.ns = READ_ONCE(p->ns),
	};
	strscpy(info->name, p->ops->name, sizeof(info->name));
	if (!policy_usable(p)) {
		info->state = VPROBE_POLICY_STATE_EVICTED;
		strscpy(info->why, p->exit.why, sizeof(info->why));
	}
}

/* Nobody runs it any more; it is off the list. */
static void policy_destroy(struct vprobe_policy *p, enum vprobe_policy_end end)
{
	lockdep_assert_held(&policies_lock);

	synchronize_srcu(&policy_srcu);
	/* It waits for policy_srcu at most. */
	cancel_work_sync(&p->evict_work);
	if (!policy_usable(p)) {
		struct vprobe_policy_info *info;

		info = &history[nr_history++ % HISTORY_MAX];
		policy_describe(p, info);
		info->state = VPROBE_POLICY_STATE_GONE;
		end = VPROBE_POLICY_EVICTED;
	}
	policy_call_exit(p, end);
	kfree(p);
}

/**
 * vprobe_policy_add() - a policy was registered
 * @ops: the policy
 * @old: the one that it takes the place of, or NULL
 *
 * Context: process.
 * Return: 0; ENOENT if there is no VM vm_id; EBUSY if it is registered already;
 * what init() returned; ENOMEM.
 */
int vprobe_policy_add(struct vprobe_policy_ops *ops,
		      struct vprobe_policy_ops *old)
{
	struct vprobe_policy *p, *old_p = NULL;

	mutex_lock(&policies_lock);
	/* A second link of the same map: which one to end could not be told. */
	p = policy_find(ops) ? ERR_PTR(-EBUSY) : policy_create(ops);
	if (IS_ERR(p)) {
		mutex_unlock(&policies_lock);
		return PTR_ERR(p);
	}
	if (old)
		old_p = policy_find(old);
	if (old_p) {
		list_replace_rcu(&old_p->node, &p->node);
		policy_destroy(old_p, VPROBE_POLICY_REPLACED);
	} else {
		list_add_rcu(&p->node, &policies);
	}
	mutex_unlock(&policies_lock);
	kick_all();
	return 0;
}

/* Context: process. No program of the policy runs when it returns. */
void vprobe_policy_del(struct vprobe_policy_ops *ops)
{
	struct vprobe_policy *p;

	mutex_lock(&policies_lock);
	p = policy_find(ops);
	if (p) {
		list_del_rcu(&p->node);
		policy_destroy(p, VPROBE_POLICY_UNREGISTERED);
	}
	mutex_unlock(&policies_lock);
	kick_all();
}

/* One that there is no room for is only counted. */
static void list_one(struct vprobe_policy_info *infos, u32 room, u32 *nr,
		     const struct vprobe_policy_info *info)
{
	if (*nr < room)
		infos[*nr] = *info;
	++*nr;
}

/**
 * vprobe_policy_list() - VPROBE_IOC_POLICIES
 * @arg: see struct vprobe_policies
 *
 * Context: process.
 */
int vprobe_policy_list(struct vprobe_policies *arg)
{
	u32 room = min(arg->nr, LIST_MAX), nr = 0;
	struct vprobe_policy_info *infos, info;
	struct vprobe_policy *p;
	unsigned int i;
	int r = 0;

	infos = kvcalloc(max(room, 1U), sizeof(*infos), GFP_KERNEL);
	if (!infos)
		return -ENOMEM;
	mutex_lock(&policies_lock);
	list_for_each_entry(p, &policies, node) {
		policy_describe(p, &info);
		list_one(infos, room, &nr, &info);
	}
	for (i = 0; i < min(nr_history, HISTORY_MAX); i++)
		list_one(infos, room, &nr,
			 &history[(nr_history - 1 - i) % HISTORY_MAX]);
	mutex_unlock(&policies_lock);
	if (copy_to_user(u64_to_user_ptr(arg->policies), infos,
			 min(room, nr) * sizeof(*infos)))
		r = -EFAULT;
	kvfree(infos);
	arg->nr = nr;
	return r;
}
