// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memfd behind guest memory: find it, read it, drop it, populate it.
 *
 * Everything goes through the page cache of the file, by file offset, and not
 * through the VMM's addresses: nothing faults, and nothing that the VMM does
 * to its address space changes what a block is. IOAS mappings are found by
 * user address, as iommufd knows no other.
 */
#include <linux/cpuset.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/types.h>
#include <linux/userfaultfd_k.h>

/* Does not include what it needs. */
#include <linux/falloc.h>

#include "vprobe.h"

/* How long to wait for the VMM's mmap_lock, in jiffies */
#define MMAP_TIMEOUT	(HZ / 4)
/* How many VMAs behind memslots are looked at; one may be behind many */
#define BACKING_VISITS	65536

static bool vma_is_usable(struct vm_area_struct *vma)
{
	if (!vma->vm_file || !(vma->vm_flags & VM_SHARED) ||
	    !(vma->vm_flags & VM_WRITE))
		return false;
	/* A fill could not pin there, or takes the place of what is on its way. */
	if (userfaultfd_armed(vma))
		return false;
	return is_vm_hugetlb_page(vma) || shmem_mapping(vma->vm_file->f_mapping);
}

/* The same memory twice in the guest: only its first address is used. */
static bool is_alias(const struct vprobe_backings *b, struct file *file,
		     pgoff_t pgoff, unsigned long npages, unsigned long uaddr)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		const struct vprobe_backing *m = &b->b[i];

		if (file_inode(m->file) == file_inode(file) &&
		    pgoff < m->pgoff + m->npages && m->pgoff < pgoff + npages)
			return true;
		if (uaddr < m->uaddr + (m->npages << PAGE_SHIFT) &&
		    m->uaddr < uaddr + (npages << PAGE_SHIFT))
			return true;
	}
	return false;
}

static int backings_add(struct vprobe_backings **pb, gfn_t gfn,
			unsigned long uaddr, unsigned long end,
			struct vm_area_struct *vma)
{
	pgoff_t pgoff = linear_page_index(vma, uaddr);
	unsigned long npages = (end - uaddr) >> PAGE_SHIFT;
	struct vprobe_backings *b = *pb;
	struct vprobe_backing *new;

	if (is_alias(b, vma->vm_file, pgoff, npages, uaddr))
		return 0;
	if (b->nr == b->max) {
		unsigned int max = b->max * 2;

		b = kvrealloc(b, struct_size(b, b, max), GFP_KERNEL_ACCOUNT);
		if (!b)
			return -ENOMEM;
		b->max = max;
		*pb = b;
	}
	new = &b->b[b->nr++];
	new->gfn = gfn;
	new->npages = npages;
	new->uaddr = uaddr;
	new->file = get_file(vma->vm_file);
	new->pgoff = pgoff;
	b->bytes += end - uaddr;
	return 0;
}

/* Context: mmap_lock for read. */
static int backings_add_slot(struct vprobe_vm *vm, struct vprobe_backings **pb,
			     gfn_t base, unsigned long uaddr, unsigned long end)
{
	VMA_ITERATOR(vmi, vm->mm, uaddr);
	struct vm_area_struct *vma;
	int r;

	for_each_vma_range(vmi, vma, end) {
		unsigned long from = max(uaddr, vma->vm_start);
		unsigned long to = min(end, vma->vm_end);

		/* How many there are is up to the VMM, and each is compared with all. */
		if ((*pb)->nr == VPROBE_BACKINGS_MAX ||
		    ++(*pb)->visits > BACKING_VISITS)
			return 0;
		cond_resched();
		if (!vma_is_usable(vma))
			continue;
		r = backings_add(pb, base + ((from - uaddr) >> PAGE_SHIFT),
				 from, to, vma);
		if (r)
			return r;
	}
	return 0;
}

/**
 * vprobe_lock_mmap() - take a VMM's mmap_lock, but do not wait for ever
 * @mm: of the VMM, with a reference
 * @write: for writing: to be released with up_write(), or, after
 *	mm_lock_seqcount_begin(), with mmap_write_unlock()
 * @timeout: jiffies
 *
 * Who holds it may wait for user memory, with other readers and a writer queued.
 *
 * Context: process, may sleep.
 * Return: 0, -EBUSY after @timeout, -EINTR on a fatal signal.
 */
