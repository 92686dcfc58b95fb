// SPDX-License-Identifier: GPL-2.0-only
/*
 * The KVM BPF hook: runs the programs that guests bring, see vprobe_helper.h.
 *
 * A helper is an ordinary BPF_PROG_TYPE_SYSCALL program. What makes it harmless
 * is the verifier, which user space asks to treat it as unprivileged, and that
 * the four kfuncs below are all that it can call. Other SYSCALL programs can
 * call them too: a kfunc finds the VM by the task that runs it, and a task that
 * is not running a helper for us has none.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/filter.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include <linux/ktime.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "vprobe.h"

struct vprobe_run {
	struct hlist_node node;
	struct rcu_head rcu;
	struct task_struct *task;
	struct vprobe_vm *vm;
	gfn_t end;			/* of the range */
	gfn_t floor;			/* where the next report may start */
	struct vprobe_report *reports;
	unsigned int nr_reports;
	unsigned int nr_windows;
};

static DEFINE_HASHTABLE(runs, 6);
static DEFINE_SPINLOCK(runs_lock);

static struct vprobe_run *current_run(void)
{
	struct vprobe_run *run;

	/* Another program's timer, in the middle of a task that has a run */
	if (!in_task())
		return NULL;
	/* Only this task adds and removes its run, it cannot go away. */
	rcu_read_lock();
	hash_for_each_possible_rcu(runs, run, node, (unsigned long)current)
		if (run->task == current)
			break;
	rcu_read_unlock();
	return run;
}

static void run_begin(struct vprobe_run *run)
{
	run->task = current;
	spin_lock(&runs_lock);
	hash_add_rcu(runs, &run->node, (unsigned long)current);
	spin_unlock(&runs_lock);
}

static void run_end(struct vprobe_run *run)
{
	spin_lock(&runs_lock);
	hash_del_rcu(&run->node);
	spin_unlock(&runs_lock);
	while (run->nr_windows)
		folio_put(run->vm->windows[--run->nr_windows]);
}

__bpf_kfunc_start_defs();

/**
 * vprobe_read() - copy guest memory
 * @dst: where to
 * @dst__sz: bytes, at most a page
 * @gpa: guest-physical address; the bytes must not cross a page
 *
 * Return: 0; EFAULT if there is no such memory or it is not resident, EINVAL if
 * it crosses a page, EPERM outside of a helper run.
 */
__bpf_kfunc int vprobe_read(void *dst, u32 dst__sz, u64 gpa)
{
	struct vprobe_run *run = current_run();
	struct folio *folio;
	unsigned long left;
	void *addr;

	if (!run)
		return -EPERM;
	if (dst__sz > PAGE_SIZE - offset_in_page(gpa))
		return -EINVAL;
	/* The next lines with a size that is too large, by a wrong guess. */
	barrier_nospec();
	folio = vprobe_backing_folio(run->vm->backings, gpa_to_gfn(gpa), &addr);
	if (!folio) {
		memset(dst, 0, dst__sz);
		return -EFAULT;
	}
	/* The hardware may fail it now. */
	left = copy_mc_to_kernel(dst, addr + offset_in_page(gpa), dst__sz);
	if (left)
		memset(dst, 0, dst__sz);
	folio_put(folio);
	return left ? -EFAULT : 0;
}

/**
 * vprobe_window() - look at guest memory
 * @gpa: guest-physical address
 * @rdonly_buf_size: bytes, within one page
 *
 * Return: the bytes, which the guest may change at any time, valid until the
 * program ends; NULL where vprobe_read() fails, and after VPROBE_WINDOWS_MAX.
 */
__bpf_kfunc const u8 *vprobe_window(u64 gpa, const u32 rdonly_buf_size)
{
	struct vprobe_run *run = current_run();
	struct folio *folio;
	void *addr;

	if (!run || run->nr_windows == VPROBE_WINDOWS_MAX ||
	    rdonly_buf_size > PAGE_SIZE - offset_in_page(gpa))
		return NULL;
	/*
	 * The verifier lets the program use as many bytes as it asks for, and an
	 * offset that it knows has no mask against wrong guesses.
	 */
	barrier_nospec();
	folio = vprobe_backing_folio(run->vm->backings, gpa_to_gfn(gpa), &addr);
	if (!folio)
		return NULL;
	run->vm->windows[run->nr_windows++] = folio;
	return addr + offset_in_page(gpa);
}

