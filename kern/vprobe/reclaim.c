// SPDX-License-Identifier: GPL-2.0-only
/*
 * One pass over a VM: find free blocks and take them.
 *
 * The helper says which blocks are free. For a batch of them: arm the watches,
 * with one TLB flush; ask the helper again, so that an allocation which raced
 * is either seen or stopped by the watch; take the blocks away from devices,
 * with one IOTLB flush; drop those that nobody else has pinned.
 */
#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "vprobe.h"

struct batch {
	struct vprobe_blk *blk[VPROBE_BATCH];
	unsigned int nr;
};

struct pass {
	struct vprobe_vm *vm;
	u64 target;
	u64 taken;
	u64 blocks;
	u64 reported;
	unsigned long deadline;		/* jiffies; 0: none */
	u64 policy;			/* ask this one about each block */
	bool asks;			/* the built-in one need not be asked */
	bool take_later;		/* its second choice, too */
	bool saw_later;
	bool over;			/* it has enough, or others go before */
	u64 vcpu_fills;			/* at its begin */
};

/*
 * Whether what is done for a policy shall end, as somebody else wants pass_lock.
 * What must end for other reasons sees to that itself.
 */
bool vprobe_policy_pass_is_over(struct vprobe_vm *vm, unsigned long deadline)
{
	return time_after(jiffies, deadline) || atomic_read(&vm->askers) ||
	       atomic_read(&vm->waiters) || READ_ONCE(vm->failsafe) ||
	       READ_ONCE(vm->dying);
}

static bool pass_is_over(struct pass *pass)
{
	struct vprobe_vm *vm = pass->vm;

	if ((pass->deadline && time_after(jiffies, pass->deadline)) ||
	    (pass->asks && atomic_read(&vm->askers)) ||
	    pass->taken >= pass->target || signal_pending(current) ||
	    atomic_read(&vm->waiters) || READ_ONCE(vm->failsafe) ||
	    READ_ONCE(vm->dying) ||
	    READ_ONCE(vm->region_gen) != READ_ONCE(vm->pass_gen))
		pass->over = true;
	return pass->over;
}

static u64 vcpu_fills(struct vprobe_vm *vm)
{
	return atomic64_read(&vm->counter[VPROBE_C_FILLS_VCPU]);
}

/*
 * iommufd's locks were not to be had: as vCPUs need blocks, which is no error, or as
 * the VMM maps memory or attaches a device, and that may take long.
 */
static int punch_was_busy(struct pass *pass)
{
	if (!pass_is_over(pass) && vcpu_fills(pass->vm) == pass->vcpu_fills)
		return -EBUSY;
	pass->over = true;
	return 0;
}

/* Everything was in place, but this block stays with the guest. */
static void give_up(struct vprobe_vm *vm, struct vprobe_blk *blk,
		    enum vprobe_reason why)
{
	if (why)
		vprobe_refuse(vm, why);
	/* The pass owns it, so nobody else can move it. */
	vprobe_blk_move(vm, blk, blk->state, VPROBE_FILLING);
	if (!blk->punched) {
		vprobe_blk_release(vm, blk);
		return;
	}
	/* If that fails it is a hole, with its memory still there. */
	blk->taken_ns = ktime_get_ns();
	vprobe_fill_blk(vm, blk, VPROBE_FILL_UNDO);
}

/*
 * A hole that the guest still lists as free. If somebody (a core dump, a
 * migration thread) has touched it through the VMM's mapping it has memory
 * again; nobody else can have, so it can be dropped without asking twice: the
 * watch was armed when the helper reported it.
 */
static void retake(struct pass *pass, struct vprobe_blk *blk)
{
	struct vprobe_vm *vm = pass->vm;

	if (!vprobe_backing_present(blk))
		return;
	if (!vprobe_blk_move_unless_fired(vm, blk, VPROBE_HOLE,
					  VPROBE_RECLAIMING))
		return;
	vprobe_count(vm, VPROBE_C_REPOPULATED);
	if (!vprobe_backing_check(blk))
		vprobe_backing_drop(blk);
	vprobe_blk_move(vm, blk, VPROBE_RECLAIMING, VPROBE_HOLE);
}