int vprobe_lock_mmap(struct mm_struct *mm, bool write, unsigned long timeout)
{
	unsigned long end = jiffies + timeout;

	while (!(write ? down_write_trylock(&mm->mmap_lock) :
			 mmap_read_trylock(mm))) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, end))
			return -EBUSY;
		schedule_timeout_killable(1);
	}
	return 0;
}

/* Slots in the order of their gfn, which is the order of the slots' tree. */
static int backings_add_slots(struct vprobe_vm *vm, struct vprobe_backings **pb)
{
	struct kvm_memory_slot *slot;
	struct rb_node *node;
	struct kvm_memslots *slots;
	int idx, r;

	r = vprobe_lock_mmap(vm->mm, false, MMAP_TIMEOUT);
	if (r)
		return r;
	idx = srcu_read_lock(&vm->kvm->srcu);
	slots = __kvm_memslots(vm->kvm, 0);
	for (node = rb_first(&slots->gfn_tree); node && !r;
	     node = rb_next(node)) {
		slot = container_of(node, struct kvm_memory_slot,
				    gfn_node[slots->node_idx]);
		if (slot->flags & (KVM_MEMSLOT_INVALID | KVM_MEM_READONLY |
				   KVM_MEM_GUEST_MEMFD))
			continue;
		r = backings_add_slot(vm, pb, slot->base_gfn,
				      slot->userspace_addr,
				      slot->userspace_addr +
					      (slot->npages << PAGE_SHIFT));
		if (!r && fatal_signal_pending(current))
			r = -EINTR;
		cond_resched();
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
	mmap_read_unlock(vm->mm);
	return r;
}

static void backings_put(struct vprobe_backings *b)
{
	unsigned int i;

	if (!b)
		return;
	for (i = 0; i < b->nr; i++)
		fput(b->b[i].file);
	kvfree(b);
}

/**
 * vprobe_backings_get() - list the guest memory that can be reclaimed
 * @vm: the VM
 *
 * Context: process. Takes mmap_lock, kvm->srcu.
 * Return: the list, sorted by gfn, or an ERR_PTR: ESRCH if the VMM is exiting,
 * ENOMEM, EBUSY if mmap_lock was not to be had, EINTR on a fatal signal. It is a
 * snapshot; vm->region_gen tells if it is still true. Of what is in more than
 * VPROBE_BACKINGS_MAX pieces the rest is left alone.
 */
struct vprobe_backings *vprobe_backings_get(struct vprobe_vm *vm)
{
	struct vprobe_backings *b = NULL;
	int r;

	if (!vprobe_should_fail(VPROBE_P_ALLOC_BACKING))
		b = kvzalloc(struct_size(b, b, 16), GFP_KERNEL_ACCOUNT);
	if (!b)
		return ERR_PTR(-ENOMEM);
	b->max = 16;

	r = -ESRCH;
	if (mmget_not_zero(vm->mm)) {
		r = backings_add_slots(vm, &b);
		mmput(vm->mm);
	}
	if (r) {
		backings_put(b);
		return ERR_PTR(r);
	}
	return b;
}

/*
 * The list is there during a pass only: it holds the files, and memory that the VMM
 * unplugs would stay in the host. What else is asked about it is noted.
 *
 * Context: process, pass_lock, or nobody else knows the VM.
 */
void vprobe_backings_set(struct vprobe_vm *vm, struct vprobe_backings *b)
{
	unsigned int i;

	vm->backings = b;
	/* A VMM may have none for a moment, see vm_check_ram(). */
	if (!b->nr)
		return;
	vm->has_ram[false] = false;
	vm->has_ram[true] = false;
	for (i = 0; i < b->nr; i++)
		vm->has_ram[is_file_hugepages(b->b[i].file)] = true;
	WRITE_ONCE(vm->ram_bytes, b->bytes);
}

/* Context: as vprobe_backings_set(). */
void vprobe_backings_drop(struct vprobe_vm *vm)
{
	backings_put(vm->backings);
	vm->backings = NULL;
}

/* The piece that @gfn is in, or NULL. Context: any. */
const struct vprobe_backing *
vprobe_backing_at(const struct vprobe_backings *b, gfn_t gfn)
{
	unsigned int lo = 0, hi = b->nr;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		const struct vprobe_backing *m = &b->b[mid];

		if (gfn < m->gfn)
			hi = mid;
		else if (gfn - m->gfn >= m->npages)
			lo = mid + 1;
		else
			return m;
	}
	return NULL;
}

