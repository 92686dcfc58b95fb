// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual machines: attach, detach, and what becomes of one when its VMM dies.
 *
 * An attached VM holds a reference on the KVM VM, on the iommufds, and on the
 * module. It stays attached until somebody detaches it or the VMM's address
 * space goes away, whichever comes first; nobody has to keep /dev/vprobe open.
 * The VMM's death is noticed by an MMU notifier, which mostly runs before the
 * VMM's files are closed; the rest is done by a work, as a notifier cannot
 * unregister itself. A VMM that closes the VM and lives on: vprobe_track_close().
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "vprobe.h"

static DEFINE_MUTEX(vprobe_vms_lock);
/* Written with vprobe_vms_lock, read with it or RCU */
static DEFINE_XARRAY_ALLOC1(vprobe_vms);
static u32 next_id = 1;				/* vprobe_vms_lock */
static unsigned int nr_vms;			/* vprobe_vms_lock */
static u64 generation;				/* vprobe_vms_lock */
struct workqueue_struct *vprobe_wq;
DECLARE_WAIT_QUEUE_HEAD(vprobe_generation_wq);

static void generation_bump(void)
{
	lockdep_assert_held(&vprobe_vms_lock);
	WRITE_ONCE(generation, generation + 1);
	wake_up_all(&vprobe_generation_wq);
}

/* Grows when a VM was attached or detached. Context: any. */
u64 vprobe_generation(void)
{
	return READ_ONCE(generation);
}

unsigned int vprobe_nr_vms(void)
{
	return READ_ONCE(nr_vms);
}

/* Fill @ids with at most @room ids. Returns how many VMs there are. */
unsigned int vprobe_vm_ids(u64 *ids, unsigned int room)
{
	unsigned int nr = 0;
	u64 id = 0;

	mutex_lock(&vprobe_vms_lock);
	while ((id = vprobe_vm_id_after(id))) {
		if (nr < room)
			ids[nr] = id;
		nr++;
	}
	mutex_unlock(&vprobe_vms_lock);
	return nr;
}

/* How long to wait for those who map memory before a work does it; jiffies */
#define FREE_TIMEOUT	(HZ / 4)
/* The same where it fails then */
#define ATTACH_TIMEOUT	(2 * HZ)
/* And for a VM without RAM to have some */
#define RAM_TIMEOUT	HZ

static int vm_destroy_punchers(struct vprobe_vm *vm, long timeout)
{
	unsigned int i;
	int r;

	for (i = 0; i < vm->nr_iommufds; i++) {
		if (IS_ERR_OR_NULL(vm->puncher[i]))
			continue;
		r = iommufd_puncher_destroy(vm->puncher[i], timeout);
		if (r)
			return r;
		vm->puncher[i] = NULL;
	}
	return 0;
}

static void vm_free_rest(struct vprobe_vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nr_iommufds; i++)
		iommufd_ctx_put(vm->ictx[i]);
	vprobe_helper_free(vm->helper);
	kvfree(vm->reports);
	kvfree(vm->again);
	kfree(vm->windows);
	xa_destroy(&vm->was_fired);
	WARN_ON(!xa_empty(&vm->blocks) || !xa_empty(&vm->watches));
	if (vm->mm)
		mmdrop(vm->mm);
	if (vm->kvm)
		kvm_put_kvm(vm->kvm);
	put_pid(vm->pid);
	/* Policies look at VMs without a reference. */
	kfree_rcu(vm, rcu);
}

static void vm_free_work(struct work_struct *work)
{
	struct vprobe_vm *vm = container_of(work, struct vprobe_vm, free_work);

	/* Nobody kills us. */
	WARN_ON(vm_destroy_punchers(vm, MAX_SCHEDULE_TIMEOUT));
	vm_free_rest(vm);
	module_put(THIS_MODULE);
}

/* Context: process. The caller may be anybody, and must not wait for the VMM. */
static void vm_free(struct vprobe_vm *vm)
{
	if (!vm_destroy_punchers(vm, FREE_TIMEOUT)) {
		vm_free_rest(vm);
		return;
	}
	__module_get(THIS_MODULE);
	queue_work(vprobe_wq, &vm->free_work);
}

