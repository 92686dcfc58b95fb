// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving blocks back to the guest, and the reserve of memory for that.
 */
#include <linux/ktime.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "vprobe.h"

static unsigned int reserve_pages = 4096;
module_param(reserve_pages, uint, 0444);
MODULE_PARM_DESC(reserve_pages,
		 "4 KiB pages kept aside for fills when the host is out of memory");

static struct {
	spinlock_t lock;	/* pages and nr; innermost */
	struct list_head pages;
	unsigned int nr;	/* read without it */
	struct delayed_work refill;
} reserve;

static void reserve_refill(struct work_struct *work)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_NORETRY | __GFP_NOWARN |
		    __GFP_NOMEMALLOC;
	struct page *page;

	while (READ_ONCE(reserve.nr) < reserve_pages) {
		page = alloc_page(gfp);
		if (!page)
			break;
		spin_lock(&reserve.lock);
		list_add(&page->lru, &reserve.pages);
		reserve.nr++;
		spin_unlock(&reserve.lock);
		cond_resched();
	}
	if (READ_ONCE(reserve.nr) < reserve_pages)
		schedule_delayed_work(&reserve.refill, HZ);
}

/**
 * vprobe_reserve_use() - hand pages of the reserve to the page allocator
 * @npages: how many the caller needs
 *
 * Context: process.
 * Return: true if there were any, so that it is worth trying again.
 */
bool vprobe_reserve_use(unsigned long npages)
{
	struct page *page, *next;
	LIST_HEAD(pages);

	spin_lock(&reserve.lock);
	while (npages && reserve.nr) {
		list_move(reserve.pages.next, &pages);
		reserve.nr--;
		npages--;
	}
	spin_unlock(&reserve.lock);
	if (list_empty(&pages))
		return false;
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	schedule_delayed_work(&reserve.refill, HZ);
	return true;
}

void vprobe_reserve_init(void)
{
	spin_lock_init(&reserve.lock);
	INIT_LIST_HEAD(&reserve.pages);
	INIT_DELAYED_WORK(&reserve.refill, reserve_refill);
	schedule_delayed_work(&reserve.refill, 0);
}

void vprobe_reserve_exit(void)
{
	cancel_delayed_work_sync(&reserve.refill);
	vprobe_reserve_use(ULONG_MAX);
	cancel_delayed_work_sync(&reserve.refill);
}

/*
 * Pinning and mapping allocate little, but an allocation that fails or, worse,
 * looks for somebody to kill would cost the guest its block: use the kernel's
 * own reserves.
 */
static int fill_iommu(struct vprobe_vm *vm, struct vprobe_blk *blk, long timeout)
{
	unsigned int noreclaim, i;
	int r = 0;

	if (!blk->punched)
		return 0;
	if (vprobe_should_fail(VPROBE_P_FILL_IOMMU))
		return -ENOMEM;
	noreclaim = memalloc_noreclaim_save();
	for (i = 0; i < vm->nr_iommufds && !r; i++) {
		if (iommufd_hole_exists(&blk->holes[i]))
			r = iommufd_fill(vm->puncher[i], &blk->holes[i],
					 timeout);
	}
	memalloc_noreclaim_restore(noreclaim);
	if (!r)
		blk->punched = false;
	return r;
}

static int fill_memory(struct vprobe_vm *vm, struct vprobe_blk *blk, long timeout)
{
	int r;

	r = vprobe_backing_hold(blk);
	if (r)
		return r;
	r = vprobe_backing_populate(vm, blk);
	if (!r) {
		r = fill_iommu(vm, blk, timeout);
		/* Memory is not what it lacks. */
		if (r == -EAGAIN)
			WRITE_ONCE(blk->wait_since, 0);
	}
	vprobe_backing_let_go(blk);
	return r;
}

/*
 * Somebody waits for the block, and not for all of them, and not for as long as it
 * takes: that is for who settles and waits for locks, see lock_timeout().
 */