/**
 * vprobe_backing_folio() - the folio of a resident guest page
 * @b: the VM's memory
 * @gfn: which page
 * @addr: out: the kernel's address of the page
 *
 * Never allocates or reads anything in: a page that is not there is not there. Nor
 * is one that has not been cleared yet, whose contents may be anybody's, or one
 * that the hardware has failed, which nobody may touch.
 *
 * Context: any.
 * Return: the folio with a reference, or NULL.
 */
struct folio *vprobe_backing_folio(const struct vprobe_backings *b, gfn_t gfn,
				   void **addr)
{
	const struct vprobe_backing *m = vprobe_backing_at(b, gfn);
	struct folio *folio;
	struct page *page;
	pgoff_t index;

	if (!m)
		return NULL;
	index = m->pgoff + (gfn - m->gfn);
	folio = filemap_get_folio(m->file->f_mapping, index);
	if (IS_ERR(folio))
		return NULL;
	page = folio_file_page(folio, index);
	if (!folio_test_uptodate(folio) || is_page_hwpoison(page)) {
		folio_put(folio);
		return NULL;
	}
	*addr = page_address(page);
	return folio;
}

/* Ever; of what is not hugetlb, and of what is. */
static atomic64_t freed_pages[2];

static bool is_hugetlb(struct vprobe_blk *blk)
{
	return is_file_hugepages(blk->file);
}

/* Whether a hole has a page again, which somebody else must have touched. */
bool vprobe_backing_present(struct vprobe_blk *blk)
{
	loff_t pos = (loff_t)blk->pgoff << PAGE_SHIFT;

	return filemap_range_has_page(blk->file->f_mapping, pos,
				      pos + vprobe_blk_bytes(blk) - 1);
}

typedef int (*folio_fn)(struct vprobe_blk *blk, struct folio *folio);

static int visit_locked(struct vprobe_blk *blk, struct folio *folio, folio_fn fn)
{
	int r = 0;

	folio_lock(folio);
	if (folio->mapping == blk->file->f_mapping)
		r = fn(blk, folio);
	folio_unlock(folio);
	return r;
}

/* Call @fn for each folio of the block, locked or not. Stops on an error. */
static int visit_folios(struct vprobe_blk *blk, bool lock, folio_fn fn)
{
	struct address_space *mapping = blk->file->f_mapping;
	pgoff_t last = blk->pgoff + vprobe_blk_pages(blk) - 1;
	pgoff_t index = blk->pgoff;
	struct folio_batch batch;
	unsigned int i;
	int r = 0;

	folio_batch_init(&batch);
	while (!r && filemap_get_folios(mapping, &index, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch) && !r; i++)
			r = lock ? visit_locked(blk, batch.folios[i], fn) :
				   fn(blk, batch.folios[i]);
		folio_batch_release(&batch);
		cond_resched();
	}
	return r;
}

/* Of a large one only some pages may have failed, see folio_fits(). */
static bool has_failed(struct folio *folio)
{
	return !folio_test_large(folio) && folio_test_hwpoison(folio);
}

/* What does not depend on who has pinned it. */
static int folio_fits(struct vprobe_blk *blk, struct folio *folio)
{
	if (folio->index < blk->pgoff ||
	    folio_next_index(folio) > blk->pgoff + vprobe_blk_pages(blk))
		return -ERANGE;
	/* One of its pages has failed: the others' allocator would not know which. */
	if (folio_test_large(folio) && folio_contain_hwpoisoned_page(folio))
		return -EBUSY;
	return 0;
}

static int check_folio(struct vprobe_blk *blk, struct folio *folio)
{
	int r = folio_fits(blk, folio);

	return r ?: folio_maybe_dma_pinned(folio) ? -EBUSY : 0;
}

