// SPDX-License-Identifier: GPL-2.0-only
/*
 * The Linux helper, compiled natively, against guests made up here: page
 * tables of four and five levels, leaves of every size, gaps, free blocks of
 * every order, and struct pages that only look like free blocks.
 */
#include "../helpers/linux_buddy.bpf.c"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEM_SIZE	(16ULL << 20)	/* of the guest that is readable */
#define VMEMMAP		0xffffea0000000000ULL
#define BUDDY		0xf0000000U
#define OFF_TYPE	48
#define OFF_REFS	52
#define OFF_ORDER	40
#define NX		(1ULL << 63)
#define SOFT		(7ULL << 9)
#define PAT_HUGE	(1ULL << 12)

struct report {
	__u64 gpa, watch;
	__u32 order;
};

static __u8 mem[MEM_SIZE];
static struct linux_buddy_layout layout;
static __u32 layout_len;
static struct report reports[4096];
static unsigned int nr_reports, room, reads;
static __u64 tables;		/* gpa of the next unused page table */
static const char *test;
static int failures;
/* Reading there fails, and leaves @junk behind. */
static __u64 bad_gpa, junk;

int vprobe_read(void *dst, __u32 dst__sz, __u64 gpa)
{
	reads++;
	if (bad_gpa && gpa == bad_gpa) {
		memcpy(dst, &junk, dst__sz);
		return -EFAULT;
	}
	if (gpa >= MEM_SIZE || dst__sz > MEM_SIZE - gpa)
		return -EFAULT;
	if ((gpa & 4095) + dst__sz > 4096)
		return -EINVAL;
	memcpy(dst, mem + gpa, dst__sz);
	return 0;
}

const __u8 *vprobe_layout(const __u32 rdonly_buf_size)
{
	return rdonly_buf_size <= layout_len ? (const __u8 *)&layout : NULL;
}

int vprobe_report(__u64 gpa, __u32 order, __u64 watch_gpa)
{
	if (nr_reports == room)
		return -ENOSPC;
	reports[nr_reports++] = (struct report){ gpa, watch_gpa, order };
	return 0;
}