static void handle_known(struct pass *pass, const struct vprobe_report *report)
{
	struct vprobe_blk *blk = vprobe_blk_at(pass->vm, report->gfn);

	if (blk && blk->gfn == report->gfn && blk->order == report->order &&
	    blk->watch_gfn == report->watch_gfn)
		retake(pass, blk);
	else if (blk)
		/*
		 * The free list changed without a write to the watch: this is
		 * not how the guest said it works. What is a hole stays one.
		 */
		vprobe_refuse(pass->vm, VPROBE_REASON_BAD_REPORT);
	vprobe_blk_put(blk);
}

/* Whether the policy that asked for this pass wants the block in it. */
static bool is_wanted(struct pass *pass, const struct vprobe_report *report)
{
	if (!pass->asks)
		return true;
	switch (vprobe_policy_prefer(pass->vm, pass->policy, report)) {
	case VPROBE_PREFER_NOW:
		return true;
	case VPROBE_PREFER_LATER:
		pass->saw_later = true;
		return pass->take_later;
	default:
		return false;
	}
}

static void count_idle_fire(struct vprobe_vm *vm,
			    const struct vprobe_report *report)
{
	void *order = xa_erase(&vm->was_fired, report->gfn);

	if (order && xa_to_value(order) == report->order)
		vprobe_count(vm, VPROBE_C_FIRED_IDLE);
}

/*
 * The helper of a guest that has memory behind which there is no memfd may be
 * right, even if we can do nothing with what it says.
 */
static enum vprobe_reason bad_watch(struct vprobe_vm *vm, gfn_t watch_gfn)
{
	bool memory;
	int idx;

	idx = srcu_read_lock(&vm->kvm->srcu);
	memory = kvm_is_visible_gfn(vm->kvm, watch_gfn);
	srcu_read_unlock(&vm->kvm->srcu, idx);
	return memory ? VPROBE_REASON_NOT_BACKED : VPROBE_REASON_BAD_REPORT;
}

/* Take one report into the batch, or say why not. */
static int batch_add(struct pass *pass, struct batch *batch,
		     const struct vprobe_report *report)
{
	struct vprobe_vm *vm = pass->vm;
	const struct vprobe_backing *b;
	struct vprobe_blk *blk;

	if (report->order < vm->granule_shift - PAGE_SHIFT)
		return 0;
	b = vprobe_backing_at(vm->backings, report->gfn);
	if (!b || report->gfn - b->gfn + (1UL << report->order) > b->npages) {
		vprobe_refuse(vm, VPROBE_REASON_NOT_BACKED);
		return 0;
	}
	if (!vprobe_backing_at(vm->backings, report->watch_gfn)) {
		vprobe_refuse(vm, bad_watch(vm, report->watch_gfn));
		return 0;
	}
	if (!is_wanted(pass, report))
		return 0;

	blk = vprobe_blk_create(vm, report, b);
	if (PTR_ERR_OR_ZERO(blk) == -EEXIST) {
		handle_known(pass, report);
		return 0;
	}
	if (PTR_ERR_OR_ZERO(blk) == -EINVAL) {
		vprobe_refuse(vm, VPROBE_REASON_BAD_REPORT);
		return 0;
	}
	if (IS_ERR(blk)) {
		vprobe_refuse(vm, VPROBE_REASON_NO_MEMORY);
		return PTR_ERR(blk);
	}
	count_idle_fire(vm, report);
	pass->reported += vprobe_blk_bytes(blk);
	batch->blk[batch->nr++] = blk;
	return 0;
}