void vprobe_vm_put(struct vprobe_vm *vm)
{
	if (refcount_dec_and_test(&vm->ref)) {
		vm_free(vm);
		module_put(THIS_MODULE);
	}
}

static bool is_published(struct vprobe_vm *vm)
{
	/* With vm_publish(). */
	return smp_load_acquire(&vm->published);
}

/* The VM with this id, without a reference, or NULL. Context: any, RCU. */
struct vprobe_vm *vprobe_vm_peek(u64 id)
{
	struct vprobe_vm *vm = id > U32_MAX ? NULL : xa_load(&vprobe_vms, id);

	return vm && is_published(vm) ? vm : NULL;
}

/* The next larger id of a VM, or 0. Context: any. */
u64 vprobe_vm_id_after(u64 id)
{
	struct vprobe_vm *vm;
	unsigned long index = id;

	rcu_read_lock();
	do {
		vm = xa_find_after(&vprobe_vms, &index, U32_MAX, XA_PRESENT);
	} while (vm && !is_published(vm));
	rcu_read_unlock();
	return vm ? index : 0;
}

/* The VM with this id, with a reference, or NULL. Context: any. */
struct vprobe_vm *vprobe_vm_get(u64 id)
{
	struct vprobe_vm *vm;

	rcu_read_lock();
	vm = vprobe_vm_peek(id);
	if (vm && !refcount_inc_not_zero(&vm->ref))
		vm = NULL;
	rcu_read_unlock();
	return vm;
}

/* The VM with the next larger id, which is stored, with a reference, or NULL. */
struct vprobe_vm *vprobe_vm_next(u64 *id)
{
	struct vprobe_vm *vm = NULL;

	while (!vm && (*id = vprobe_vm_id_after(*id)))
		vm = vprobe_vm_get(*id);
	return vm;
}

/* KVM wants the VMM's own mm, so this runs in a kernel thread that borrows it. */
struct register_work {
	struct work_struct work;
	struct vprobe_vm *vm;
	int r;
};

/*
 * KVM allocates for each page of each slot, and at the limit of its memory cgroup the
 * VMM would be killed for it: see if there is room. Context: the memcg is active.
 */
static int try_track_memory(struct kvm *kvm)
{
	unsigned long npages = max(kvm->nr_memslot_pages, 1UL);
	void *p;

	/* It keeps what it has allocated for an earlier attach. */
	if (smp_load_acquire(&kvm->arch.external_write_tracking_enabled))
		return 0;
	p = __vmalloc(array_size(npages, sizeof(unsigned short)),
		      GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	vfree(p);
	return p ? 0 : -ENOMEM;
}

static void register_track(struct work_struct *work)
{
	struct register_work *rw = container_of(work, struct register_work,
						work);
	struct vprobe_vm *vm = rw->vm;
	struct mem_cgroup *memcg, *old;
	int idx;

	kthread_use_mm(vm->mm);
	/* What it allocates is not the host's to pay. */
	memcg = get_mem_cgroup_from_mm(vm->mm);
	old = set_active_memcg(memcg);
	/* Over memory.high this takes seconds. */
	rw->r = try_track_memory(vm->kvm);
	if (!rw->r) {
		/* It walks the memslots, and takes no lock that lets it. */
		idx = srcu_read_lock(&vm->kvm->srcu);
		rw->r = kvm_page_track_register_notifier(vm->kvm, &vm->track);
		srcu_read_unlock(&vm->kvm->srcu, idx);
	}
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	kthread_unuse_mm(vm->mm);
}

static int vm_register_track(struct vprobe_vm *vm)
{
	struct register_work rw = { .vm = vm };

	if (vprobe_should_fail(VPROBE_P_REGISTER))
		return -ENOMEM;
	vm->track.track_fault = vprobe_track_fault;
	vm->track.track_reset = vprobe_track_reset;
	vm->track.track_close = vprobe_track_close;
	vm->track.track_write = vprobe_track_write;
	vm->track.track_remove_region = vprobe_track_remove_region;
	INIT_WORK_ONSTACK(&rw.work, register_track);
	queue_work(vprobe_wq, &rw.work);
	flush_work(&rw.work);
	destroy_work_on_stack(&rw.work);
	return rw.r;
}

/* Have the VM detached, as soon as that can be. */
void vprobe_queue_release(struct vprobe_vm *vm)
{
	refcount_inc(&vm->ref);
	if (!queue_work(vprobe_wq, &vm->release_work))
		refcount_dec(&vm->ref);
}

static void vm_mm_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct vprobe_vm *vm = container_of(mn, struct vprobe_vm, mn);

	/* Unregistering calls this as well, on behalf of a live mm. */
	if (READ_ONCE(vm->detached))
		return;
	WRITE_ONCE(vm->dying, true);
	vprobe_queue_release(vm);
}

