/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layout blob of the Linux helper: what the injector found out about its
 * own kernel, and all that linux_buddy.bpf.c knows about it.
 *
 * The host stores and hands back these bytes without looking at them.
 */
#ifndef VPROBE_LINUX_BUDDY_H
#define VPROBE_LINUX_BUDDY_H

#include <linux/types.h>

#define LINUX_BUDDY_MAGIC	0x3159444455424c56ULL	/* "VLBUDDY1" */

/**
 * struct linux_buddy_layout - where a Linux guest keeps its page metadata
 * @magic: LINUX_BUDDY_MAGIC; a changed structure gets another one
 * @pgd: guest-physical address of swapper_pg_dir
 * @phys_mask: address bits of a page table entry; software, NX, protection
 *	key and encryption bits are not among them
 * @vmemmap: virtual address of the struct page of pfn 0
 * @page_size: sizeof(struct page) in bytes, a multiple of 8
 * @levels: 4 or 5 levels of page tables
 * @watch_order: smallest order whose struct pages fill whole 4 KiB pages; the
 *	metadata of smaller blocks shares a page with somebody else's
 * @max_order: largest order of a free block (inclusive)
 * @off_refcount: offset of page._refcount, 4 bytes wide
 * @off_type: offset of page._mapcount or page.page_type, 4 bytes wide
 * @off_order: offset of page.private, 8 bytes wide: the order of a free block
 * @buddy_value: what the word at @off_type holds in the head of a free block
 * @buddy_mask: the bits of that word that count
 * @reserved: 0
 */
struct linux_buddy_layout {
	__u64 magic;
	__u64 pgd;
	__u64 phys_mask;
	__u64 vmemmap;
	__u32 page_size;
	__u32 levels;
	__u32 watch_order;
	__u32 max_order;
	__u32 off_refcount;
	__u32 off_type;
	__u32 off_order;
	__u32 buddy_value;
	__u32 buddy_mask;
	__u32 reserved;
};

#endif