static void batch_remove(struct batch *batch, unsigned int i)
{
	vprobe_blk_put(batch->blk[i]);
	batch->blk[i] = NULL;
}

static void batch_compact(struct batch *batch)
{
	unsigned int i, nr = 0;

	for (i = 0; i < batch->nr; i++)
		if (batch->blk[i])
			batch->blk[nr++] = batch->blk[i];
	batch->nr = nr;
}

static void batch_give_up(struct vprobe_vm *vm, struct batch *batch,
			  enum vprobe_reason why)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		give_up(vm, batch->blk[i], why);
		batch_remove(batch, i);
	}
	batch->nr = 0;
}

/*
 * A vCPU that faults on a watch while the state is ARMING waits, so nobody takes
 * a watch off that is not on yet, or that a failure is about to take off.
 */
static int batch_arm(struct vprobe_vm *vm, struct batch *batch)
{
	gfn_t gfns[VPROBE_BATCH];
	unsigned int i;
	int r;

	for (i = 0; i < batch->nr; i++)
		gfns[i] = batch->blk[i]->watch_gfn;

	r = vprobe_should_fail(VPROBE_P_ARM) ? -ENOMEM :
		kvm_write_track_add_gfns(vm->kvm, gfns, batch->nr);
	if (r)
		return r;

	spin_lock(&vm->lock);
	for (i = 0; i < batch->nr; i++)
		batch->blk[i]->armed = true;
	vm->nr_watches += batch->nr;
	spin_unlock(&vm->lock);
	vprobe_count(vm, VPROBE_C_TLB_FLUSHES);
	vprobe_add(vm, VPROBE_C_ARMED, batch->nr);
	for (i = 0; i < batch->nr; i++)
		vprobe_blk_move(vm, batch->blk[i], VPROBE_ARMING,
				VPROBE_WATCHED);
	return 0;
}

static void confirm(struct batch *batch, const struct vprobe_report *report,
		    unsigned int *i)
{
	struct vprobe_blk *blk;

	while (*i < batch->nr && batch->blk[*i]->gfn < report->gfn)
		++*i;
	if (*i == batch->nr)
		return;
	blk = batch->blk[*i];
	if (blk->gfn == report->gfn && blk->order == report->order &&
	    blk->watch_gfn == report->watch_gfn)
		blk->confirmed = true;
}

/*
 * A helper that says "go on one page further" each time would keep us here for
 * ever. An honest one does at least a MiB.
 */
unsigned long vprobe_max_runs(unsigned long npages)
{
	return (npages >> (20 - PAGE_SHIFT)) + 16;
}

