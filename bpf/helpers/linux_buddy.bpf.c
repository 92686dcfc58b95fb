// SPDX-License-Identifier: GPL-2.0-only
/*
 * The helper of Linux guests: reports the free blocks of the buddy allocator.
 *
 * A free block is known by the struct page of its first page: page_type (or
 * _mapcount, in older kernels) holds the buddy marker, _refcount is zero and
 * private is the order. Struct pages live in the virtual memmap, so each is
 * found through the guest's own page tables; nothing but the top of those is
 * taken from the layout blob, hence memory hotplug and holes in the memmap
 * need no new registration.
 *
 * The host loads this with CAP_BPF alone. What that shapes:
 * - A variable may not be added to a pointer (the verifier cannot mask it
 *   against speculation), so fields are copied to the stack one by one with
 *   vprobe_read() instead of being looked up in a window.
 * - Every loop has a constant bound, and the verifier walks each iteration:
 *   a run ends after MAX_STEPS heads and says where the next one shall start.
 *
 * All that is read may change while it is being read, as the guest runs on.
 * That is fine: the host asks again once the metadata is watched, and what
 * this program reports in error hurts its own guest only.
 */
#include <linux/types.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>

#include "vprobe_helper.h"
#include "linux_buddy.h"

#define PAGE_SHIFT	12
#define PTE_PRESENT	(1ULL << 0)
#define PTE_HUGE	(1ULL << 7)
#define SHIFT_PGD	48	/* of five levels */
#define SHIFT_P4D	39
#define SHIFT_PUD	30
#define SHIFT_PMD	21
#define SHIFT_PTE	12
#define MAX_STEPS	512
#define ORDER_MAX	18	/* 1 GiB; keeps shifts in range */

extern int vprobe_read(void *dst, __u32 dst__sz, __u64 gpa) __ksym;
extern const __u8 *vprobe_layout(const __u32 rdonly_buf_size) __ksym;
extern int vprobe_report(__u64 gpa, __u32 order, __u64 watch_gpa) __ksym;

/* A leaf of the guest's page tables: the last that was looked up. */
struct xlat {
	__u64 va;	/* first virtual address */
	__u64 span;	/* bytes - 1 */
	__u64 gpa;	/* guest-physical address of @va */
};

/* All ones if @err is a negative errno, else zero; without a branch. */
static __always_inline __u64 failed(int err)
{
	return (__s64)err >> 63;
}

/* The entry for @va of the page table at @table; 0 if it cannot be read. */
static __always_inline __u64 entry_of(__u64 table, __u64 va, int shift)
{
	__u64 entry = 0;
	int err;

	err = vprobe_read(&entry, sizeof(entry),
			  table + ((va >> shift) & 511) * sizeof(entry));
	return entry & ~failed(err);
}

/*
 * Looks @va up. Where it is not mapped, returns false with @span set to that
 * of the absent entry; the rest of @x is of no use then.
 */
static __always_inline int translate(const struct linux_buddy_layout *l,
				     __u64 va, struct xlat *x)
{
	__u64 mask = l->phys_mask, entry = l->pgd;
	int shift;

	if (l->levels == 5) {
		shift = SHIFT_PGD;
		entry = entry_of(entry & mask, va, shift);
		if (!(entry & PTE_PRESENT))
			goto absent;
	}
	shift = SHIFT_P4D;
	entry = entry_of(entry & mask, va, shift);
	if (!(entry & PTE_PRESENT))
		goto absent;
	shift = SHIFT_PUD;
	entry = entry_of(entry & mask, va, shift);
	if (!(entry & PTE_PRESENT))
		goto absent;
	if (entry & PTE_HUGE)
		goto leaf;
	shift = SHIFT_PMD;
	entry = entry_of(entry & mask, va, shift);
	if (!(entry & PTE_PRESENT))
		goto absent;
	if (entry & PTE_HUGE)
		goto leaf;
	shift = SHIFT_PTE;
	entry = entry_of(entry & mask, va, shift);
	if (!(entry & PTE_PRESENT))
		goto absent;
leaf:
	x->span = (1ULL << shift) - 1;
	x->va = va & ~x->span;
	/* Bit 12 of a huge entry is an attribute (PAT), not address. */
	x->gpa = entry & mask & ~x->span;
	return 1;
absent:
	x->span = (1ULL << shift) - 1;
	return 0;
}

SEC("syscall")
int linux_buddy(struct vprobe_helper_ctx *ctx)
{
	const struct linux_buddy_layout *l;
	struct xlat x = { .va = 1 };	/* no struct page is there */
	__u64 pfn, end, unit;
	__u32 min_order;
	int i;

	l = (const void *)vprobe_layout(sizeof(*l));
	if (!l || l->magic != LINUX_BUDDY_MAGIC || !l->page_size)
		return -EPROTO;
	min_order = ctx->min_order;
	if (min_order < l->watch_order)
		min_order = l->watch_order;
	if (min_order > ORDER_MAX || l->max_order > ORDER_MAX)
		return -EPROTO;

	/* Only heads of this alignment are worth a look. */
	unit = 1ULL << min_order;
	pfn = ((ctx->start >> PAGE_SHIFT) + unit - 1) & ~(unit - 1);
	end = ctx->end >> PAGE_SHIFT;

	for (i = 0; i < MAX_STEPS && pfn < end; i++) {
		__u64 va = l->vmemmap + pfn * l->page_size;
		__u64 order = 0, pages = unit, head;
		__u32 type = 0, refs = 0;
		int err;

		if (va - x.va > x.span && !translate(l, va, &x)) {
			/* No memmap: on to the first head behind the gap. */
			pages = (x.span - (va & x.span)) / l->page_size + unit;
			pages &= ~(unit - 1);
			x.va = 1;
			goto next;
		}
		head = x.gpa + (va - x.va);
		err = vprobe_read(&type, sizeof(type), head + l->off_type);
		if (((type & l->buddy_mask) ^ l->buddy_value) | failed(err))
			goto next;
		err = vprobe_read(&refs, sizeof(refs), head + l->off_refcount);
		err |= vprobe_read(&order, sizeof(order), head + l->off_order);
		if (refs | failed(err))
			goto next;
		if (order < min_order || order > l->max_order)
			goto next;
		if (pfn & ((1ULL << order) - 1))
			goto next;
		pages = 1ULL << order;
		err = vprobe_report(pfn << PAGE_SHIFT, order, head);
		if (err == -ENOSPC)
			break;
next:
		pfn += pages;
	}

	ctx->next = pfn < end ? pfn << PAGE_SHIFT : ctx->end;
	return 0;
}

char _license[] SEC("license") = "GPL";