bool vprobe_fill_has_clock(enum vprobe_fill_why why, int r)
{
	return why == VPROBE_FILL_VCPU || why == VPROBE_FILL_READ ||
	       (why == VPROBE_FILL_SETTLE && r != -EAGAIN);
}

/*
 * How long for those who map memory or attach a device, in jiffies. A vCPU's fault
 * comes again, and so does the fail-safe. Who takes a memslot away has to wait for
 * as long as it takes, or be killed; but IOMMU_DESTROY of an IOAS in which a fill
 * waits gives up after a minute, and loses it.
 */
static long lock_timeout(enum vprobe_fill_why why)
{
	switch (why) {
	case VPROBE_FILL_VCPU:
	case VPROBE_FILL_READ:
	case VPROBE_FILL_FAILSAFE:
		return 0;
	case VPROBE_FILL_SETTLE:
		return 10 * HZ;
	case VPROBE_FILL_UNDO:
		/* One of a batch, for which vCPUs may wait. */
		return HZ / 20;
	default:
		return HZ / 4;
	}
}

/*
 * How long somebody may wait, in jiffies. A VMM that plugs in its first device pins
 * all of the guest's memory before it lets go of the locks.
 */
static unsigned long wait_limit(const struct vprobe_vm *vm, int r)
{
	unsigned long limit = msecs_to_jiffies(vm->fill_timeout_ms);

	return r == -EAGAIN ? limit * VPROBE_BUSY_FACTOR : limit;
}

/* There is one for what the VMM keeps from coming, and one for all else. */
static unsigned long *clock_for(struct vprobe_blk *blk, int r)
{
	return r == -EAGAIN ? &blk->busy_since : &blk->wait_since;
}

static void stop_clocks(struct vprobe_blk *blk)
{
	WRITE_ONCE(blk->wait_since, 0);
	WRITE_ONCE(blk->busy_since, 0);
}

/*
 * Start a clock of whoever waits for a block; anew, if nobody did for a while before
 * @began.
 */
static void start_clock(struct vprobe_blk *blk, unsigned long began, int r)
{
	unsigned long *since = clock_for(blk, r);

	if (time_after(began, READ_ONCE(blk->wait_last) + HZ)) {
		stop_clocks(blk);
		blk->wait_counted = false;
	}
	if (!READ_ONCE(*since))
		WRITE_ONCE(*since, began ?: 1);
	WRITE_ONCE(blk->wait_last, jiffies);
}

/* Waiting for a lock is no shortage, and has a limit of its own. */
static void fill_failed(struct vprobe_vm *vm, struct vprobe_blk *blk,
			enum vprobe_fill_why why, unsigned long began, int r)
{
	bool hugetlb;

	if (r == -ENOMEM && vprobe_backing_short(blk, &hugetlb))
		vprobe_squeeze_for(vm, hugetlb, vprobe_blk_bytes(blk));
	if (!vprobe_fill_has_clock(why, r))
		return;
	start_clock(blk, why == VPROBE_FILL_SETTLE ? jiffies : began, r);
	if (r == -EAGAIN || r == -EINTR || blk->wait_counted)
		return;
	blk->wait_counted = true;
	vprobe_count(vm, VPROBE_C_FILL_WAITS);
}

/* The block is there: for how long had somebody to wait for it? */
static void fill_waited(struct vprobe_vm *vm, const struct vprobe_blk *blk,
			enum vprobe_fill_why why, unsigned long began)
{
	unsigned long since = READ_ONCE(blk->wait_since);
	unsigned long busy = READ_ONCE(blk->busy_since);
	u64 ms;

	if (!since || (busy && time_before(busy, since)))
		since = busy;
	if (!vprobe_fill_has_clock(why, 0) || !since ||
	    time_after(began, blk->wait_last + HZ))
		return;
	ms = jiffies_to_msecs(jiffies - since);
	spin_lock(&vm->lock);
	vm->longest_wait_ms = max(vm->longest_wait_ms, ms);
	spin_unlock(&vm->lock);
}