static int batch_ask_again(struct pass *pass, struct batch *batch)
{
	struct vprobe_vm *vm = pass->vm;
	struct vprobe_blk *last = batch->blk[batch->nr - 1];
	gfn_t end = last->gfn + vprobe_blk_pages(last);
	gfn_t gfn = batch->blk[0]->gfn;
	unsigned long runs = vprobe_max_runs(end - gfn);
	unsigned int nr, i, j = 0;
	int r;

	if (vprobe_should_fail(VPROBE_P_ASK_AGAIN))
		return -EPROTO;
	while (gfn < end) {
		if (!runs--) {
			vprobe_count(vm, VPROBE_C_HELPER_ERRORS);
			return -EPROTO;
		}
		r = vprobe_ask(vm, gfn, end, &gfn, vm->again, &nr);
		if (r)
			return r;
		for (i = 0; i < nr; i++)
			confirm(batch, &vm->again[i], &j);
		if (pass_is_over(pass))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static void batch_punch(struct vprobe_vm *vm, struct batch *batch)
{
	struct iommufd_hole *holes[VPROBE_BATCH];
	unsigned int i, j;

	for (i = 0; i < vm->nr_iommufds; i++) {
		for (j = 0; j < batch->nr; j++)
			holes[j] = &batch->blk[j]->holes[i];
		iommufd_punch(vm->puncher[i], holes, batch->nr);
		for (j = 0; j < batch->nr; j++)
			batch->blk[j]->punched |= iommufd_hole_exists(holes[j]);
	}
}

static enum vprobe_reason punch_result(struct vprobe_vm *vm,
				       struct vprobe_blk *blk)
{
	unsigned int i;

	if (vprobe_should_fail(VPROBE_P_PUNCH))
		return VPROBE_REASON_IOMMU;
	for (i = 0; i < vm->nr_iommufds; i++) {
		switch (blk->holes[i].rc) {
		case 0:
			break;
		case -EBUSY:
			return VPROBE_REASON_PINNED;
		case -EAGAIN:
		case -EINTR:
			return VPROBE_REASON_BUSY;
		default:
			return VPROBE_REASON_IOMMU;
		}
	}
	return VPROBE_REASON_NONE;
}

static enum vprobe_reason backing_reason(int r)
{
	switch (r) {
	case 0:
		return VPROBE_REASON_NONE;
	case -ERANGE:
		return VPROBE_REASON_STRADDLE;
	default:
		return VPROBE_REASON_PINNED;
	}
}

/*
 * Devices cannot reach it any more. Drop it, unless somebody wants it, or the fail-safe
 * is on: a new kernel may have written to it already. Returns why it was not dropped.
 */
static enum vprobe_reason finish_blk(struct pass *pass, struct vprobe_blk *blk)
{
	struct vprobe_vm *vm = pass->vm;
	enum vprobe_reason why;

	why = punch_result(vm, blk);
	if (!why && (READ_ONCE(blk->fired) || READ_ONCE(vm->failsafe)))
		why = VPROBE_REASON_RACED;
	if (!why)
		why = backing_reason(vprobe_backing_check(blk));
	if (!why) {
		/* It may fail half way. */
		blk->punched = true;
		why = backing_reason(vprobe_backing_drop(blk));
	}
	if (why) {
		give_up(vm, blk, why);
		return why;
	}
	pass->taken += vprobe_blk_bytes(blk);
	pass->blocks++;
	vprobe_count(vm, VPROBE_C_TAKEN_BLOCKS);
	vprobe_add(vm, VPROBE_C_TAKEN_BYTES, vprobe_blk_bytes(blk));
	blk->taken_ns = ktime_get_ns();
	vprobe_blk_move(vm, blk, VPROBE_RECLAIMING, VPROBE_HOLE);
	return VPROBE_REASON_NONE;
}

/* From ARMING to RECLAIMING, for those that pass every test. */
static int batch_prepare(struct pass *pass, struct batch *batch)
{
	struct vprobe_vm *vm = pass->vm;
	struct vprobe_blk *blk;
	unsigned int i;
	int r;

	r = batch_arm(vm, batch);
	if (r) {
		batch_give_up(vm, batch, VPROBE_REASON_WATCH);
		return 0;
	}
	r = batch_ask_again(pass, batch);
	for (i = 0; i < batch->nr; i++) {
		blk = batch->blk[i];
		if (!r && blk->confirmed &&
		    vprobe_blk_move_unless_fired(vm, blk, VPROBE_WATCHED,
						 VPROBE_RECLAIMING))
			continue;
		/* If asking failed, or was interrupted, nobody can tell. */
		if (!r)
			vprobe_refuse(vm, VPROBE_REASON_RACED);
		/* The guest may have taken it back already. */
		if (vprobe_blk_move(vm, blk, VPROBE_WATCHED, VPROBE_FILLING))
			vprobe_blk_release(vm, blk);
		batch_remove(batch, i);
	}
	batch_compact(batch);
	return r;
}

/* Whoever cannot be dropped in any case is not taken from devices. */
static void batch_fit(struct vprobe_vm *vm, struct batch *batch)
{
	enum vprobe_reason why;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		why = backing_reason(vprobe_backing_fits(batch->blk[i]));
		if (!why)
			continue;
		give_up(vm, batch->blk[i], why);
		batch_remove(batch, i);
	}
	batch_compact(batch);
}

static int batch_take(struct pass *pass, struct batch *batch)
{
	struct vprobe_vm *vm = pass->vm;
	unsigned int i;
	int r;

	if (!batch->nr)
		return 0;
	r = batch_prepare(pass, batch);
	batch_fit(vm, batch);
	if (batch->nr)
		batch_punch(vm, batch);
	for (i = 0; i < batch->nr; i++) {
		if (finish_blk(pass, batch->blk[i]) == VPROBE_REASON_BUSY)
			r = r ?: punch_was_busy(pass);
		batch_remove(batch, i);
		cond_resched();
	}
	batch->nr = 0;
	return r;
}

/* Take what one run of the helper reported, batch by batch. */
static int take_reports(struct pass *pass, unsigned int nr)
{
	struct vprobe_vm *vm = pass->vm;
	struct batch batch = {};
	u64 planned = 0;
	unsigned int i;
	int r = 0;

	for (i = 0; i < nr && !r && !pass_is_over(pass); i++) {
		unsigned int had = batch.nr;

		r = batch_add(pass, &batch, &vm->reports[i]);
		if (batch.nr != had)
			planned += vprobe_blk_bytes(batch.blk[had]);
		if (r || batch.nr == VPROBE_BATCH ||
		    planned >= pass->target - pass->taken) {
			int r2 = batch_take(pass, &batch);

			r = r ?: r2;
			planned = 0;
		}
	}
	if (r || pass_is_over(pass)) {
		batch_give_up(vm, &batch, VPROBE_REASON_NONE);
		return r;
	}
	return batch_take(pass, &batch);
}

static int scan_backing(struct pass *pass, const struct vprobe_backing *b)
{
	struct vprobe_vm *vm = pass->vm;
	gfn_t end = b->gfn + b->npages;
	gfn_t gfn = ALIGN(b->gfn, 1UL << (vm->granule_shift - PAGE_SHIFT));
	unsigned long runs = vprobe_max_runs(b->npages);
	unsigned int nr;
	int r;

	while (gfn < end && !pass_is_over(pass)) {
		if (!runs--) {
			vprobe_count(vm, VPROBE_C_HELPER_ERRORS);
			return -EPROTO;
		}
		r = vprobe_ask(vm, gfn, end, &gfn, vm->reports, &nr);
		if (!r)
			r = take_reports(pass, nr);
		if (r)
			return r;
		cond_resched();
	}
	return 0;
}

/* Ends with vprobe_backings_drop(), also after an error. */
int vprobe_refresh_backings(struct vprobe_vm *vm)
{
	struct vprobe_backings *b;

	spin_lock(&vm->lock);
	vm->pass_gen = vm->region_gen;
	spin_unlock(&vm->lock);

	b = vprobe_backings_get(vm);
	if (IS_ERR(b))
		return PTR_ERR(b);
	vprobe_backings_set(vm, b);
	return 0;
}

int vprobe_may_pass(struct vprobe_vm *vm, u32 *reason)
{
	if (vm->detached) {
		*reason = VPROBE_REASON_NO_VM;
		return -ENOENT;
	}
	if (vm->quarantine_why[0]) {
		*reason = VPROBE_REASON_QUARANTINED;
		return -EPERM;
	}
	if (!vm->helper) {
		*reason = VPROBE_REASON_NO_HELPER;
		return -ENODATA;
	}
	if (READ_ONCE(vm->stop_errno)) {
		*reason = VPROBE_REASON_STOPPED;
		return -ENOMEM;
	}
	if (READ_ONCE(vm->failsafe)) {
		*reason = VPROBE_REASON_BUSY;
		return -EBUSY;
	}
	return 0;
}

u32 vprobe_pass_reason(int r)
{
	switch (r) {
	case 0:
	case -EINTR:
		return VPROBE_REASON_NONE;
	case -EPROTO:
		return VPROBE_REASON_HELPER_FAILED;
	case -ESRCH:
		return VPROBE_REASON_DYING;
	case -EBUSY:
		return VPROBE_REASON_BUSY;
	default:
		return VPROBE_REASON_NO_MEMORY;
	}
}

static int scan_all(struct pass *pass)
{
	struct vprobe_vm *vm = pass->vm;
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < vm->backings->nr && !pass_is_over(pass); i++)
		r = scan_backing(pass, &vm->backings->b[i]);
	return r;
}