static const struct mmu_notifier_ops vm_mn_ops = {
	.release = vm_mm_release,
};

/* Give everything back; may be tried again if that fails. */
static int vm_give_back(struct vprobe_vm *vm)
{
	int r;

	if (!READ_ONCE(vm->dying))
		return vprobe_make_whole(vm);
	r = vprobe_forget_all(vm, FREE_TIMEOUT);
	return r == -EAGAIN ? -EBUSY : r;
}

/**
 * vprobe_lock_pass() - take pass_lock, and have the running pass end for it
 * @vm: the VM
 *
 * Context: process.
 * Return: 0, or EINTR on a fatal signal.
 */
int vprobe_lock_pass(struct vprobe_vm *vm)
{
	int r;

	atomic_inc(&vm->waiters);
	r = mutex_lock_killable(&vm->pass_lock);
	atomic_dec(&vm->waiters);
	return r;
}

/* The same, if it is not detached: ENOENT with a reason, and no lock, if it is. */
int vprobe_lock_attached(struct vprobe_vm *vm, u32 *reason)
{
	int r = vprobe_lock_pass(vm);

	if (r || !vm->detached)
		return r;
	mutex_unlock(&vm->pass_lock);
	*reason = VPROBE_REASON_NO_VM;
	return -ENOENT;
}

/* Queue a work that holds a reference on the VM, and puts it at its end. */
void vprobe_queue_work(struct vprobe_vm *vm, struct delayed_work *work,
		       unsigned long delay)
{
	refcount_inc(&vm->ref);
	if (!queue_delayed_work(vprobe_wq, work, delay))
		refcount_dec(&vm->ref);
}

static void vm_unregister(struct vprobe_vm *vm)
{
	mmu_notifier_unregister(&vm->mn, vm->mm);
	kvm_page_track_unregister_notifier(vm->kvm, &vm->track);
}

/* Context: process. On an error the VM stays attached, and nothing is lost. */
static int vm_detach(struct vprobe_vm *vm, u32 *reason)
{
	int r;

	r = vprobe_lock_attached(vm, reason);
	if (r)
		return r;
	r = vm_give_back(vm);
	if (r) {
		*reason = vprobe_fill_reason(r);
		goto out_unlock;
	}
	/*
	 * No pass, so no new blocks, from here on. The helper goes with the VM:
	 * without one before, it would look as if the guest's kernel had gone.
	 */
	WRITE_ONCE(vm->detached, true);
	vprobe_policy_stop(vm);
out_unlock:
	mutex_unlock(&vm->pass_lock);
	if (r)
		return r;

	vm_unregister(vm);
	mutex_lock(&vprobe_vms_lock);
	xa_erase(&vprobe_vms, vm->id);
	WRITE_ONCE(nr_vms, nr_vms - 1);
	generation_bump();
	mutex_unlock(&vprobe_vms_lock);
	vprobe_vm_put(vm);
	return 0;
}

static void vm_release(struct work_struct *work)
{
	struct vprobe_vm *vm = container_of(work, struct vprobe_vm,
					    release_work);
	u32 reason;
	int r;

	r = vm_detach(vm, &reason);
	/*
	 * Another process has the VMM's iommufd, and maps memory of its own. If the
	 * VMM lives on it may be the one that does, and there may be no memory.
	 */
	if (r && r != -ENOENT) {
		msleep(VPROBE_SLICE_MS);
		if (queue_work(vprobe_wq, work))
			return;
	}
	/* Otherwise somebody else has detached it meanwhile. */
	vprobe_vm_put(vm);
}

