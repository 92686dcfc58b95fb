// SPDX-License-Identifier: GPL-2.0-only
/*
 * The blocks of a VM.
 *
 * A block is free guest memory that the module knows of: one entry of the
 * guest's free lists, 2^order pages, naturally aligned, and one guest page
 * that the guest has to write to before it uses any of it (the watch). Memory
 * that is in use has no block. struct vprobe_blk::state:
 *
 *	           created by a pass
 *	               |
 *	            ARMING        in the tables; the watch is being armed
 *	               |          (one TLB flush for a batch)
 *	            WATCHED       a write to the watch faults
 *	               |          the helper still says that it is free
 *	           RECLAIMING     devices are being taken away, then the memory
 *	               |
 *	             HOLE  <----+ no memory, no EPT entry, no IOMMU mapping
 *	               |        |
 *	            FILLING ----+ out of memory: it stays a hole
 *	               |
 *	             GONE         not in the tables, the watch is off
 *
 * Any state but HOLE leads to FILLING as well, when the guest wants the block
 * or a step fails: filling what was not taken costs nothing.
 *
 * Who may do what: the pass (there is one at a time, pass_lock) owns a block
 * from ARMING to RECLAIMING; whoever moves a block to FILLING owns it then,
 * until it is GONE or a HOLE again. In WATCHED and HOLE nobody owns it, and a
 * move is what decides a race. An owner may sleep. A vCPU that needs a block
 * that is owned sets @fired, which the pass looks at before each step that
 * takes something away, and waits:
 *
 *	pass                               vCPU
 *	----                               ----
 *	WATCHED -> RECLAIMING
 *	                                   writes to the watch, EPT violation
 *	                                   state is RECLAIMING: fired = true
 *	unmap from devices                 sleeps, 20 ms at most
 *	fired? -> FILLING, undo            ... back to the guest, which faults
 *	or: drop the memory, -> HOLE       again ...
 *	wake up
 *	                                   HOLE -> FILLING, fill, GONE
 *	                                   back to the guest, which writes
 *
 * The watch stays armed until the block is whole again, and the block stays in
 * the tables until the watch is off: a write that faults because of us always
 * finds the block, and is never emulated. In between, other vCPUs may write to
 * the watched page freely, which is fine, as the block is whole.
 *
 * Locks, outermost first:
 *	vprobe_vms_lock		the list of VMs (vm.c)
 *	vm->pass_lock		passes, the helper, attach and detach; a vCPU only
 *				ever tries it
 *	the memfd's inode lock	only ever tried; hugetlbfs takes its own by itself
 *	iommufd's holes_rwsem and below; mmap_lock; folio locks; KVM's mmu_lock
 *	vm->lock		states, flags and sums; a spinlock, innermost
 * KVM calls into watch.c with its SRCUs held, and with slots_lock when a
 * memslot goes away; nothing here takes slots_lock.
 */
#include <linux/slab.h>

#include "vprobe.h"

static void blk_free(struct vprobe_blk *blk)
{
	fput(blk->file);
	kfree_rcu(blk, rcu);
}

/* Context: any that may sleep; the last put drops a file. */
void vprobe_blk_put(struct vprobe_blk *blk)
{
	if (blk && refcount_dec_and_test(&blk->ref))
		blk_free(blk);
}

/* Neither blocks nor watches may share anything, I2 depends on it. */
static int check_apart(struct vprobe_vm *vm, gfn_t gfn, gfn_t last,
		       gfn_t watch_gfn)
{
	unsigned long index = gfn;

	if (watch_gfn >= gfn && watch_gfn <= last)
		return -EINVAL;
	if (xa_find(&vm->blocks, &index, last, XA_PRESENT))
		return -EEXIST;
	index = gfn;
	if (xa_find(&vm->watches, &index, last, XA_PRESENT))
		return -EINVAL;
	if (xa_load(&vm->blocks, watch_gfn))
		return -EINVAL;
	if (xa_load(&vm->watches, watch_gfn))
		return -EINVAL;
	return 0;
}