/* Returns whether it was a whole one, or an error. */
static int run_pass(struct vprobe_vm *vm, struct vprobe_reclaim *arg,
		    unsigned long deadline, bool asks, u64 policy)
{
	struct pass pass = {
		.vm = vm,
		.target = arg->target,
		.deadline = deadline,
		.asks = asks,
		.policy = policy,
		.vcpu_fills = vcpu_fills(vm),
	};
	u64 start = ktime_get_ns();
	bool over;
	int r;

	lockdep_assert_held(&vm->pass_lock);

	r = vprobe_may_pass(vm, &arg->reason);
	if (r)
		return r;
	vprobe_count(vm, VPROBE_C_PASSES);
	r = vprobe_refresh_backings(vm);
	if (!r)
		r = scan_all(&pass);
	if (!r && pass.saw_later && !pass_is_over(&pass)) {
		pass.take_later = true;
		r = scan_all(&pass);
	}
	over = pass_is_over(&pass);
	vprobe_backings_drop(vm);
	/* That others ended it, or the deadline, is no error. */
	if (r == -EINTR && !signal_pending(current))
		r = 0;
	if (signal_pending(current) && pass.taken < pass.target)
		r = -EINTR;

	arg->reason = vprobe_pass_reason(r);
	arg->taken = pass.taken;
	arg->blocks = pass.blocks;
	arg->reported = pass.reported;
	arg->ns = ktime_get_ns() - start;
	return r ?: !over;
}

