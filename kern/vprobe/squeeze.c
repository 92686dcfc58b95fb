// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is short of memory has VMs give what they do not use: another VM's fill, or
 * the whole host before its OOM killer comes. One work does it; it asks one VM
 * after the other, whatever their policies say, each for SQUEEZE_MS at most, and
 * for SQUEEZE_TRIES * 20 ms for its lock. A fill that still waits asks again each
 * second, and ends after fill_timeout_ms.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/oom.h>

#include "vprobe.h"

static struct squeeze {
	struct work_struct work;
	atomic64_t bytes;
	u64 except;
	unsigned long early;	/* jiffies when vprobe_squeeze_early() last did */
	atomic64_t taken;	/* bytes, ever */
	atomic_t asked;
	int served;		/* all that asked until then */
	wait_queue_head_t wq;	/* for served */
} squeeze;

/* Less than this part of the host's memory is nearly none. */
#define SQUEEZE_EARLY	64

/* How long one VM may be asked, so that a slow one does not keep the others. */
#define SQUEEZE_MS	2000
/* ... and for its lock, 20 ms each. */
#define SQUEEZE_TRIES	10
/* How long the OOM killer waits. */
#define SQUEEZE_OOM_MS	1000
/* What is taken at least: a pass costs about the same for less. */
#define SQUEEZE_MIN	SZ_64M

static u64 squeeze_vm(struct vprobe_vm *vm, u64 want)
{
	struct vprobe_reclaim arg = { .target = want };
	int tries = SQUEEZE_TRIES;
	bool locked;

	/* A pass that somebody else runs ends for it. */
	atomic_inc(&vm->waiters);
	while (!(locked = mutex_trylock(&vm->pass_lock)) && tries--)
		msleep(20);
	atomic_dec(&vm->waiters);
	if (!locked)
		return 0;
	vprobe_reclaim_locked(vm, &arg, (jiffies +
					 msecs_to_jiffies(SQUEEZE_MS)) | 1);
	mutex_unlock(&vm->pass_lock);
	return arg.taken;
}

static void squeeze_work(struct work_struct *work)
{
	int asked = atomic_read(&squeeze.asked);
	u64 want = atomic64_xchg(&squeeze.bytes, 0);
	struct vprobe_vm *vm;
	unsigned long id = 0;
	u64 taken;

	if (want)
		want = max_t(u64, want, SQUEEZE_MIN);
	while (want && (vm = vprobe_vm_next(&id))) {
		if (vm->id != READ_ONCE(squeeze.except)) {
			taken = squeeze_vm(vm, want);
			want -= min(want, taken);
			atomic64_add(taken, &squeeze.taken);
		}
		vprobe_vm_put(vm);
	}
	WRITE_ONCE(squeeze.served, asked);
	wake_up_all(&squeeze.wq);
}

/*
 * Before the OOM killer kills somebody: guests may have free memory. Who comes
 * here holds oom_lock, and maybe what a pass wants, so it does not wait for
 * long. Should the pass itself be out of memory, then it is of no use.
 */
static int squeeze_for_oom(struct notifier_block *nb, unsigned long action,
			   void *arg)
{
	u64 before = atomic64_read(&squeeze.taken);
	unsigned long *freed = arg;
	int mine;

	if (current_work() == &squeeze.work)
		return NOTIFY_OK;
	WRITE_ONCE(squeeze.except, 0);
	atomic64_add(SQUEEZE_MIN, &squeeze.bytes);
	/* Orders the above with squeeze_work(), which reads it first. */
	mine = atomic_inc_return(&squeeze.asked);
	queue_work(vprobe_wq, &squeeze.work);
	wait_event_timeout(squeeze.wq,
			   READ_ONCE(squeeze.served) - mine >= 0,
			   msecs_to_jiffies(SQUEEZE_OOM_MS));
	*freed += (atomic64_read(&squeeze.taken) - before) >> PAGE_SHIFT;
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = squeeze_for_oom,
};

/**
 * vprobe_squeeze_others() - a fill found no memory: take some elsewhere
 * @vm: the VM that needs it, and is spared
 * @bytes: how much
 *
 * Context: process. Does not wait.
 */
void vprobe_squeeze_others(struct vprobe_vm *vm, u64 bytes)
{
	WRITE_ONCE(squeeze.except, vm->id);
	atomic64_add(bytes, &squeeze.bytes);
	queue_work(vprobe_wq, &squeeze.work);
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
	unsigned long last = READ_ONCE(squeeze.early);

	if (time_before(jiffies, last + HZ / 10) ||
	    si_mem_available() > totalram_pages() / SQUEEZE_EARLY ||
	    cmpxchg(&squeeze.early, last, jiffies) != last)
		return;
	vprobe_squeeze_others(vm, SQUEEZE_MIN);
}

/* Context: process, when there is a vprobe_wq. */
void vprobe_squeeze_init(void)
{
	INIT_WORK(&squeeze.work, squeeze_work);
	init_waitqueue_head(&squeeze.wq);
	squeeze.early = jiffies;
	/* It always succeeds. */
	register_oom_notifier(&oom_notifier);
}

/* No VM is attached any more. */
void vprobe_squeeze_exit(void)
{
	unregister_oom_notifier(&oom_notifier);
	cancel_work_sync(&squeeze.work);
}