/* @file: out: for the caller to put, or NULL */
static int vm_take_kvm(struct vprobe_vm *vm, struct vprobe_attach *arg,
		       struct file **file)
{
	struct fd f = fdget(arg->kvm_fd);
	int r = 0;

	if (!fd_file(f) || !file_is_kvm(fd_file(f))) {
		arg->reason = VPROBE_REASON_NOT_KVM;
		r = -EINVAL;
	} else {
		*file = get_file(fd_file(f));
		vm->kvm = (*file)->private_data;
		if (!kvm_get_kvm_safe(vm->kvm)) {
			vm->kvm = NULL;
			arg->reason = VPROBE_REASON_DYING;
			r = -ESRCH;
		}
	}
	fdput(f);
	if (r)
		return r;
	mmgrab(vm->kvm->mm);
	vm->mm = vm->kvm->mm;
	if (vm->kvm->arch.vm_type != KVM_X86_DEFAULT_VM ||
	    vm->kvm->arch.has_protected_state) {
		arg->reason = VPROBE_REASON_CONFIDENTIAL;
		return -EOPNOTSUPP;
	}
	return 0;
}

/* Two descriptors may be of the same iommufd. */
static bool has_ictx(struct vprobe_vm *vm, struct iommufd_ctx *ictx)
{
	unsigned int i;

	for (i = 0; i < vm->nr_iommufds; i++)
		if (vm->ictx[i] == ictx)
			return true;
	return false;
}

static int vm_take_iommufds(struct vprobe_vm *vm, struct vprobe_attach *arg)
{
	bool absorb = !(arg->flags & VPROBE_ATTACH_STRAY_FAULT);
	struct iommufd_ctx *ictx;
	unsigned int n, i;
	long r;

	for (n = 0; n < arg->nr_iommufds; n++) {
		ictx = iommufd_ctx_from_fd(arg->iommufds[n]);
		if (IS_ERR(ictx)) {
			arg->reason = VPROBE_REASON_NOT_IOMMUFD;
			return -EINVAL;
		}
		if (has_ictx(vm, ictx)) {
			iommufd_ctx_put(ictx);
			continue;
		}
		i = vm->nr_iommufds++;
		vm->ictx[i] = ictx;
		vm->puncher[i] = vprobe_should_fail(VPROBE_P_PUNCHER) ?
			ERR_PTR(-ENOMEM) :
			iommufd_puncher_create(vm->ictx[i], vm->mm,
					       vm->granule_shift, absorb,
					       ATTACH_TIMEOUT);
		if (IS_ERR(vm->puncher[i])) {
			r = PTR_ERR(vm->puncher[i]);
			arg->reason = vprobe_fill_reason(r);
			if (r == -EDOM)
				arg->reason = VPROBE_REASON_IOPTE_UNBOUNDED;
			return r;
		}
	}
	return 0;
}

/*
 * While firmware sets up what is read-only, the VMM removes a memslot and puts another
 * one in its place: for that moment a VM may have no RAM.
 */
static int vm_check_ram(struct vprobe_vm *vm, struct vprobe_attach *arg)
{
	unsigned long end = jiffies + RAM_TIMEOUT;
	struct vprobe_backings *b;

	do {
		b = vprobe_backings_get(vm);
		if (IS_ERR(b)) {
			arg->reason = vprobe_pass_reason(PTR_ERR(b));
			return PTR_ERR(b);
		}
		vprobe_backings_set(vm, b);
		vprobe_backings_drop(vm);
		if (vm->ram_bytes >= (1ULL << vm->granule_shift))
			return 0;
	} while (time_before(jiffies, end) && !schedule_timeout_killable(1));
	arg->reason = VPROBE_REASON_RAM_NOT_MEMFD;
	return -EOPNOTSUPP;
}