/**
 * vprobe_reclaim_whole() - take memory, and tell whether all was looked at
 * @vm: the VM
 * @arg: its out fields are set in any case
 * @deadline: jiffies when to end, 0: never
 *
 * Context: process, pass_lock.
 * Return: 1; 0 if it ended early, as it had enough or for the sake of something
 * else; an error.
 */
int vprobe_reclaim_whole(struct vprobe_vm *vm, struct vprobe_reclaim *arg,
			 unsigned long deadline)
{
	return run_pass(vm, arg, deadline, false, 0);
}

/* The same, with the policy asked about each block, as long as it is in use. */
int vprobe_reclaim_for_policy(struct vprobe_vm *vm, struct vprobe_reclaim *arg,
			      unsigned long deadline, u64 policy)
{
	return min(run_pass(vm, arg, deadline, true, policy), 0);
}

/* Take pass_lock for an operator; what a policy does ends for that. */
int vprobe_ask_pass(struct vprobe_vm *vm)
{
	int r;

	atomic_inc(&vm->askers);
	r = mutex_lock_interruptible(&vm->pass_lock);
	atomic_dec(&vm->askers);
	return r;
}

/**
 * vprobe_do_reclaim() - VPROBE_IOC_RECLAIM
 * @vm: the VM
 * @arg: see struct vprobe_reclaim
 *
 * Context: process. Waits for another pass to end.
 */
int vprobe_do_reclaim(struct vprobe_vm *vm, struct vprobe_reclaim *arg)
{
	int r;

	r = vprobe_ask_pass(vm);
	if (r)
		return r;
	r = run_pass(vm, arg, 0, false, 0);
	mutex_unlock(&vm->pass_lock);
	if (!r && arg->taken < arg->target)
		arg->reason = VPROBE_REASON_BUSY;
	return min(r, 0);
}