/**
 * vprobe_fill_blk() - give a block back
 * @vm: the VM
 * @blk: a block in state FILLING, which makes the caller its owner
 * @why: for the counters
 *
 * On success the block is GONE: it has memory, every IOAS that shall maps it,
 * and the watch is off. On an error it is a HOLE, and nothing is lost.
 *
 * Context: process; a vCPU's thread, or any other. Takes what iommufd_fill()
 * takes, and KVM's mmu_lock.
 * Return: 0, ENOMEM, EFAULT if the VMM's mapping or its file is cut; EAGAIN if the
 * VMM is mapping memory or attaching a device, which takes as long as it wants; EINTR
 * on a fatal signal.
 */
int vprobe_fill_blk(struct vprobe_vm *vm, struct vprobe_blk *blk,
		    enum vprobe_fill_why why)
{
	bool vcpu = why == VPROBE_FILL_VCPU || why == VPROBE_FILL_READ;
	u64 start = ktime_get_ns(), ns;
	unsigned long began = jiffies;
	int r;

	r = fill_memory(vm, blk, lock_timeout(why));
	if (r) {
		fill_failed(vm, blk, why, began, r);
		vprobe_blk_move(vm, blk, VPROBE_FILLING, VPROBE_HOLE);
		return r;
	}

	fill_waited(vm, blk, why, began);
	vprobe_count(vm, VPROBE_C_FILLS);
	vprobe_add(vm, VPROBE_C_FILL_BYTES, vprobe_blk_bytes(blk));
	/* What an undo needed was there a moment ago. */
	if (why != VPROBE_FILL_UNDO)
		vprobe_squeeze_early(vm);
	if (vcpu) {
		vprobe_count(vm, VPROBE_C_FILLS_VCPU);
		vprobe_add(vm, VPROBE_C_DEMAND_BYTES, vprobe_blk_bytes(blk));
	}
	if (why == VPROBE_FILL_READ)
		vprobe_count(vm, VPROBE_C_FILLS_READ);
	if (why == VPROBE_FILL_UNDO)
		vprobe_count(vm, VPROBE_C_FILLS_UNDO);
	ns = ktime_get_ns() - start;
	vprobe_count_fill(vm, ns);
	vprobe_blk_release(vm, blk);
	/* The caller's reference keeps what it looks at. */
	if (vcpu)
		vprobe_policy_filled(vm, blk, ns);
	return 0;
}

/* Context: vm->lock. Returns whether it is news, for tell_stopped(). */
static bool stop_vm(struct vprobe_vm *vm, int r)
{
	bool first = !vm->stop_errno;

	lockdep_assert_held(&vm->lock);

	WRITE_ONCE(vm->stop_errno, r == -EAGAIN ? EBUSY : -r);
	return first;
}

/* A console may be slow. */
static void tell_stopped(struct vprobe_vm *vm, gfn_t gfn, int r)
{
	vprobe_count(vm, VPROBE_C_FILL_TIMEOUTS);
	pr_warn("vprobe: VM %llu (pid %u): guest address %#llx did not come back in %lu s (error %d), stopped\n",
		vm->id, pid_nr(vm->pid), (u64)gfn << PAGE_SHIFT,
		wait_limit(vm, r) / HZ, r);
}

/**
 * vprobe_fill_gave_up() - has a fill had to wait for too long?
 * @vm: the VM
 * @blk: a block that a fill failed for
 * @r: how it failed last
 *
 * Counts, and marks the VM as stopped, when it has.
 *
 * Context: any.
 */
bool vprobe_fill_gave_up(struct vprobe_vm *vm, struct vprobe_blk *blk, int r)
{
	unsigned long since = READ_ONCE(*clock_for(blk, r));
	bool gone, first = false;

	if (!since || time_before(jiffies, since + wait_limit(vm, r)))
		return false;
	spin_lock(&vm->lock);
	/* Somebody else may have filled it since. */
	gone = blk->state == VPROBE_GONE;
	if (!gone) {
		first = stop_vm(vm, r);
		vm->nr_stopped += !blk->stopped;
		blk->stopped = true;
	}
	spin_unlock(&vm->lock);
	if (gone)
		return false;
	if (first)
		tell_stopped(vm, blk->gfn, r);
	/* If it is continued, it gets the whole time again. */
	stop_clocks(blk);
	return true;
}