static void __attribute__((format(printf, 2, 3)))
expect(int good, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return;
	failures++;
	printf("not ok: %s: ", test);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void begin(const char *name, int levels)
{
	test = name;
	memset(mem, 0, sizeof(mem));
	nr_reports = 0;
	room = 4096;
	bad_gpa = 0;
	tables = 0x1000;
	layout_len = sizeof(layout);
	layout = (struct linux_buddy_layout) {
		.magic = LINUX_BUDDY_MAGIC,
		.pgd = tables,
		.phys_mask = 0x000ffffffffff000ULL,
		.vmemmap = VMEMMAP,
		.page_size = 64,
		.levels = levels,
		.watch_order = 6,
		.max_order = 10,
		.off_refcount = OFF_REFS,
		.off_type = OFF_TYPE,
		.off_order = OFF_ORDER,
		.buddy_value = BUDDY,
		.buddy_mask = 0xff000000,
	};
	tables += 4096;
}

static __u64 *pte(__u64 table, __u64 va, int shift)
{
	return (__u64 *)(mem + table) + ((va >> shift) & 511);
}

/* Map @va to @gpa by a leaf of 2^@leaf bytes. */
static void map(__u64 va, __u64 gpa, int leaf)
{
	int shift = layout.levels == 5 ? SHIFT_PGD : SHIFT_P4D;
	__u64 table = layout.pgd, *e;

	for (; shift > leaf; shift -= 9) {
		e = pte(table, va, shift);
		if (!*e) {
			*e = tables | PTE_PRESENT | NX | SOFT;
			tables += 4096;
		}
		table = *e & layout.phys_mask;
	}
	e = pte(table, va, shift);
	*e = gpa | PTE_PRESENT | NX | SOFT;
	if (leaf > SHIFT_PTE)
		*e |= PTE_HUGE | PAT_HUGE;
}

/* A struct page at @gpa of guest memory. */
static void set_page(__u64 gpa, __u32 type, __u32 refs, __u64 order)
{
	memcpy(mem + gpa + OFF_TYPE, &type, sizeof(type));
	memcpy(mem + gpa + OFF_REFS, &refs, sizeof(refs));
	memcpy(mem + gpa + OFF_ORDER, &order, sizeof(order));
}

/* All runs over [start, end), as the host does them; returns their number. */
static int ask(__u64 start, __u64 end, __u32 min_order)
{
	struct vprobe_helper_ctx ctx = { .end = end, .min_order = min_order };
	int runs = 0, err;

	for (ctx.next = start; ctx.next < end; runs++) {
		ctx.start = ctx.next;
		ctx.next = 0;
		err = linux_buddy(&ctx);
		expect(!err, "run %d returned %d", runs, err);
		if (err)
			break;
		expect(ctx.next > ctx.start, "run %d stays at %#llx", runs,
		       ctx.start);
		if (ctx.next <= ctx.start || ctx.next > end)
			break;
	}
	return runs;
}

static void expect_report(unsigned int i, __u64 gpa, __u32 order, __u64 watch)
{
	expect(i < nr_reports, "report %u of block %#llx is missing", i, gpa);
	if (i >= nr_reports)
		return;
	expect(reports[i].gpa == gpa && reports[i].order == order &&
	       reports[i].watch == watch,
	       "report %u is %#llx order %u watch %#llx, not %#llx order %u watch %#llx",
	       i, reports[i].gpa, reports[i].order, reports[i].watch,
	       gpa, order, watch);
}

static void expect_reports(unsigned int nr)
{
	expect(nr_reports == nr, "%u reports instead of %u", nr_reports, nr);
}

#define MB	(1ULL << 20)

/* The memmap of the first 128 MiB, at 8 MiB of guest memory, by @leaf. */
static void map_memmap(int leaf)
{
	__u64 off;

	for (off = 0; off < 2 * MB; off += 1ULL << leaf)
		map(VMEMMAP + off, 8 * MB + off, leaf);
}

static void set_free(__u64 pfn, __u32 order)
{
	set_page(8 * MB + pfn * 64, BUDDY, 0, order);
}

static void test_orders(int levels, int leaf)
{
	begin("every order is found", levels);
	map_memmap(leaf);
	set_free(0, 10);
	set_free(1024, 9);
	set_free(1536, 8);
	set_free(1792, 7);
	set_free(1920, 6);
	set_free(1984, 5);
	set_free(4096, 10);
	ask(0, 128 * MB, 4);
	expect_reports(6);
	expect_report(0, 0, 10, 8 * MB);
	expect_report(1, 1024 << 12, 9, 8 * MB + 1024 * 64);
	expect_report(2, 1536 << 12, 8, 8 * MB + 1536 * 64);
	expect_report(3, 1792 << 12, 7, 8 * MB + 1792 * 64);
	expect_report(4, 1920 << 12, 6, 8 * MB + 1920 * 64);
	expect_report(5, 4096 << 12, 10, 8 * MB + 4096 * 64);

	nr_reports = 0;
	ask(0, 128 * MB, 9);
	expect_reports(3);
	nr_reports = 0;
	ask(1024 << 12, 4096 << 12, 9);
	expect_reports(1);
	expect_report(0, 1024 << 12, 9, 8 * MB + 1024 * 64);
}

static void test_giant_leaf(int levels)
{
	begin("a memmap mapped by 1 GiB", levels);
	layout.vmemmap = 0xffffea0000000000ULL + 8 * MB;
	map(VMEMMAP, 0, SHIFT_PUD);
	set_free(1024, 10);
	ask(0, 64 * MB, 9);
	expect_reports(1);
	expect_report(0, 4 * MB, 10, 8 * MB + 1024 * 64);
}

static void test_lookalikes(void)
{
	begin("what only looks free is not reported", 4);
	map_memmap(SHIFT_PMD);
	set_page(8 * MB + 0, BUDDY, 1, 10);		/* referenced */
	set_page(8 * MB + 2048 * 64, BUDDY, 0, 11);	/* order too large */
	set_page(8 * MB + 1024 * 64, BUDDY, 0, ~0ULL);
	set_page(8 * MB + 8192 * 64, BUDDY, 0, 64);	/* shifts to order 0 */
	set_page(8 * MB + 3584 * 64, BUDDY, 0, 10);	/* misaligned */
	set_page(8 * MB + 4096 * 64, ~0U, 0, 10);	/* no type */
	set_page(8 * MB + 5120 * 64, 0xf1000000, 0, 10); /* another type */
	set_page(8 * MB + 6144 * 64, BUDDY, 0, 8);	/* small */
	set_page(8 * MB + 7168 * 64, BUDDY | 7, 0, 9);	/* free: masked out */
	ask(0, 128 * MB, 9);
	expect_reports(1);
	expect_report(0, 28 * MB, 9, 8 * MB + 7168 * 64);
}

/* A failed read is no answer, whatever it leaves behind. */
static void test_failed_reads(void)
{
	begin("what cannot be read is not reported", 4);
	map_memmap(SHIFT_PMD);
	set_free(0, 10);
	bad_gpa = 8 * MB + OFF_TYPE;
	junk = BUDDY;
	ask(0, 4 * MB, 9);
	bad_gpa = 8 * MB + OFF_REFS;
	junk = 0;
	ask(0, 4 * MB, 9);
	bad_gpa = 8 * MB + OFF_ORDER;
	junk = 10;
	ask(0, 4 * MB, 9);
	expect_reports(0);

	/* An entry of the lowest table. */
	begin("a page table that cannot be read maps nothing", 4);
	map_memmap(SHIFT_PMD);
	set_free(0, 10);
	set_free(16384, 10);
	bad_gpa = tables - 4096;
	junk = 8 * MB | PTE_PRESENT | PTE_HUGE;
	ask(0, 64 * MB, 9);
	expect_reports(0);
}

/* What is free right behind a gap that ends inside of a unit is found. */
static void test_gap_ends(void)
{
	begin("the first head behind a gap is found", 4);
	/* The memmap of 256 KiB each: nothing, pages 64 to 127, nothing. */
	map(VMEMMAP + 4096, 8 * MB + 4096, SHIFT_PTE);
	map(VMEMMAP + 3 * 4096, 8 * MB + 3 * 4096, SHIFT_PTE);
	map(VMEMMAP + 32768, 8 * MB + 32768, SHIFT_PTE);
	set_free(64, 6);
	set_free(192, 6);
	set_free(512, 9);
	ask(0, 4 * MB, 6);
	expect_reports(3);
	expect_report(0, 64 << 12, 6, 8 * MB + 4096);
	expect_report(1, 192 << 12, 6, 8 * MB + 3 * 4096);
	expect_report(2, 512 << 12, 9, 8 * MB + 32768);
	/* Page 64 is free, but no unit of order 9 begins there. */
	nr_reports = 0;
	set_free(64, 9);
	set_free(192, 9);
	ask(0, 4 * MB, 9);
	expect_reports(1);
	expect_report(0, 512 << 12, 9, 8 * MB + 32768);
}

/* Old kernels: ~PG_buddy, and every bit counts. */
static void test_old_marker(void)
{
	begin("the marker of old kernels", 4);
	map_memmap(SHIFT_PMD);
	layout.buddy_value = (__u32)-129;
	layout.buddy_mask = ~0U;
	set_page(8 * MB, (__u32)-129, 0, 10);
	set_page(8 * MB + 1024 * 64, (__u32)-1, 0, 10);
	ask(0, 64 * MB, 9);
	expect_reports(1);
	expect_report(0, 0, 10, 8 * MB);
}

static void test_gaps(int levels)
{
	unsigned int before;
	int runs;

	begin("gaps of the memmap are skipped", levels);
	map(VMEMMAP, 8 * MB, SHIFT_PTE);	/* pfn 0 to 63 */
	set_page(8 * MB, BUDDY, 0, 6);
	/* The memmap of 64 GiB and on: far behind, elsewhere in memory. */
	map(VMEMMAP + (64ULL << 30) / 64, 12 * MB, SHIFT_PMD);
	set_page(12 * MB + 512 * 64, BUDDY, 0, 9);
	before = reads;
	runs = ask(0, 65ULL << 30, 6);
	expect_reports(2);
	expect_report(0, 0, 6, 8 * MB);
	expect_report(1, (64ULL << 30) + 2 * MB, 9, 12 * MB + 512 * 64);
	/* 2^20 units of 64 pages; only those of 128 MiB have a memmap. */
	expect(runs < 12, "%d runs for a gap", runs);
	expect(reads - before < 10000, "%u reads for a gap", reads - before);

	nr_reports = 0;
	ask(1ULL << 46, (1ULL << 46) + (1ULL << 40), 9);
	expect_reports(0);
}

/* Struct pages of 80 bytes: 256 of them fill five pages of metadata. */
static void test_odd_size(void)
{
	begin("struct pages of another size", 4);
	map_memmap(SHIFT_PMD);
	layout.page_size = 80;
	layout.watch_order = 8;
	set_page(8 * MB + 256 * 80, BUDDY, 0, 8);
	set_page(8 * MB + 512 * 80, BUDDY, 0, 7);
	set_page(8 * MB + 1024 * 80, BUDDY, 0, 10);
	ask(0, 32 * MB, 6);
	expect_reports(2);
	expect_report(0, MB, 8, 8 * MB + 256 * 80);
	expect_report(1, 4 * MB, 10, 8 * MB + 1024 * 80);
}

static void test_full(void)
{
	unsigned int i;
	struct vprobe_helper_ctx ctx = { .end = 128 * MB, .min_order = 9 };

	begin("results that are full end the run at the right place", 4);
	map_memmap(SHIFT_PMD);
	for (i = 0; i < 64; i++)
		set_free(i * 512, 9);
	room = 10;
	expect(!linux_buddy(&ctx), "the run failed");
	expect_reports(10);
	expect(ctx.next == 20 * MB, "next is %#llx", ctx.next);
	for (i = 10; i < 64; i += 9) {
		ctx.start = ctx.next;
		nr_reports = 0;
		expect(!linux_buddy(&ctx), "the run failed");
	}
	expect(ctx.next == ctx.end, "never got to the end");
}

static void test_bad_layout(void)
{
	struct vprobe_helper_ctx ctx = { .end = 128 * MB, .min_order = 9 };

	begin("a layout that does not fit is refused", 4);
	map_memmap(SHIFT_PMD);
	set_free(0, 10);
	layout_len = sizeof(layout) - 8;
	expect(linux_buddy(&ctx) == -EPROTO, "short layout taken");
	layout_len = sizeof(layout);
	layout.magic++;
	expect(linux_buddy(&ctx) == -EPROTO, "wrong magic taken");
	layout.magic--;
	layout.page_size = 0;
	expect(linux_buddy(&ctx) == -EPROTO, "struct page of 0 bytes taken");
	layout.page_size = 64;
	layout.max_order = 64;
	expect(linux_buddy(&ctx) == -EPROTO, "order 64 taken");
	expect_reports(0);
}

int main(void)
{
	int levels;

	for (levels = 4; levels <= 5; levels++) {
		test_orders(levels, SHIFT_PTE);
		test_orders(levels, SHIFT_PMD);
		test_giant_leaf(levels);
		test_gaps(levels);
	}
	test_lookalikes();
	test_failed_reads();
	test_gap_ends();
	test_old_marker();
	test_odd_size();
	test_full();
	test_bad_layout();
	if (!failures)
		printf("ok: linux_buddy helper on made-up guests\n");
	return !!failures;
}