static int index_blk(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	gfn_t last = blk->gfn + vprobe_blk_pages(blk) - 1;
	void *old;
	int r;

	/* Naturally aligned, so that this is one entry. */
	old = xa_store_range(&vm->blocks, blk->gfn, last, blk, GFP_KERNEL);
	r = xa_err(old);
	if (r)
		return r;
	old = vprobe_should_fail(VPROBE_P_ALLOC_INDEX) ?
		XA_ERROR(-ENOMEM) :
		xa_store(&vm->watches, blk->watch_gfn, blk, GFP_KERNEL);
	r = xa_err(old);
	if (r)
		xa_erase(&vm->blocks, blk->gfn);
	return r;
}

/**
 * vprobe_blk_create() - start to keep a block, in state ARMING
 * @vm: the VM
 * @report: where it is, checked by vprobe_report() for alignment only
 * @backing: the memory behind all of it
 *
 * Context: process, pass_lock.
 * Return: the block with a reference for the caller, or an ERR_PTR: EEXIST if
 * there is one, EINVAL if it overlaps something else, ENOMEM.
 */
struct vprobe_blk *vprobe_blk_create(struct vprobe_vm *vm,
				     const struct vprobe_report *report,
				     const struct vprobe_backing *backing)
{
	gfn_t last = report->gfn + (1UL << report->order) - 1;
	unsigned long offset = report->gfn - backing->gfn;
	struct vprobe_blk *blk = NULL;
	unsigned int i;
	int r;

	lockdep_assert_held(&vm->pass_lock);

	r = check_apart(vm, report->gfn, last, report->watch_gfn);
	if (r)
		return ERR_PTR(r);

	if (!vprobe_should_fail(VPROBE_P_ALLOC_BLOCK))
		blk = kzalloc(struct_size(blk, holes, vm->nr_iommufds),
			      GFP_KERNEL_ACCOUNT);
	if (!blk)
		return ERR_PTR(-ENOMEM);
	refcount_set(&blk->ref, 2);	/* the tables', and the caller's */
	blk->gfn = report->gfn;
	blk->watch_gfn = report->watch_gfn;
	blk->order = report->order;
	blk->state = VPROBE_ARMING;
	blk->uaddr = backing->uaddr + (offset << PAGE_SHIFT);
	blk->pgoff = backing->pgoff + offset;
	blk->file = get_file(backing->file);
	for (i = 0; i < vm->nr_iommufds; i++)
		iommufd_hole_init(&blk->holes[i], blk->uaddr,
				  vprobe_blk_bytes(blk), blk->file->f_mapping,
				  blk->pgoff);

	r = index_blk(vm, blk);
	if (r) {
		/* Somebody may have seen it and wait for it. */
		WRITE_ONCE(blk->state, VPROBE_GONE);
		wake_up_all(&vm->wq);
		vprobe_blk_put(blk);
		vprobe_blk_put(blk);
		return ERR_PTR(r);
	}
	spin_lock(&vm->lock);
	vm->nr_blocks++;
	spin_unlock(&vm->lock);
	return blk;
}

static struct vprobe_blk *blk_load(struct xarray *xa, gfn_t gfn)
{
	struct vprobe_blk *blk;

	rcu_read_lock();
	blk = xa_load(xa, gfn);
	if (blk && !refcount_inc_not_zero(&blk->ref))
		blk = NULL;
	rcu_read_unlock();
	return blk;
}

/* The block that @gfn is part of, with a reference, or NULL. Context: any. */
struct vprobe_blk *vprobe_blk_at(struct vprobe_vm *vm, gfn_t gfn)
{
	return blk_load(&vm->blocks, gfn);
}

/* The block that @gfn is the watch of, likewise. */
struct vprobe_blk *vprobe_blk_watching(struct vprobe_vm *vm, gfn_t gfn)
{
	return blk_load(&vm->watches, gfn);
}

/* The first block in [*gfn, last], likewise; moves *gfn behind it. */
struct vprobe_blk *vprobe_blk_next(struct vprobe_vm *vm, gfn_t *gfn, gfn_t last)
{
	unsigned long index = *gfn;
	struct vprobe_blk *blk;

	rcu_read_lock();
	do {
		blk = xa_find(&vm->blocks, &index, last, XA_PRESENT);
		if (blk)
			index = blk->gfn + vprobe_blk_pages(blk);
	} while (blk && !refcount_inc_not_zero(&blk->ref));
	rcu_read_unlock();
	*gfn = index;
	return blk;
}

static void blk_set_state(struct vprobe_vm *vm, struct vprobe_blk *blk,
			  enum vprobe_state to)
{
	lockdep_assert_held(&vm->lock);