/**
 * vprobe_layout() - the layout that the guest registered with the helper
 * @rdonly_buf_size: bytes
 *
 * Return: the layout, NULL if it is shorter than that.
 */
__bpf_kfunc const u8 *vprobe_layout(const u32 rdonly_buf_size)
{
	struct vprobe_run *run = current_run();

	if (!run || rdonly_buf_size > run->vm->helper->layout_len)
		return NULL;
	/* As in vprobe_window(). */
	barrier_nospec();
	return run->vm->helper->layout;
}

/**
 * vprobe_report() - report a free block
 * @gpa: its guest-physical address
 * @order: log2 of its size in 4 KiB pages
 * @watch_gpa: an address in the page that the guest writes before it uses it
 *
 * Blocks have to come in the order of their addresses.
 *
 * Return: 0; EINVAL if misaligned, out of order or out of range, ENOSPC if there
 * is no more room, EPERM outside of a helper run.
 */
__bpf_kfunc int vprobe_report(u64 gpa, u32 order, u64 watch_gpa)
{
	struct vprobe_run *run = current_run();
	gfn_t gfn = gpa_to_gfn(gpa);
	struct vprobe_report *report;

	if (!run)
		return -EPERM;
	if (order > VPROBE_ORDER_MAX || offset_in_page(gpa) ||
	    !IS_ALIGNED(gfn, 1UL << order) || gfn < run->floor ||
	    gfn >= run->end) {
		vprobe_refuse(run->vm, VPROBE_REASON_BAD_REPORT);
		return -EINVAL;
	}
	if (run->nr_reports == VPROBE_REPORTS_MAX)
		return -ENOSPC;
	report = &run->reports[run->nr_reports++];
	report->gfn = gfn;
	report->order = order;
	report->watch_gfn = gpa_to_gfn(watch_gpa);
	run->floor = gfn + (1UL << order);
	return 0;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(vprobe_kfuncs)
/* Trusted: not a pointer that may be NULL, see policy_bpf.c. */
BTF_ID_FLAGS(func, vprobe_read, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, vprobe_window, KF_RET_NULL)
BTF_ID_FLAGS(func, vprobe_layout, KF_RET_NULL)
BTF_ID_FLAGS(func, vprobe_report)
BTF_KFUNCS_END(vprobe_kfuncs)

static const struct btf_kfunc_id_set vprobe_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &vprobe_kfuncs,
};

int vprobe_helper_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL,
					 &vprobe_kfunc_set);
}

static u32 run_prog(struct bpf_prog *prog, struct vprobe_helper_ctx *ctx)
{
	u32 ret;

	rcu_read_lock_trace();
	ret = bpf_prog_run_pin_on_cpu(prog, ctx);
	rcu_read_unlock_trace();
	return ret;
}

/**
 * vprobe_ask() - run the helper once
 * @vm: the VM, which has a helper and backings
 * @gfn: from where
 * @end: to where, exclusive
 * @next: out: where to go on; @end when done
 * @reports: out: room for VPROBE_REPORTS_MAX
 * @nr: out: how many there are
 *
 * The result is what the guest's program says, and has been checked for nothing
 * but alignment and order.
 *
 * Context: process, pass_lock.
 * Return: 0; ENOMEM; EPROTO if the helper failed or does not advance beyond what
 * it reported.
 */
int vprobe_ask(struct vprobe_vm *vm, gfn_t gfn, gfn_t end, gfn_t *next,
	       struct vprobe_report *reports, unsigned int *nr)
{
	struct vprobe_helper_ctx ctx = {
		.start = gfn_to_gpa(gfn),
		.end = gfn_to_gpa(end),
		.min_order = vm->granule_shift - PAGE_SHIFT,
	};
	struct vprobe_run *run;
	gfn_t floor;
	u64 start;
	u32 ret;

	lockdep_assert_held(&vm->pass_lock);

