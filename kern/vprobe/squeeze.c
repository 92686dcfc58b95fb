// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is short of memory has VMs give what they do not use: a VM whose fill found
 * none, or the host before its OOM killer comes. One work does it, whatever the
 * VMs' policies say. It asks one VM after the other, beginning behind the one
 * that it asked last, so that none of them can keep the others from being asked.
 *
 * How long that takes: a VM is asked for SQUEEZE_MS at most and waited for
 * SQUEEZE_TRIES * 20 ms at most; one that gave nothing is not asked again within
 * a second. A VMM can have what is done to its memory wait for ever, so each VM's
 * own work does it: one that takes longer than SQUEEZE_WAIT_MS is left behind, and
 * not asked again before it has ended. A fill that still waits asks again after
 * SQUEEZE_AGAIN, and ends after fill_timeout_ms.
 *
 * Memory counts as given when its pages have been freed (vprobe_freed_pages()):
 * a hole where there never was any helps nobody, and pages of hugetlbfs go back
 * to their pool, where only another hugetlbfs finds them.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>

#include "vprobe.h"

/* How long one VM may be asked, and tries for its lock, 20 ms each. */
#define SQUEEZE_MS	500
#define SQUEEZE_TRIES	5
#define SQUEEZE_WAIT_MS	(SQUEEZE_MS + SQUEEZE_TRIES * 20 + 100)
/* How often one VM may have others asked, in jiffies. */
#define SQUEEZE_AGAIN	(HZ / 10)
/* Nobody had anything: for so long nobody is asked before there is need. */
#define SQUEEZE_PAUSE	(2 * HZ)
/* Less than this part of the host's memory is nearly none. */
#define SQUEEZE_EARLY	64
/* How long the OOM killer waits, and how often and how long within 10 s. */
#define SQUEEZE_OOM_MS	1000
#define SQUEEZE_OOM_MAX	64
#define SQUEEZE_OOM_ALL_MS	3000

static struct squeeze {
	/* Its own: it waits for works of vprobe_wq. */
	struct workqueue_struct *wq;
	struct work_struct work;
	wait_queue_head_t ended;	/* for vm->squeezing */
	/* Who takes memory now: must not wait for itself. */
	struct task_struct *runner;
	spinlock_t lock;	/* who wants what */
	u64 want[2];		/* lock; bytes, of 4 KiB pages and of hugetlb */
	u64 except;		/* lock; the VM that is spared, or 0 */
	u64 last;		/* the work's: id of the VM asked last */
	unsigned long pause;	/* jiffies until which nobody has anything */
	int asked;		/* lock; how often */
	int served;		/* all that asked until then */
	/* oom_lock: */
	unsigned long oom_since;
	unsigned long oom_spent;
	unsigned int oom_nr;
} squeeze;

/* A pass costs about the same for less. */
static u64 squeeze_min(void)
{
	return max_t(u64, (u64)totalram_pages() * PAGE_SIZE / SQUEEZE_EARLY,
		     SZ_64M);
}

static bool nearly_none(void)
{
	return si_mem_available() < totalram_pages() / SQUEEZE_EARLY;
}

/* Asking again would not help soon. */
static bool hopeless(u32 reason)
{
	switch (reason) {
	case VPROBE_REASON_NO_VM:
	case VPROBE_REASON_QUARANTINED:
	case VPROBE_REASON_NO_HELPER:
	case VPROBE_REASON_HELPER_FAILED:
	case VPROBE_REASON_STOPPED:
	case VPROBE_REASON_DYING:
		return true;
	default:
		return false;
	}
}

/*
 * Passes until enough came free: what they take may have been empty already.
 * Context: pass_lock. Returns bytes that came free; @none: a whole pass found that
 * there are none.
 */
static u64 squeeze_locked(struct vprobe_vm *vm, bool hugetlb, u64 want,
			  bool *none)
{
	unsigned long end = (jiffies + msecs_to_jiffies(SQUEEZE_MS)) | 1;
	u64 before = vprobe_freed_pages(hugetlb), freed;
	struct vprobe_reclaim arg;
	int whole;

	do {
		arg = (struct vprobe_reclaim) { .target = want };
		whole = vprobe_reclaim_whole(vm, &arg, end);
		freed = (vprobe_freed_pages(hugetlb) - before) << PAGE_SHIFT;
	} while (whole >= 0 && arg.taken && freed < want &&
		 time_before(jiffies, end));
	*none = !freed && (whole > 0 || hopeless(arg.reason));
	if (*none)
		WRITE_ONCE(vm->has_nothing[hugetlb], jiffies + HZ);
	return freed;
}