	if (blk->state == VPROBE_HOLE) {
		vm->nr_holes--;
		WRITE_ONCE(vm->hole_bytes,
			   vm->hole_bytes - vprobe_blk_bytes(blk));
	}
	if (to == VPROBE_HOLE) {
		vm->nr_holes++;
		WRITE_ONCE(vm->hole_bytes,
			   vm->hole_bytes + vprobe_blk_bytes(blk));
	}
	WRITE_ONCE(blk->state, to);
}

/**
 * vprobe_blk_move() - move a block on, if nobody else did
 * @vm: the VM
 * @blk: the block
 * @from: where it has to be
 * @to: where to
 *
 * Context: any. Takes vm->lock.
 * Return: true if it was in @from; the caller owns it if @to says so.
 */
bool vprobe_blk_move(struct vprobe_vm *vm, struct vprobe_blk *blk,
		     enum vprobe_state from, enum vprobe_state to)
{
	bool moved;

	spin_lock(&vm->lock);
	moved = blk->state == from;
	if (moved)
		blk_set_state(vm, blk, to);
	spin_unlock(&vm->lock);
	if (moved)
		wake_up_all(&vm->wq);
	return moved;
}

/*
 * The same, for steps that take something away: not if the guest wants it, the
 * fail-safe is on, or the memory may not be the guest's any more.
 */
bool vprobe_blk_move_unless_fired(struct vprobe_vm *vm, struct vprobe_blk *blk,
				  enum vprobe_state from, enum vprobe_state to)
{
	bool moved;

	spin_lock(&vm->lock);
	moved = blk->state == from && !blk->fired && !vm->failsafe &&
		!vm->dying && vm->region_gen == vm->pass_gen;
	if (moved)
		blk_set_state(vm, blk, to);
	if (moved && to == VPROBE_RECLAIMING)
		WRITE_ONCE(blk->taken, true);
	spin_unlock(&vm->lock);
	return moved;
}

/*
 * A memslot that goes away takes its tracking with it. KVM tells us
 * (vprobe_track_remove_region()), and no slot can take its place before we are
 * done with all blocks in it, so within one read side of kvm->srcu, armed means
 * that the tracking which is removed here is ours.
 */
static void blk_disarm(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	bool armed;
	int idx;

	idx = srcu_read_lock(&vm->kvm->srcu);
	spin_lock(&vm->lock);
	/*
	 * Once the watch is off the guest may use the block, before it has left
	 * the tables: that is not a write to a hole.
	 */
	WRITE_ONCE(blk->taken, false);
	armed = blk->armed;
	blk->armed = false;
	if (armed)
		vm->nr_watches--;
	spin_unlock(&vm->lock);
	/* settle() may have let the memslot go, and another one come. */
	if (armed && !READ_ONCE(vm->kvm->vm_dead))
		kvm_write_track_remove_gfns(vm->kvm, &blk->watch_gfn, 1);
	srcu_read_unlock(&vm->kvm->srcu, idx);
}

/**
 * vprobe_blk_release() - the block is memory in use from now on
 * @vm: the VM
 * @blk: a block that the caller owns, and that is whole
 *
 * Takes the watch off, then forgets the block, in that order. If the VM was stopped
 * for this block and for no other, it is not any more.
 *
 * Context: process; takes KVM's mmu_lock.
 */
void vprobe_blk_release(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	blk_disarm(vm, blk);

	xa_erase(&vm->watches, blk->watch_gfn);
	xa_erase(&vm->blocks, blk->gfn);
	spin_lock(&vm->lock);
	blk_set_state(vm, blk, VPROBE_GONE);
	vm->nr_blocks--;
	/* Who stopped the VM for it did so before. */
	if (blk->stopped && !--vm->nr_stopped)
		WRITE_ONCE(vm->stop_errno, 0);
	spin_unlock(&vm->lock);
	wake_up_all(&vm->wq);
	vprobe_blk_put(blk);
}

/*
 * Wait a little for a block to leave @state; for vCPUs. Signals can wait that
 * long, and one that is pending must not make this a busy loop.
 */
void vprobe_blk_wait(struct vprobe_vm *vm, struct vprobe_blk *blk,
		     enum vprobe_state state)
{
	wait_event_killable_timeout(vm->wq, READ_ONCE(blk->state) != state,
				    msecs_to_jiffies(VPROBE_SLICE_MS));
}
