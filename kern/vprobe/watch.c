// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM tells us: a guest touched something, a vCPU was reset, a memslot
 * goes away.
 *
 * All of it runs with KVM's SRCUs held, in a vCPU's thread but for the last.
 * Nothing here waits for longer than VPROBE_SLICE_MS in a fault: it asks KVM to
 * retry, and KVM looks for signals before the vCPU runs again, so a vCPU that
 * waits for memory can be killed, stopped and inspected.
 */
#include <linux/sched/signal.h>

#include "vprobe.h"

/* Result of one look at a block: the fault is resolved, or look again. */
enum outcome {
	OUTCOME_DONE,
	OUTCOME_AGAIN,
	OUTCOME_STOP,
};

/* Once for each block, however often its fill is tried. The caller owns it. */
static void remember_fired(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	if (blk->fire_counted)
		return;
	blk->fire_counted = true;
	vprobe_count(vm, VPROBE_C_FIRED);
	/* To tell later if it fired for nothing. Best effort. */
	xa_store(&vm->was_fired, blk->gfn, xa_mk_value(blk->order),
		 GFP_NOWAIT | __GFP_NOWARN);
}

static enum outcome fill_for_vcpu(struct vprobe_vm *vm, struct vprobe_blk *blk,
				  enum vprobe_fill_why why)
{
	int r = vprobe_fill_blk(vm, blk, why);

	if (!r)
		return OUTCOME_DONE;
	if (vprobe_fill_has_clock(why, r) && vprobe_fill_gave_up(vm, blk, r))
		return OUTCOME_STOP;
	/* Another fill or a punch holds what we need, it will not take long. */
	schedule_timeout_killable(r == -EAGAIN ? 1 :
				  msecs_to_jiffies(VPROBE_SLICE_MS));
	return OUTCOME_AGAIN;
}

static void want(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	spin_lock(&vm->lock);
	blk->fired = true;
	spin_unlock(&vm->lock);
}

/* The guest wants this block, one way or the other. */
static enum outcome give_back(struct vprobe_vm *vm, struct vprobe_blk *blk,
			      enum vprobe_fill_why why)
{
	enum vprobe_state state = READ_ONCE(blk->state);
	unsigned long began = jiffies;

	switch (state) {
	case VPROBE_WATCHED:
		/* Nothing was taken yet. */
		if (!vprobe_blk_move(vm, blk, state, VPROBE_FILLING))
			return OUTCOME_AGAIN;
		if (why == VPROBE_FILL_VCPU)
			remember_fired(vm, blk);
		vprobe_blk_release(vm, blk);
		return OUTCOME_DONE;
	case VPROBE_HOLE:
		if (!vprobe_blk_move(vm, blk, state, VPROBE_FILLING))
			return OUTCOME_AGAIN;
		if (why == VPROBE_FILL_VCPU)
			remember_fired(vm, blk);
		return fill_for_vcpu(vm, blk, why);
	case VPROBE_ARMING:
	case VPROBE_RECLAIMING:
	case VPROBE_FILLING:
		want(vm, blk);
		vprobe_blk_wait(vm, blk, state);
		/* The VMM may have its hands in what somebody else waits for. */
		if (READ_ONCE(blk->state) == state &&
		    vprobe_fill_stands_still(vm, blk, began))
			return OUTCOME_STOP;
		return OUTCOME_AGAIN;
	case VPROBE_GONE:
		return OUTCOME_DONE;
	}
	return OUTCOME_DONE;
}

/*
 * A write to the memory of a hole without a write to its metadata first: this
 * is not the kernel that the helper knows. The block itself comes last, so that
 * this vCPU does not go on before all holes are filled.
 */
static enum outcome write_to_hole(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	WRITE_ONCE(blk->fill_last, true);
	if (vprobe_failsafe_start(vm))
		vprobe_count(vm, VPROBE_C_FAILSAFE_WRITES);
	if (vprobe_failsafe_step(vm))
		return OUTCOME_DONE;
	return vprobe_failsafe_stuck(vm) ? OUTCOME_STOP : OUTCOME_AGAIN;
}

static enum outcome touch_watch(struct vprobe_vm *vm, gfn_t gfn)
{
	struct vprobe_blk *blk = vprobe_blk_watching(vm, gfn);
	enum outcome outcome;