/* As squeeze_locked(), if the VM can be had. */
static u64 squeeze_try(struct vprobe_vm *vm, bool hugetlb, u64 want, bool *none)
{
	unsigned int noreclaim;
	int tries = SQUEEZE_TRIES;
	u64 freed = 0;
	bool locked;

	/* A pass that somebody else runs ends for it. */
	atomic_inc(&vm->waiters);
	while (!(locked = mutex_trylock(&vm->pass_lock)) && tries--)
		msleep(20);
	atomic_dec(&vm->waiters);
	if (!locked)
		return 0;
	if (vprobe_backing_has(vm, hugetlb)) {
		/* It is there for want of memory: use the last. */
		noreclaim = memalloc_noreclaim_save();
		freed = squeeze_locked(vm, hugetlb, want, none);
		memalloc_noreclaim_restore(noreclaim);
	} else {
		*none = true;
	}
	mutex_unlock(&vm->pass_lock);
	return freed;
}

/* Context: a work that holds a reference on the VM. */
void vprobe_squeeze_work(struct work_struct *work)
{
	struct vprobe_vm *vm = container_of(work, struct vprobe_vm,
					    squeeze_work);
	struct vprobe_squeeze *s = &vm->squeeze;

	WRITE_ONCE(squeeze.runner, current);
	s->freed = squeeze_try(vm, s->hugetlb, s->want, &s->none);
	/* It is somebody else by now if this one was left behind. */
	cmpxchg(&squeeze.runner, current, NULL);
	/* With squeeze_vm(). */
	smp_store_release(&vm->squeezing, false);
	wake_up(&squeeze.ended);
	vprobe_vm_put(vm);
}

/* Bytes that came free; @none: there are none, for now. */
static u64 squeeze_vm(struct vprobe_vm *vm, bool hugetlb, u64 want, bool *none)
{
	*none = time_before(jiffies, READ_ONCE(vm->has_nothing[hugetlb]));
	/* With vprobe_squeeze_work(). */
	if (*none || smp_load_acquire(&vm->squeezing))
		return 0;
	vm->squeeze = (struct vprobe_squeeze) {
		.want = want,
		.hugetlb = hugetlb,
	};
	/* Only this work sets it. */
	WRITE_ONCE(vm->squeezing, true);
	refcount_inc(&vm->ref);
	queue_work(vprobe_wq, &vm->squeeze_work);
	if (!wait_event_timeout(squeeze.ended,
				/* With vprobe_squeeze_work(). */
				!smp_load_acquire(&vm->squeezing),
				msecs_to_jiffies(SQUEEZE_WAIT_MS)))
		return 0;
	*none = vm->squeeze.none;
	return vm->squeeze.freed;
}

static struct vprobe_vm *next_vm(void)
{
	struct vprobe_vm *vm = vprobe_vm_next(&squeeze.last);

	if (vm)
		return vm;
	squeeze.last = 0;
	return vprobe_vm_next(&squeeze.last);
}

static void squeeze_work(struct work_struct *work)
{
	unsigned int left = vprobe_nr_vms();
	int asked, kind;
	u64 want[2], except, freed;
	struct vprobe_vm *vm;
	bool nothing;

	spin_lock(&squeeze.lock);
	memcpy(want, squeeze.want, sizeof(want));
	memset(squeeze.want, 0, sizeof(squeeze.want));
	except = squeeze.except;
	asked = squeeze.asked;
	spin_unlock(&squeeze.lock);

	nothing = want[0] && !except;
	while (left-- && (want[0] || want[1])) {
		vm = next_vm();
		if (!vm)
			break;
		for (kind = 0; kind < 2 && vm->id != except; kind++) {
			bool none;

			if (!want[kind])
				continue;
			freed = squeeze_vm(vm, kind, want[kind], &none);
			want[kind] -= min(want[kind], freed);
			if (!kind && !none)
				nothing = false;
		}
		vprobe_vm_put(vm);
	}
	if (nothing)
		WRITE_ONCE(squeeze.pause, jiffies + SQUEEZE_PAUSE);
	WRITE_ONCE(squeeze.served, asked);
}