/**
 * vprobe_fill_stands_still() - has somebody else's step taken too long?
 * @vm: the VM
 * @blk: a block that a guest's fault, or settle(), waits for
 * @began: jiffies when it began to
 *
 * Context: as vprobe_fill_gave_up(), whose limit it is.
 */
bool vprobe_fill_stands_still(struct vprobe_vm *vm, struct vprobe_blk *blk,
			      unsigned long began)
{
	start_clock(blk, began, -EAGAIN);
	return vprobe_fill_gave_up(vm, blk, -EAGAIN);
}

static int fill_range(struct vprobe_vm *vm, u64 target, gfn_t gfn, gfn_t last,
		      bool also_last, enum vprobe_fill_why why, u64 *filled)
{
	struct vprobe_blk *blk;
	int r = 0, bad = 0;
	u64 lost = 0;

	/* What is left of a dead VMM is not worth memory. */
	while (!r && *filled + lost < target && !READ_ONCE(vm->dying)) {
		blk = vprobe_blk_next(vm, &gfn, last);
		if (!blk)
			break;
		if ((also_last || !READ_ONCE(blk->fill_last)) &&
		    vprobe_blk_move(vm, blk, VPROBE_HOLE, VPROBE_FILLING)) {
			u64 bytes = vprobe_blk_bytes(blk);

			r = vprobe_fill_blk(vm, blk, why);
			if (!r)
				*filled += bytes;
			/* This one is lost to its VMM; others need not be. */
			if (r == -EFAULT) {
				bad = r;
				r = 0;
				if (why == VPROBE_FILL_FAILSAFE) {
					lost += bytes;
					vm->failsafe_gfn = gfn;
				}
			}
		}
		vprobe_blk_put(blk);
		if (!r && fatal_signal_pending(current))
			r = -EINTR;
		cond_resched();
	}
	return r ?: bad;
}

/* Whether all that is left are holes that vCPUs have written to. */
static bool only_last_are_left(struct vprobe_vm *vm)
{
	struct vprobe_blk *blk;
	bool only = true;
	gfn_t gfn = 0;

	while (only && (blk = vprobe_blk_next(vm, &gfn, ULONG_MAX))) {
		only = READ_ONCE(blk->fill_last);
		vprobe_blk_put(blk);
		cond_resched();
	}
	return only;
}

/**
 * vprobe_fill_some() - fill holes until there is enough
 * @vm: the VM
 * @target: bytes
 * @gfn: from where
 * @last: to where, inclusive
 * @why: see vprobe_fill_blk()
 * @filled: out, added to: bytes filled
 *
 * Holes that somebody else is filling are skipped. Holes that a vCPU has written
 * to come last, as they keep it from going on: for the fail-safe when all others
 * are whole, also those that were skipped.
 *
 * Context: process.
 * Return: 0, EINTR on a fatal signal, or the first error of a fill.
 */
int vprobe_fill_some(struct vprobe_vm *vm, u64 target, gfn_t gfn, gfn_t last,
		     enum vprobe_fill_why why, u64 *filled)
{
	int r;

	r = fill_range(vm, target, gfn, last, false, why, filled);
	if (r || *filled >= target)
		return r;
	if (why == VPROBE_FILL_FAILSAFE && !only_last_are_left(vm))
		return 0;
	return fill_range(vm, target, gfn, last, true, why, filled);
}

static unsigned long blocks_left(struct vprobe_vm *vm)
{
	unsigned long left;

	spin_lock(&vm->lock);
	left = vm->nr_blocks;
	spin_unlock(&vm->lock);
	return left;
}

/**
 * vprobe_make_whole() - fill all, and wait for those that others are filling
 * @vm: the VM
 *
 * Context: process, pass_lock.
 * Return: 0; EINTR on a fatal signal; ENOMEM, EFAULT or EBUSY if it stands still
 * for as long as a fill may wait.
 */