	if (!blk)
		return OUTCOME_DONE;
	outcome = give_back(vm, blk, VPROBE_FILL_VCPU);
	vprobe_blk_put(blk);
	return outcome;
}

static enum outcome touch_block(struct vprobe_vm *vm, struct vprobe_blk *blk,
				bool write)
{
	if (write)
		return write_to_hole(vm, blk);
	return give_back(vm, blk, VPROBE_FILL_READ);
}

/* Returns enum kvm_page_track_result or -EFAULT. */
static int handle_fault(struct vprobe_vm *vm, gfn_t gfn, unsigned int flags)
{
	enum outcome outcome = OUTCOME_DONE;
	struct vprobe_blk *blk;

	if ((flags & KVM_PAGE_TRACK_TRACKED) && xa_load(&vm->watches, gfn)) {
		outcome = touch_watch(vm, gfn);
	} else {
		blk = vprobe_blk_at(vm, gfn);
		if (!blk)
			return KVM_PAGE_TRACK_PASS;
		if (!READ_ONCE(blk->taken)) {
			/* All there. */
			vprobe_blk_put(blk);
			return KVM_PAGE_TRACK_PASS;
		}
		outcome = touch_block(vm, blk, flags & KVM_PAGE_TRACK_WRITE);
		vprobe_blk_put(blk);
	}
	if (outcome == OUTCOME_STOP)
		return -EFAULT;
	return outcome == OUTCOME_DONE ? KVM_PAGE_TRACK_RESOLVED :
					 KVM_PAGE_TRACK_RETRY;
}

/*
 * The emulator is going to write, or has just done so, and cannot be sent back.
 * If the block cannot be had in time the VM has to end: the guest would use
 * memory that is not there.
 */
static void handle_emulated(struct vprobe_vm *vm, gfn_t gfn, unsigned int flags)
{
	int r;

	do {
		r = handle_fault(vm, gfn, flags);
		if (fatal_signal_pending(current))
			r = -EINTR;
		cond_resched();
	} while (r > KVM_PAGE_TRACK_PASS &&
		 (xa_load(&vm->watches, gfn) || xa_load(&vm->blocks, gfn)));

	if (r < 0)
		kvm_vm_dead(vm->kvm);
}

/**
 * vprobe_track_fault() - a vCPU faulted on a guest page
 * @vcpu: which
 * @gfn: the page
 * @flags: KVM_PAGE_TRACK_*
 * @node: ours
 *
 * Context: the vCPU's thread, without mmu_lock, with KVM's SRCUs.
 * Return: see struct kvm_page_track_notifier_node.
 */
int vprobe_track_fault(struct kvm_vcpu *vcpu, gfn_t gfn, unsigned int flags,
		       struct kvm_page_track_notifier_node *node)
{
	struct vprobe_vm *vm = container_of(node, struct vprobe_vm, track);

	if (!READ_ONCE(vm->nr_blocks))
		return KVM_PAGE_TRACK_PASS;
	if (flags & KVM_PAGE_TRACK_EMULATE) {
		if (xa_load(&vm->watches, gfn))
			vprobe_count(vm, VPROBE_C_EMULATED);
		handle_emulated(vm, gfn, flags);
		return KVM_PAGE_TRACK_PASS;
	}
	/* No vCPU that comes by here goes on before all holes are filled. */
	if (READ_ONCE(vm->failsafe) && !vprobe_failsafe_step(vm))
		return vprobe_failsafe_stuck(vm) ? -EFAULT :
						   KVM_PAGE_TRACK_RETRY;
	return handle_fault(vm, gfn, flags);
}

/* The guest's kernel is gone: fill all. Errors as vprobe_track_reset(). */
static int fill_now(struct vprobe_vm *vm)
{
	if (!vprobe_note_reset(vm))
		return 0;
	vprobe_failsafe_start(vm);
	while (!vprobe_failsafe_step(vm)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (vprobe_failsafe_stuck(vm))
			return -ENOMEM;
		cond_resched();
	}
	return 0;
}

/**
 * vprobe_track_reset() - user space resets the VM
 * @vcpu: the boot vCPU
 * @node: ours
 *
 * Fills every hole before firmware runs.
 *
 * Context: an ioctl in the vCPU's thread, with track_srcu.
 * Return: 0; EINTR on a fatal signal; ENOMEM if there was no memory within the
 * VM's limit.
 */