/**
 * vprobe_backing_fits() - could this memory be dropped if nobody had pinned it?
 * @blk: a block that the caller owns
 *
 * Asked before devices lose it: with a page that has failed it could not be pinned
 * for them again.
 *
 * Context: process. Takes no locks, so it may be different a moment later.
 * Return: 0, EBUSY or ERANGE, as vprobe_backing_check().
 */
int vprobe_backing_fits(struct vprobe_blk *blk)
{
	return visit_folios(blk, false, folio_fits);
}

/**
 * vprobe_backing_check() - may this memory be dropped?
 * @blk: a block that the caller owns and that iommufd has unpinned
 *
 * Context: process. Takes folio locks.
 * Return: 0; EBUSY if a folio is still pinned by somebody, or is large and in part
 * poisoned (hwpoison), ERANGE if a folio reaches out of the block.
 */
int vprobe_backing_check(struct vprobe_blk *blk)
{
	if (vprobe_should_fail(VPROBE_P_PIN_CHECK))
		return -EBUSY;
	return visit_folios(blk, true, check_folio);
}

/*
 * With the folio locked and unmapped nobody can pin it through a mapping any
 * more: fast GUP finds no PTE, slow GUP has to fault, and a fault needs the
 * folio lock. So this is the check that I4 rests on; the one before it only
 * saves the trouble. (memfd_pin_folios(), that is udmabuf, takes folios from
 * the page cache without a lock and can slip in between check and removal.)
 */
static int drop_folio(struct vprobe_blk *blk, struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	bool failed = has_failed(folio);
	int r;

	/*
	 * Where a page that has failed was mapped, there is an entry that says so. It has
	 * to go, as nobody could pin there what a fill brings, and only goes with all
	 * private copies of this page.
	 */
	if (folio_mapped(folio) || failed)
		unmap_mapping_pages(mapping, folio->index, folio_nr_pages(folio),
				    failed);
	r = check_folio(blk, folio);
	if (r)
		return r;
	folio_wait_writeback(folio);
	return generic_error_remove_folio(mapping, folio);
}

/* What has failed does not go back to the allocator. */
static int drop_and_count(struct vprobe_blk *blk, struct folio *folio)
{
	bool failed = has_failed(folio);
	int r = drop_folio(blk, folio);

	if (!r && !failed)
		atomic64_add(folio_nr_pages(folio), &freed_pages[false]);
	return r;
}

/*
 * What was allocated for this fill is clean; what somebody wrote is dirty once nobody
 * maps it. A VMM may have written to a hole: it resets a VM, say, and puts firmware
 * into RAM before its vCPUs' registers.
 */
static int drop_unwritten(struct vprobe_blk *blk, struct folio *folio)
{
	if (folio_mapped(folio))
		unmap_mapping_pages(folio->mapping, folio->index,
				    folio_nr_pages(folio), false);
	return folio_test_dirty(folio) ? 0 : drop_folio(blk, folio);
}

static int punch_hugetlb(struct vprobe_blk *blk)
{
	return vfs_fallocate(blk->file,
			     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     (loff_t)blk->pgoff << PAGE_SHIFT,
			     vprobe_blk_bytes(blk));
}

/*
 * shmem finds out by itself that pages are gone, with the next call for this file:
 * until then they count for its mount and for vm_committed_as, and others go
 * without.
 */
static void count_dropped(struct file *file)
{
	struct kstat stat;

	vfs_getattr_nosec(&file->f_path, &stat, STATX_BLOCKS, 0);
}

/**
 * vprobe_backing_drop() - free the host memory of a block
 * @blk: a block that the caller owns and that iommufd has unpinned
 *
 * Zaps every mapping, KVM's through its MMU notifier. On an error some of the
 * memory may have been dropped: the block is free, so its contents do not
 * matter, but it has to be filled. What was swapped out, which devices rule out,
 * stays so, and comes back with a fill: whatever drops it does not look at pins.
 *
 * For hugetlbfs the pins are checked before the punch only, without a lock
 * that keeps new ones away; there is none that a module could take.
 *
 * Context: process. Takes the inode lock and folio locks.
 * Return: 0, or as vprobe_backing_check().
 */