static struct vprobe_vm *vm_alloc(struct vprobe_attach *arg)
{
	struct vprobe_vm *vm;

	if (vprobe_should_fail(VPROBE_P_ALLOC_VM))
		return NULL;
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return NULL;
	refcount_set(&vm->ref, 1);
	mutex_init(&vm->pass_lock);
	spin_lock_init(&vm->lock);
	xa_init(&vm->blocks);
	xa_init(&vm->watches);
	/* A guest makes it grow. */
	xa_init_flags(&vm->was_fired, XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&vm->wq);
	INIT_WORK(&vm->release_work, vm_release);
	INIT_WORK(&vm->free_work, vm_free_work);
	INIT_WORK(&vm->squeeze_work, vprobe_squeeze_work);
	INIT_DELAYED_WORK(&vm->failsafe_work, vprobe_failsafe_work);
	INIT_DELAYED_WORK(&vm->policy_work, vprobe_policy_work);
	vm->mn.ops = &vm_mn_ops;
	/* Whoever reads it may be in another PID namespace than who attached. */
	vm->pid = find_get_pid(arg->pid);
	vm->cid = arg->cid;
	vm->flags = arg->flags;
	vm->granule_shift = arg->granule_shift ?: 21;
	vm->fill_timeout_ms = arg->fill_timeout_ms ?: 10000;
	strscpy(vm->name, arg->name, sizeof(vm->name));
	vm->reports = kvcalloc(VPROBE_REPORTS_MAX, sizeof(*vm->reports),
			       GFP_KERNEL_ACCOUNT);
	vm->again = kvcalloc(VPROBE_REPORTS_MAX, sizeof(*vm->again),
			     GFP_KERNEL_ACCOUNT);
	vm->windows = kcalloc(VPROBE_WINDOWS_MAX, sizeof(*vm->windows),
			      GFP_KERNEL_ACCOUNT);
	if (!vm->reports || !vm->again || !vm->windows) {
		vm_free(vm);
		return NULL;
	}
	return vm;
}

static bool is_attached(struct kvm *kvm)
{
	struct vprobe_vm *vm;
	unsigned long index;

	xa_for_each(&vprobe_vms, index, vm)
		if (vm->kvm == kvm)
			return true;
	return false;
}

/* Get an id, which keeps others from attaching the same VM. */
static int vm_reserve_id(struct vprobe_vm *vm, struct vprobe_attach *arg)
{
	u32 id;
	int r;

	mutex_lock(&vprobe_vms_lock);
	if (is_attached(vm->kvm)) {
		arg->reason = VPROBE_REASON_ATTACHED;
		r = -EEXIST;
	} else {
		/* Not before: what came before this attachment is over. */
		vm->lost_ns = vprobe_lost_before(vm);
		/* Not used again soon: an operator may hold an old one. */
		r = xa_alloc_cyclic(&vprobe_vms, &id, vm, XA_LIMIT(1, S32_MAX),
				    &next_id, GFP_KERNEL);
		if (r < 0)
			arg->reason = VPROBE_REASON_NO_MEMORY;
		else
			vm->id = id;
	}
	mutex_unlock(&vprobe_vms_lock);
	return min(r, 0);
}

/* As mmu_notifier_register(), which waits for mmap_lock without a limit. */
static int vm_register_mn(struct vprobe_vm *vm)
{
	int r;

	r = vprobe_lock_mmap(vm->mm, true, ATTACH_TIMEOUT);
	if (r)
		return r;
	mm_lock_seqcount_begin(vm->mm);
	r = __mmu_notifier_register(&vm->mn, vm->mm);
	mmap_write_unlock(vm->mm);
	return r;
}

/* Let KVM and the VMM's mm call us. */
static int vm_register(struct vprobe_vm *vm, struct vprobe_attach *arg)
{
	int r;

	if (!mmget_not_zero(vm->mm)) {
		arg->reason = VPROBE_REASON_DYING;
		return -ESRCH;
	}
	r = vm_register_track(vm);
	if (!r) {
		r = vm_register_mn(vm);
		if (r)
			kvm_page_track_unregister_notifier(vm->kvm, &vm->track);
	}
	if (r)
		arg->reason = vprobe_fill_reason(r);
	return r;
}