int vprobe_track_reset(struct kvm_vcpu *vcpu,
		       struct kvm_page_track_notifier_node *node)
{
	struct vprobe_vm *vm = container_of(node, struct vprobe_vm, track);

	return fill_now(vm);
}

/**
 * vprobe_track_close() - user space has closed the VM
 * @kvm: the VM
 * @node: ours
 *
 * Its process may go on with another VM in the same memory, of which nothing tells:
 * fills every hole before that, then detaches. Mostly the process ends instead, and
 * has given up its memory before; if something else still uses that (vhost does until
 * its own file is closed), there is nobody to fill anything for.
 *
 * Context: close(), or a kernel thread that does it for another, with track_srcu.
 */
void vprobe_track_close(struct kvm *kvm,
			struct kvm_page_track_notifier_node *node)
{
	struct vprobe_vm *vm = container_of(node, struct vprobe_vm, track);

	if (READ_ONCE(vm->dying))
		return;
	/* No helper from here on, see vprobe_set_helper(). */
	spin_lock(&vm->lock);
	vm->closed = true;
	vprobe_note_lost(vm);
	spin_unlock(&vm->lock);
	if (!(current->flags & (PF_EXITING | PF_KTHREAD)))
		fill_now(vm);
	vprobe_queue_release(vm);
}

/**
 * vprobe_track_write() - KVM emulated a write to a tracked page
 * @gpa: where
 * @new: what
 * @bytes: how much
 * @node: ours
 *
 * The block was given back, and the write counted, before it, unless the watch was
 * armed in between.
 *
 * Context: the vCPU's thread.
 */
void vprobe_track_write(gpa_t gpa, const u8 *new, int bytes,
			struct kvm_page_track_notifier_node *node)
{
	struct vprobe_vm *vm = container_of(node, struct vprobe_vm, track);

	gfn_t gfn, last = gpa_to_gfn(gpa + bytes - 1);

	for (gfn = gpa_to_gfn(gpa); gfn <= last; gfn++) {
		if (!xa_load(&vm->watches, gfn))
			continue;
		vprobe_count(vm, VPROBE_C_EMULATED);
		handle_emulated(vm, gfn, KVM_PAGE_TRACK_WRITE |
					 KVM_PAGE_TRACK_TRACKED);
	}
}

/*
 * Wait for whoever owns the block, then make it whole. If that cannot be, or the VMM
 * is being killed, the memslot goes without its memory: the VM ends then, rather
 * than that its devices miss it.
 */
static void settle(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	while (READ_ONCE(blk->state) != VPROBE_GONE) {
		enum outcome outcome = OUTCOME_STOP;

		if (!fatal_signal_pending(current) && !vm->kvm->vm_dead)
			outcome = give_back(vm, blk, VPROBE_FILL_SETTLE);
		if (outcome == OUTCOME_DONE)
			return;
		if (outcome == OUTCOME_STOP) {
			kvm_vm_dead(vm->kvm);
			return;
		}
		cond_resched();
	}
}

/**
 * vprobe_track_remove_region() - a memslot is about to go away
 * @gfn: first page
 * @npages: how many
 * @node: ours
 *
 * It may come back with the same memory behind it, and its IOAS mappings are
 * another matter: fill what is in it, and what is watched through it.
 *
 * Context: process; kvm->slots_lock and track_srcu.
 */
void vprobe_track_remove_region(gfn_t gfn, unsigned long npages,
				struct kvm_page_track_notifier_node *node)
{
	struct vprobe_vm *vm = container_of(node, struct vprobe_vm, track);
	gfn_t next = gfn, last = gfn + npages - 1;
	unsigned long index;
	struct vprobe_blk *blk;

	/* From here on the running pass takes nothing more, see block.c. */
	spin_lock(&vm->lock);
	vm->region_gen++;
	spin_unlock(&vm->lock);

	while ((blk = vprobe_blk_next(vm, &next, last))) {
		settle(vm, blk);
		vprobe_blk_put(blk);
	}
	xa_for_each_range(&vm->watches, index, blk, gfn, last) {
		blk = vprobe_blk_watching(vm, index);
		if (blk)
			settle(vm, blk);
		vprobe_blk_put(blk);
	}
}