int vprobe_backing_drop(struct vprobe_blk *blk)
{
	struct address_space *mapping = blk->file->f_mapping;
	int r;

	if (vprobe_should_fail(VPROBE_P_DROP))
		return -EBUSY;

	if (is_hugetlb(blk)) {
		bool present = vprobe_backing_present(blk);

		/* Unmaps by itself, under locks that we may not hold here. */
		r = visit_folios(blk, true, check_folio);
		if (!r)
			r = punch_hugetlb(blk);
		if (!r && present)
			atomic64_add(vprobe_blk_pages(blk), &freed_pages[true]);
		return r;
	}

	/* One flush for all of it; the folios then are mostly unmapped. */
	unmap_mapping_pages(mapping, blk->pgoff, vprobe_blk_pages(blk), false);

	r = visit_folios(blk, true, drop_and_count);
	count_dropped(blk->file);
	return r;
}

/*
 * A page that has failed since the block was looked at, or before a fill that undoes:
 * nobody could pin it. If it does not go the fill fails later.
 */
static bool drop_failed(struct vprobe_blk *blk, struct folio *folio)
{
	return has_failed(folio) && !visit_locked(blk, folio, drop_folio);
}

static int populate_shmem(struct vprobe_blk *blk)
{
	struct address_space *mapping = blk->file->f_mapping;
	/* Fail rather than have somebody killed; the vCPU can wait. */
	gfp_t gfp = mapping_gfp_mask(mapping) | __GFP_NORETRY | __GFP_NOWARN;
	pgoff_t end = blk->pgoff + vprobe_blk_pages(blk);
	pgoff_t index = blk->pgoff;

	while (index < end) {
		struct folio *folio = shmem_read_folio_gfp(mapping, index, gfp);

		if (IS_ERR(folio))
			return PTR_ERR(folio);
		if (!drop_failed(blk, folio))
			index = folio_next_index(folio);
		folio_put(folio);
		cond_resched();
	}
	return 0;
}

static int populate_hugetlb(struct vprobe_blk *blk)
{
	return vfs_fallocate(blk->file, 0, (loff_t)blk->pgoff << PAGE_SHIFT,
			     vprobe_blk_bytes(blk));
}

/*
 * hugetlbfs gives up for any signal. The VMM's own threads cannot always go and
 * handle it first; all others can.
 */
static int populate_hugetlb_for_vmm(struct vprobe_blk *blk)
{
	unsigned int flags = no_notify_signal_save();
	sigset_t block, old;
	int r;

	siginitsetinv(&block, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &block, &old);
	r = populate_hugetlb(blk);
	sigprocmask(SIG_SETMASK, &old, NULL);
	no_notify_signal_restore(flags);
	return r;
}

static int populate(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	if (!is_hugetlb(blk))
		return populate_shmem(blk);
	return current->mm == vm->mm ? populate_hugetlb_for_vmm(blk) :
				       populate_hugetlb(blk);
}

/* No memory, no huge page, a full mount, a quota: something can come free. */
static bool is_shortage(int r)
{
	return r == -ENOMEM || r == -ENOSPC || r == -EDQUOT;
}

/* Memory that can be pinned, which is not in ZONE_MOVABLE, and that we may use */
static bool node_counts(int node)
{
	enum zone_type z;

	if (!node_isset(node, cpuset_current_mems_allowed))
		return false;
	for (z = 0; z < ZONE_MOVABLE; z++)
		if (populated_zone(&NODE_DATA(node)->node_zones[z]))
			return true;
	return false;
}

/* The reserve is for this, and not for cgroups or mounts at their limits. */
static bool host_is_short(void)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_NORETRY | __GFP_NOWARN | __GFP_THISNODE |
		    __GFP_NOMEMALLOC;
	struct page *page;
	int node;

	/* Which node it has to be is up to the file's memory policy. */
	for_each_node_state(node, N_MEMORY) {
		if (!node_counts(node))
			continue;
		page = alloc_pages_node(node, gfp, 0);
		if (!page)
			return true;
		__free_page(page);
	}
	return false;
}