int vprobe_make_whole(struct vprobe_vm *vm)
{
	unsigned long limit = msecs_to_jiffies(vm->fill_timeout_ms);
	unsigned long left, least = ULONG_MAX;
	unsigned long since = jiffies;
	u64 filled;
	int r;

	lockdep_assert_held(&vm->pass_lock);

	for (;;) {
		filled = 0;
		r = vprobe_fill_some(vm, U64_MAX, 0, ULONG_MAX,
				     VPROBE_FILL_OTHER, &filled);
		if (r == -EAGAIN)
			r = -EBUSY;
		left = blocks_left(vm);
		if (!left)
			return 0;
		if (r == -EINTR || READ_ONCE(vm->dying))
			return r ?: -EBUSY;
		if (left < least) {
			least = left;
			since = jiffies;
		}
		if (time_after(jiffies, since + limit))
			return r ?: -EBUSY;
		schedule_timeout_killable(msecs_to_jiffies(VPROBE_SLICE_MS));
	}
}

/* Why memory was not given back, or iommufd not had. Context: any. */
u32 vprobe_fill_reason(int r)
{
	switch (r) {
	case 0:
	case -EINTR:
		return VPROBE_REASON_NONE;
	case -ENOMEM:
		return VPROBE_REASON_NO_MEMORY;
	case -EFAULT:
		return VPROBE_REASON_NOT_BACKED;
	default:
		return VPROBE_REASON_BUSY;
	}
}

/**
 * vprobe_note_reset() - the guest's kernel is gone
 * @vm: the VM
 *
 * A registration that is on its way was this kernel's and comes too late.
 *
 * Context: process.
 * Return: whether there is anything to fill or to drop.
 */
bool vprobe_note_reset(struct vprobe_vm *vm)
{
	bool any;

	spin_lock(&vm->lock);
	vprobe_note_lost(vm);
	any = vm->helper || vm->nr_blocks;
	spin_unlock(&vm->lock);
	return any;
}

/**
 * vprobe_failsafe_start() - the guest's kernel is gone: fill all holes
 * @vm: the VM
 *
 * Stops the running pass and all that come until it is done. The vCPUs that
 * fault help (vprobe_failsafe_step()); a work does what they do not.
 *
 * Context: process.
 * Return: false if it was on already.
 */
bool vprobe_failsafe_start(struct vprobe_vm *vm)
{
	bool first;

	spin_lock(&vm->lock);
	vprobe_note_lost(vm);
	first = !vm->failsafe;
	if (first) {
		vm->failsafe = true;
		vm->failsafe_left = ULONG_MAX;
		vm->failsafe_errno = 0;
		vm->failsafe_since = jiffies;
		vm->failsafe_fed = jiffies;
	}
	spin_unlock(&vm->lock);
	if (!first)
		return false;
	vprobe_count(vm, VPROBE_C_FAILSAFES);
	vprobe_queue_work(vm, &vm->failsafe_work, 0);
	return true;
}

/**
 * vprobe_failsafe_step() - fill some holes
 * @vm: the VM
 *
 * To be called until it returns true; each call takes a bounded time. The helper
 * goes with the kernel that it came from.
 *
 * Context: process; does not wait for pass_lock for long.
 * Return: true when there is no hole left, and no pass that could make one.
 */