	run = kzalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);
	if (!run)
		return -ENOMEM;
	run->vm = vm;
	run->end = end;
	run->floor = gfn;
	run->reports = reports;

	run_begin(run);
	start = ktime_get_ns();
	ret = run_prog(vm->helper->prog, &ctx);
	vprobe_add(vm, VPROBE_C_HELPER_NS, ktime_get_ns() - start);
	vprobe_count(vm, VPROBE_C_HELPER_RUNS);
	run_end(run);
	*nr = run->nr_reports;
	floor = run->floor;
	/* Another task may be looking at the node. */
	kfree_rcu(run, rcu);

	*next = gpa_to_gfn(ctx.next);
	/*
	 * What it has reported is behind it: reporting the same again and again
	 * would be work for others, for which it does not pay.
	 */
	if (ret || *next > end || offset_in_page(ctx.next) || *next <= gfn ||
	    *next < min(floor, end)) {
		vprobe_count(vm, VPROBE_C_HELPER_ERRORS);
		return -EPROTO;
	}
	return 0;
}

/* Context: process. Nobody runs it any more. */
void vprobe_helper_free(struct vprobe_helper *helper)
{
	if (!helper)
		return;
	if (helper->prog)
		bpf_prog_put(helper->prog);
	kvfree(helper);
}

static struct vprobe_helper *helper_load(struct vprobe_set_helper *arg)
{
	struct vprobe_helper *helper = NULL;
	struct bpf_prog *prog;

	if (arg->layout_len > VPROBE_LAYOUT_MAX)
		return ERR_PTR(-E2BIG);
	if (!vprobe_should_fail(VPROBE_P_ALLOC_HELPER))
		helper = kvzalloc(struct_size(helper, layout, arg->layout_len),
				  GFP_KERNEL_ACCOUNT);
	if (!helper)
		return ERR_PTR(-ENOMEM);
	helper->layout_len = arg->layout_len;
	if (copy_from_user(helper->layout, u64_to_user_ptr(arg->layout),
			   arg->layout_len)) {
		vprobe_helper_free(helper);
		return ERR_PTR(-EFAULT);
	}
	prog = bpf_prog_get_type_dev(arg->prog_fd, BPF_PROG_TYPE_SYSCALL,
				     false);
	if (IS_ERR(prog)) {
		vprobe_helper_free(helper);
		return ERR_CAST(prog);
	}
	helper->prog = prog;
	if (prog->aux->max_ctx_offset > sizeof(struct vprobe_helper_ctx)) {
		vprobe_helper_free(helper);
		return ERR_PTR(-EINVAL);
	}
	return helper;
}

/*
 * When VMs lost their helper, for those that are detached and attached again while
 * their VMM lives, and for the next VM of the same VMM. Where two share a slot, the
 * older one counts as lost with the newer one: its guest may have to register again.
 */
#define LOST_BITS	8
static struct {
	const struct mm_struct *mm;	/* of the last one; an address, no more */
	u64 ns;
	u64 others_ns;			/* of those before it */
} lost[1 << LOST_BITS];
static DEFINE_SPINLOCK(lost_lock);

/* In an earlier attachment; 0: never. Context: any. */
u64 vprobe_lost_before(struct vprobe_vm *vm)
{
	unsigned int i = hash_ptr(vm->mm, LOST_BITS);
	u64 ns;

	spin_lock(&lost_lock);
	ns = lost[i].mm == vm->mm ? lost[i].ns : lost[i].others_ns;
	spin_unlock(&lost_lock);
	return ns;
}

/* What the guest has registered until now is void. Context: vm->lock. */
void vprobe_note_lost(struct vprobe_vm *vm)
{
	unsigned int i = hash_ptr(vm->mm, LOST_BITS);

	lockdep_assert_held(&vm->lock);
	vm->lost_ns = ktime_get_boottime_ns();
	spin_lock(&lost_lock);
	if (lost[i].mm != vm->mm)
		lost[i].others_ns = lost[i].ns;
	lost[i].mm = vm->mm;
	lost[i].ns = vm->lost_ns;
	spin_unlock(&lost_lock);
}

/* Context: pass_lock. */
void vprobe_drop_helper(struct vprobe_vm *vm)
{
	lockdep_assert_held(&vm->pass_lock);
	vprobe_helper_free(vm->helper);
	WRITE_ONCE(vm->helper, NULL);
	/* Nobody can tell any more. */
	WRITE_ONCE(vm->free_bytes, 0);
}

/**
 * vprobe_set_helper() - replace the helper and the layout, or remove them
 * @vm: the VM
 * @arg: see struct vprobe_set_helper
 *
 * Either all of it happens or nothing.
 *
 * Context: process.
 * Return: 0 or an errno, with @arg->reason set.
 */