/*
 * What several ask for is asked for once; then nobody is spared. Returns what
 * squeeze.served comes to when it has been done.
 */
static int squeeze_ask(u64 except, bool hugetlb, u64 bytes)
{
	int mine;

	spin_lock(&squeeze.lock);
	if ((squeeze.want[0] || squeeze.want[1]) && squeeze.except != except)
		except = 0;
	squeeze.except = except;
	squeeze.want[hugetlb] = max3(squeeze.want[hugetlb], bytes,
				     squeeze_min());
	mine = ++squeeze.asked;
	spin_unlock(&squeeze.lock);
	queue_work(squeeze.wq, &squeeze.work);
	return mine;
}

/**
 * vprobe_squeeze_for() - a fill found no memory: take some elsewhere
 * @vm: the VM that needs it, and is spared
 * @hugetlb: pages of hugetlbfs
 * @bytes: how much
 *
 * Context: process. Does not wait.
 */
void vprobe_squeeze_for(struct vprobe_vm *vm, bool hugetlb, u64 bytes)
{
	unsigned long last = READ_ONCE(vm->squeezed);

	if (time_before(jiffies, last + SQUEEZE_AGAIN))
		return;
	WRITE_ONCE(vm->squeezed, jiffies);
	squeeze_ask(vm->id, hugetlb, bytes);
}

/**
 * vprobe_squeeze_early() - a fill has had some of the last memory
 * @vm: the VM that has it
 *
 * So that the next fill finds some, and nobody else on the host finds none:
 * unlike a fill, an allocation of theirs may have the OOM killer come.
 *
 * Context: process. Does not wait.
 */
void vprobe_squeeze_early(struct vprobe_vm *vm)
{
	if (nearly_none() && time_after(jiffies, READ_ONCE(squeeze.pause)))
		vprobe_squeeze_for(vm, false, 0);
}

/* Whether the OOM killer was not asked to wait too often of late. */
static bool may_hold_off(void)
{
	if (time_after(jiffies, squeeze.oom_since + 10 * HZ)) {
		squeeze.oom_since = jiffies;
		squeeze.oom_spent = 0;
		squeeze.oom_nr = 0;
	}
	return squeeze.oom_nr++ < SQUEEZE_OOM_MAX &&
	       squeeze.oom_spent < msecs_to_jiffies(SQUEEZE_OOM_ALL_MS);
}

/*
 * Before the OOM killer kills somebody: guests may have free memory. Who comes
 * here holds oom_lock, and maybe what a pass wants, so it does not wait for
 * long. If it is not the host as a whole that is short, we are no help; nor are
 * guests that take back what they give, again and again.
 */
static int squeeze_for_oom(struct notifier_block *nb, unsigned long action,
			   void *arg)
{
	unsigned long start = jiffies;
	unsigned long end = start + msecs_to_jiffies(SQUEEZE_OOM_MS);
	u64 before = vprobe_freed_pages(false);
	unsigned long *freed = arg, got;
	int mine;

	if (READ_ONCE(squeeze.runner) == current || !nearly_none() ||
	    time_before(jiffies, READ_ONCE(squeeze.pause)) || !may_hold_off())
		return NOTIFY_OK;
	mine = squeeze_ask(0, false, 0);
	do {
		schedule_timeout_uninterruptible(1);
		got = vprobe_freed_pages(false) - before;
	} while (got < squeeze_min() >> PAGE_SHIFT && time_before(jiffies, end) &&
		 READ_ONCE(squeeze.served) - mine < 0);
	squeeze.oom_spent += jiffies - start;
	*freed += got;
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = squeeze_for_oom,
};

/* Context: process, when there is a vprobe_wq. Return: 0 or ENOMEM. */
int vprobe_squeeze_init(void)
{
	squeeze.wq = alloc_ordered_workqueue("vprobe_squeeze", WQ_MEM_RECLAIM);
	if (!squeeze.wq)
		return -ENOMEM;
	init_waitqueue_head(&squeeze.ended);
	INIT_WORK(&squeeze.work, squeeze_work);
	spin_lock_init(&squeeze.lock);
	squeeze.pause = jiffies;
	squeeze.oom_since = jiffies;
	/* It always succeeds. */
	register_oom_notifier(&oom_notifier);
	return 0;
}

/* No VM is attached any more. */
void vprobe_squeeze_exit(void)
{
	unregister_oom_notifier(&oom_notifier);
	destroy_workqueue(squeeze.wq);
}