bool vprobe_failsafe_step(struct vprobe_vm *vm)
{
	u64 filled = 0;
	gfn_t from;
	bool done;
	int r;

	if (!mutex_trylock(&vm->pass_lock)) {
		/* Even if there are no holes: the pass may be about to punch. */
		schedule_timeout_killable(msecs_to_jiffies(VPROBE_SLICE_MS));
		return !READ_ONCE(vm->failsafe);
	}
	/* Over, and the helper may be the next kernel's. */
	if (!READ_ONCE(vm->failsafe)) {
		mutex_unlock(&vm->pass_lock);
		return true;
	}
	vprobe_drop_helper(vm);
	/* Blocks that are lost must not keep others from being filled. */
	from = vm->failsafe_gfn;
	vm->failsafe_gfn = 0;
	r = vprobe_fill_some(vm, SZ_16M, from, ULONG_MAX, VPROBE_FILL_FAILSAFE,
			     &filled);
	/* One that begins behind a block that is lost says nothing by success. */
	if (r || !from)
		WRITE_ONCE(vm->failsafe_errno, r);
	if (r == -EAGAIN || (!r && !from))
		WRITE_ONCE(vm->failsafe_fed, jiffies);
	done = !blocks_left(vm);
	if (done) {
		spin_lock(&vm->lock);
		WRITE_ONCE(vm->failsafe, false);
		WRITE_ONCE(vm->stop_errno, 0);
		spin_unlock(&vm->lock);
	}
	mutex_unlock(&vm->pass_lock);
	if (!done && (r || !filled))
		schedule_timeout_killable(msecs_to_jiffies(VPROBE_SLICE_MS));
	return done;
}

/**
 * vprobe_failsafe_stuck() - has the fail-safe stood still for too long?
 * @vm: the VM
 *
 * Marks the VM as stopped when it has.
 *
 * Context: any.
 */
bool vprobe_failsafe_stuck(struct vprobe_vm *vm)
{
	int r = READ_ONCE(vm->failsafe_errno) ?: -EAGAIN;
	unsigned long since, fed = READ_ONCE(vm->failsafe_fed);
	bool stuck, first = false;

	spin_lock(&vm->lock);
	/* Blocks only go while it is on; their states may change back. */
	if (vm->nr_blocks < vm->failsafe_left) {
		vm->failsafe_left = vm->nr_blocks;
		vm->failsafe_since = jiffies;
	}
	since = vm->failsafe_since;
	if (r != -EAGAIN && time_after(fed, since))
		since = fed;
	stuck = vm->failsafe && time_after(jiffies, since + wait_limit(vm, r));
	if (stuck) {
		vm->failsafe_since = jiffies;
		first = stop_vm(vm, r);
	}
	spin_unlock(&vm->lock);
	if (first)
		tell_stopped(vm, 0, r);
	return stuck;
}

/* Nobody may fault any more while holes are left: see to it that none is. */
void vprobe_failsafe_work(struct work_struct *work)
{
	struct vprobe_vm *vm = container_of(to_delayed_work(work),
					    struct vprobe_vm, failsafe_work);

	if (READ_ONCE(vm->failsafe) && !READ_ONCE(vm->dying) &&
	    !READ_ONCE(vm->detached) && !vprobe_failsafe_step(vm))
		vprobe_queue_work(vm, &vm->failsafe_work,
				  msecs_to_jiffies(VPROBE_SLICE_MS));
	vprobe_vm_put(vm);
}

static int forget_holes(struct vprobe_vm *vm, struct vprobe_blk *blk,
			long timeout)
{
	unsigned int i;
	int r = 0;

	for (i = 0; blk->punched && i < vm->nr_iommufds && !r; i++)
		if (iommufd_hole_exists(&blk->holes[i]))
			r = iommufd_forget_hole(vm->puncher[i], &blk->holes[i],
						timeout);
	return r;
}

/**
 * vprobe_forget_all() - the VMM's memory is gone, and so are the holes
 * @vm: a VM whose mm has no users any more
 * @timeout: how long to wait for another process that has its iommufd, for each
 *	block; jiffies
 *
 * Context: process, pass_lock. No vCPU runs.
 * Return: 0; EAGAIN or EINTR if there are blocks left.
 */
int vprobe_forget_all(struct vprobe_vm *vm, long timeout)
{
	struct vprobe_blk *blk;
	gfn_t gfn = 0;
	int r = 0;

	lockdep_assert_held(&vm->pass_lock);

	while (!r && (blk = vprobe_blk_next(vm, &gfn, ULONG_MAX))) {
		r = forget_holes(vm, blk, timeout);
		if (!r) {
			vprobe_blk_move(vm, blk, VPROBE_HOLE, VPROBE_FILLING);
			vprobe_blk_release(vm, blk);
		}
		vprobe_blk_put(blk);
		cond_resched();
	}
	return r;
}