/*
 * With a reference on the VM's mm until it is published: the VMM cannot die, and
 * start the release of a VM that is half attached, before.
 */
static int vm_publish(struct vprobe_vm *vm, struct vprobe_attach *arg)
{
	/* Somebody may detach the VM as soon as it is published. */
	struct mm_struct *mm = vm->mm;
	int r;

	r = vm_reserve_id(vm, arg);
	if (r)
		return r;
	r = vm_register(vm, arg);

	mutex_lock(&vprobe_vms_lock);
	if (r) {
		xa_erase(&vprobe_vms, vm->id);
	} else {
		__module_get(THIS_MODULE);
		/* With is_published(). */
		smp_store_release(&vm->published, true);
		WRITE_ONCE(nr_vms, nr_vms + 1);
		generation_bump();
		vprobe_policy_start(vm);
		arg->id = vm->id;
	}
	mutex_unlock(&vprobe_vms_lock);
	if (r != -ESRCH)
		mmput_async(mm);
	return r;
}

static int check_attach(struct vprobe_attach *arg)
{
	unsigned int shift = arg->granule_shift ?: 21;

	if (arg->flags & ~VPROBE_ATTACH_STRAY_FAULT || arg->reserved ||
	    arg->nr_iommufds > VPROBE_MAX_IOMMUFDS ||
	    arg->fill_timeout_ms > INT_MAX)
		return -EINVAL;
	if (arg->fill_timeout_ms &&
	    arg->fill_timeout_ms < VPROBE_FILL_TIMEOUT_MIN)
		return -EINVAL;
	if (shift < PAGE_SHIFT + VPROBE_ORDER_MIN ||
	    shift > PAGE_SHIFT + VPROBE_ORDER_MAX) {
		arg->reason = VPROBE_REASON_GRANULE;
		return -EINVAL;
	}
	return 0;
}

/**
 * vprobe_attach() - VPROBE_IOC_ATTACH
 * @arg: see struct vprobe_attach
 *
 * Context: process.
 * Return: 0, or an errno with @arg->reason set.
 */
int vprobe_attach(struct vprobe_attach *arg)
{
	struct file *file = NULL;
	struct vprobe_vm *vm;
	int r;

	r = check_attach(arg);
	if (r)
		return r;
	vm = vm_alloc(arg);
	if (!vm) {
		arg->reason = VPROBE_REASON_NO_MEMORY;
		return -ENOMEM;
	}
	r = vm_take_kvm(vm, arg, &file);
	if (!r)
		r = vm_check_ram(vm, arg);
	if (!r)
		r = vm_take_iommufds(vm, arg);
	if (!r)
		r = vm_publish(vm, arg);
	if (r)
		vm_free(vm);
	/* Until here nobody could close the VM, see vprobe_track_close(). */
	if (file)
		fput(file);
	return r;
}

/**
 * vprobe_detach() - VPROBE_IOC_DETACH
 * @arg: see struct vprobe_detach
 *
 * Context: process.
 * Return: 0; ENOENT; ENOMEM or EBUSY if not everything could be given back, the
 * VM then stays attached.
 */
int vprobe_detach(struct vprobe_detach *arg)
{
	struct vprobe_vm *vm = vprobe_vm_get(arg->id);
	int r;

	if (!vm) {
		arg->reason = VPROBE_REASON_NO_VM;
		return -ENOENT;
	}
	r = vm_detach(vm, &arg->reason);
	vprobe_vm_put(vm);
	return r;
}

int vprobe_vm_init(void)
{
	int r;

	vprobe_wq = alloc_workqueue("vprobe", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!vprobe_wq)
		return -ENOMEM;
	r = vprobe_squeeze_init();
	if (r)
		destroy_workqueue(vprobe_wq);
	return r;
}

/* No VM is attached: each of them holds the module. */
void vprobe_vm_exit(void)
{
	vprobe_squeeze_exit();
	destroy_workqueue(vprobe_wq);
	xa_destroy(&vprobe_vms);
}