int vprobe_set_helper(struct vprobe_vm *vm, struct vprobe_set_helper *arg)
{
	struct vprobe_helper *helper = NULL;
	int r;

	if (arg->prog_fd >= 0) {
		helper = helper_load(arg);
		if (IS_ERR(helper)) {
			arg->reason = PTR_ERR(helper) == -ENOMEM ?
					      VPROBE_REASON_NO_MEMORY :
					      VPROBE_REASON_HELPER_BAD;
			return PTR_ERR(helper);
		}
	}

	r = vprobe_lock_attached(vm, &arg->reason);
	if (r)
		goto out_free;
	if (helper && vm->quarantine_why[0]) {
		arg->reason = VPROBE_REASON_QUARANTINED;
		r = -EPERM;
		goto out_unlock;
	}
	/*
	 * The watches are where the old helper said, and a guest that registers
	 * anew may be another kernel in the same memory.
	 */
	r = vprobe_make_whole(vm);
	/*
	 * The fail-safe that a vCPU has just started would drop the new helper
	 * with the old one: the guest may ask again.
	 */
	if (!r && READ_ONCE(vm->failsafe))
		r = -EBUSY;
	if (r) {
		arg->reason = vprobe_fill_reason(r);
		goto out_unlock;
	}
	/* Either a reset sees the new helper, or this sees the reset. */
	spin_lock(&vm->lock);
	if (helper && vm->closed)
		r = -ESRCH;
	else if (helper && arg->as_of_ns && arg->as_of_ns <= vm->lost_ns)
		r = -ESTALE;
	else
		swap(vm->helper, helper);
	if (!r && !vm->helper)
		vprobe_note_lost(vm);
	spin_unlock(&vm->lock);
	if (r)
		arg->reason = r == -ESRCH ? VPROBE_REASON_DYING :
					    VPROBE_REASON_RESET;
out_unlock:
	mutex_unlock(&vm->pass_lock);
out_free:
	vprobe_helper_free(helper);
	return r;
}

static void set_quarantine(struct vprobe_vm *vm, const char *why)
{
	lockdep_assert_held(&vm->pass_lock);

	spin_lock(&vm->lock);
	strscpy_pad(vm->quarantine_why, why, sizeof(vm->quarantine_why));
	if (why[0])
		vprobe_note_lost(vm);
	spin_unlock(&vm->lock);
}

/**
 * vprobe_quarantine() - VPROBE_IOC_QUARANTINE
 * @vm: the VM
 * @arg: see struct vprobe_quarantine
 *
 * Everybody who sets, drops or asks a helper holds pass_lock, so all of it is
 * either before this or after:
 *
 * - a pass that runs ends for it; one that comes after finds the quarantine;
 * - a helper that is set before is dropped here, one after is refused;
 * - a fail-safe that runs meanwhile fills and drops as well, block by block
 *   whoever is first, and vCPUs that fault help it in slices, as ever;
 * - after a detach there is no VM, and the quarantine is gone with it.
 *
 * The helper goes first: it is not asked again even if there is no memory for
 * the holes now. Their watches are armed, so they come back as the guest wants
 * them.
 *
 * Context: process. Takes pass_lock, and vm->lock inside.
 * Return: 0; EINVAL; ENOENT; EINTR on a fatal signal; ENOMEM, EFAULT or EBUSY if
 * not everything could be given back, the quarantine is on all the same.
 */
int vprobe_quarantine(struct vprobe_vm *vm, struct vprobe_quarantine *arg)
{
	bool on = arg->flags & VPROBE_QUARANTINE_ON;
	int r;

	if (arg->flags & ~VPROBE_QUARANTINE_ON || arg->reserved ||
	    (on && (!arg->why[0] ||
		    strnlen(arg->why, sizeof(arg->why)) == sizeof(arg->why))))
		return -EINVAL;
	r = vprobe_lock_attached(vm, &arg->reason);
	if (r)
		return r;
	set_quarantine(vm, on ? arg->why : "");
	if (!on)
		goto out_unlock;
	vprobe_drop_helper(vm);
	r = vprobe_make_whole(vm);
	arg->reason = vprobe_fill_reason(r);
out_unlock:
	mutex_unlock(&vm->pass_lock);
	return r;
}
