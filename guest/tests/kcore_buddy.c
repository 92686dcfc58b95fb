// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs in a guest: finds the layout as the injector does, runs the helper's
 * source over this guest's own memory through /proc/kcore, and compares the
 * free blocks it reports with /proc/buddyinfo, order by order. The guest has
 * to be idle; as it never quite is, the two may disagree a few times.
 */
#include "../../bpf/helpers/linux_buddy.bpf.c"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#undef PAGE_SHIFT
#include "inject.h"

#define ORDERS		(ORDER_MAX + 1)
#define TRIES		20

static struct kcore *kc;
static struct guest_facts facts;
static unsigned long seen[ORDERS], reads, runs;
static int bad;

int refuse(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	return code;
}

void verbose(const char *fmt, ...)
{
	(void)fmt;
}

int vprobe_read(void *dst, __u32 dst__sz, __u64 gpa)
{
	reads++;
	return kcore_read_phys(kc, gpa, dst, dst__sz) ? -EFAULT : 0;
}

const __u8 *vprobe_layout(const __u32 rdonly_buf_size)
{
	return rdonly_buf_size <= sizeof(facts.layout) ?
		(const __u8 *)&facts.layout : NULL;
}

int vprobe_report(__u64 gpa, __u32 order, __u64 watch_gpa)
{
	if (order >= ORDERS || gpa & ((4096ULL << order) - 1) ||
	    watch_gpa & 4095) {
		printf("bad report: %#llx order %u watch %#llx\n", gpa, order,
		       watch_gpa);
		bad = 1;
		return -EINVAL;
	}
	seen[order]++;
	return 0;
}

/* The end of the last range of RAM. */
static __u64 ram_end(void)
{
	unsigned long long from, to, end = 0;
	char line[256];
	FILE *f = fopen("/proc/iomem", "r");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, ": System RAM") &&
		    sscanf(line, "%llx-%llx", &from, &to) == 2 && to >= end)
			end = to + 1;
	if (f)
		fclose(f);
	return end;
}

static void buddyinfo(unsigned long counts[ORDERS])
{
	FILE *f = fopen("/proc/buddyinfo", "r");
	char line[512], *p, *end;
	unsigned int order;

	memset(counts, 0, ORDERS * sizeof(*counts));
	while (f && fgets(line, sizeof(line), f)) {
		p = strstr(line, "zone");
		if (!p)
			continue;
		p += strcspn(p + 5, " ") + 5;
		p += strspn(p, " ");
		p += strcspn(p, " ");	/* the zone's name */
		for (order = 0; order < ORDERS; order++, p = end) {
			unsigned long n = strtoul(p, &end, 10);

			if (end == p)
				break;
			counts[order] += n;
		}
	}
	if (f)
		fclose(f);
}

static int scan(__u64 end, __u32 min_order)
{
	struct vprobe_helper_ctx ctx = { .end = end, .min_order = min_order };
	int err;

	memset(seen, 0, sizeof(seen));
	reads = 0;
	for (runs = 0; ctx.next < end; runs++) {
		ctx.start = ctx.next;
		err = linux_buddy(&ctx);
		if (err || ctx.next <= ctx.start) {
			printf("run from %#llx: error %d, next %#llx\n",
			       ctx.start, err, ctx.next);
			return -1;
		}
	}
	return 0;
}

static int compare(__u64 end, __u32 min_order)
{
	unsigned long before[ORDERS], after[ORDERS];
	unsigned int order;
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		usleep(100000);
		buddyinfo(before);
		if (scan(end, min_order) || bad)
			return 1;
		buddyinfo(after);
		for (order = min_order; order < ORDERS; order++)
			if (seen[order] != before[order] ||
			    seen[order] != after[order])
				break;
		if (order == ORDERS)
			break;
	}
	printf("min_order %u: %lu runs, %lu reads, %d tries\n", min_order,
	       runs, reads, tries + 1);
	for (order = min_order; order <= facts.layout.max_order; order++)
		printf("  order %2u: helper %5lu, buddyinfo %5lu\n", order,
		       seen[order], after[order]);
	return tries == TRIES;
}

int main(void)
{
	unsigned int orders[] = { 6, 9, 10 }, i, failed = 0;
	__u64 end;

	if (kcore_open(&kc) || layout_find(kc, &facts))
		return 1;
	end = ram_end();
	for (i = 0; i < ARRAY_SIZE(orders); i++)
		failed |= compare(end, orders[i]);
	printf("%s: helper and buddyinfo of %s\n", failed ? "not ok" : "ok",
	       facts.release);
	return failed;
}