/* 4 KiB pages that came free, ever: of hugetlbfs, to its pool, or all others. */
u64 vprobe_freed_pages(bool hugetlb)
{
	return atomic64_read(&freed_pages[hugetlb]);
}

/* Context: process, pass_lock. Whether some guest memory is of that kind. */
bool vprobe_backing_has(struct vprobe_vm *vm, bool hugetlb)
{
	lockdep_assert_held(&vm->pass_lock);

	return vm->has_ram[hugetlb];
}

/**
 * vprobe_backing_short() - is there no memory for a block?
 * @blk: a block that could not be populated
 * @hugetlb: out: it needs pages of hugetlbfs
 *
 * Other VMs can help if the host or the pool of huge pages is empty, but not if
 * the VM's memory cgroup is at its limit.
 *
 * Context: process.
 */
bool vprobe_backing_short(struct vprobe_blk *blk, bool *hugetlb)
{
	*hugetlb = is_hugetlb(blk);
	return *hugetlb || host_is_short();
}

/*
 * A cgroup, or a mount, is at its limit. If it stayed there while somebody waits, the
 * VMM's next page would be one too many, and the OOM killer's reason to kill it. If
 * the host is short, each page that is there is one less to be found.
 */
static void drop_part(struct vprobe_blk *blk)
{
	if (is_hugetlb(blk) || host_is_short())
		return;
	visit_folios(blk, true, drop_unwritten);
	count_dropped(blk->file);
}

/**
 * vprobe_backing_populate() - give a block zeroed host memory again
 * @vm: the VM
 * @blk: a block that the caller owns
 *
 * What is there is kept. The memory is charged to the VM's cgroup and follows
 * the NUMA policy of the file, which hugetlbfs has none of: there it is that of the
 * task. Does not invoke the OOM killer. The reserve is used
 * when there is no other memory.
 *
 * Context: process.
 * Return: 0, ENOMEM, EAGAIN if a signal came, or EFAULT if the VMM has seen to it that
 * the file can have no memory there; part of it may be populated then.
 */
int vprobe_backing_populate(struct vprobe_vm *vm, struct vprobe_blk *blk)
{
	/* What is left for emergencies is not for guests. */
	unsigned int emergency = current->flags & PF_MEMALLOC;
	struct mem_cgroup *memcg, *old;
	unsigned int pin;
	int r;

	if (vprobe_should_fail(VPROBE_P_POPULATE))
		return -ENOMEM;

	current->flags &= ~PF_MEMALLOC;
	memcg = get_mem_cgroup_from_mm(vm->mm);
	old = set_active_memcg(memcg);
	/* What devices will pin has to be where it can stay. */
	pin = memalloc_pin_save();
	r = populate(vm, blk);
	if (is_shortage(r) && host_is_short() &&
	    vprobe_reserve_use(vprobe_blk_pages(blk)))
		r = populate(vm, blk);
	memalloc_pin_restore(pin);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	current->flags |= emergency;

	if (is_shortage(r))
		drop_part(blk);
	if (!r)
		return 0;
	if (r == -EINTR)
		return -EAGAIN;
	return is_shortage(r) ? -ENOMEM : -EFAULT;
}

/**
 * vprobe_backing_hold() - from here on nobody punches holes into the file
 * @blk: a block that the caller owns
 *
 * The VMM might, between populating and pinning. Whoever pins then would allocate,
 * and not as vprobe_backing_populate() does. hugetlbfs has no lock for this that is
 * not taken inside mmap_lock as well; its pages come from the pool, not from what is
 * kept for emergencies.
 *
 * Context: process. Takes the inode lock, shared, until vprobe_backing_let_go().
 * Return: 0, or EAGAIN if somebody has the lock.
 */
int vprobe_backing_hold(struct vprobe_blk *blk)
{
	/* A write() has it while it touches user memory: never wait. */
	if (!is_hugetlb(blk) && !inode_trylock_shared(file_inode(blk->file)))
		return -EAGAIN;
	return 0;
}

void vprobe_backing_let_go(struct vprobe_blk *blk)
{
	if (!is_hugetlb(blk))
		inode_unlock_shared(file_inode(blk->file));
}
