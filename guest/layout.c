// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the layout of this kernel's page metadata in vmcoreinfo, checks it
 * against BTF where there is BTF, and against the kernel's own page tables.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#define BTF_PATH		"/sys/kernel/btf/vmlinux"
#define START_KERNEL_MAP	0xffffffff80000000ULL
#define PHYS_MASK		0x000ffffffffff000ULL
#define META_PAGE		4096U	/* what the host can watch */
#define STRUCT_PAGE_MIN		32U
#define STRUCT_PAGE_MAX		512U
#define ORDER_MAX		18

static int missing(const char *key)
{
	return refuse(EXIT_UNSUPPORTED,
		      "vmcoreinfo has no %s: this guest kernel is not of a kind that can be supported (it takes x86-64 with CONFIG_SPARSEMEM_VMEMMAP)",
		      key);
}

/* A small unsigned number. */
static int number(const char *text, const char *key, uint32_t max,
		  uint32_t *val)
{
	int64_t v;

	if (!vmci_dec(text, key, &v))
		return missing(key);
	if (v < 0 || v > max)
		return refuse(EXIT_UNSUPPORTED,
			      "vmcoreinfo says %s=%lld, which cannot be right",
			      key, (long long)v);
	*val = v;
	return EXIT_OK;
}

/* False if there is no such symbol; 0 if it is hidden. */
static bool kallsym(const char *name, uint64_t *addr)
{
	char line[512], sym[256], type;
	unsigned long long a;
	bool found = false;
	FILE *f;

	f = fopen("/proc/kallsyms", "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %c %255s", &a, &type, sym) == 3 &&
		    !strcmp(sym, name)) {
			*addr = a;
			found = true;
		}
	fclose(f);
	return found;
}

static int find_vmemmap(struct kcore *kc, const char *text, __u64 *out)
{
	uint64_t var, base;

	if (vmci_hex(text, "SYMBOL(vmemmap)", &base))
		goto found;
	verbose("vmcoreinfo has no SYMBOL(vmemmap), trying the variable vmemmap_base");
	if (!kallsym("vmemmap_base", &var))
		return missing("SYMBOL(vmemmap)");
	if (!var)
		return refuse(EXIT_PERMISSION,
			      "/proc/kallsyms hides addresses: run as root with CAP_SYSLOG, and with kernel.kptr_restrict below 2");
	if (kcore_read_virt(kc, var, &base, sizeof(base)))
		return missing("SYMBOL(vmemmap)");
found:
	if (base % META_PAGE || base < 0xff00000000000000ULL)
		return refuse(EXIT_UNSUPPORTED,
			      "the memmap is said to start at %#llx, which is no such address",
			      (unsigned long long)base);
	*out = base;
	return EXIT_OK;
}

static int find_tables(struct kcore *kc, const char *text,
		       struct linux_buddy_layout *l)
{
	uint64_t pgd;
	int64_t phys_base, l5 = 0, sme = 0;

	if (vmci_dec(text, "NUMBER(sme_mask)", &sme) && sme)
		return refuse(EXIT_CONFIDENTIAL,
			      "this guest's memory is encrypted (SME or SEV): the host cannot read its page metadata");
	if (!vmci_hex(text, "SYMBOL(swapper_pg_dir)", &pgd))
		return missing("SYMBOL(swapper_pg_dir)");
	if (!vmci_dec(text, "NUMBER(phys_base)", &phys_base))
		return missing("NUMBER(phys_base)");
	vmci_dec(text, "NUMBER(pgtable_l5_enabled)", &l5);
	l->levels = l5 ? 5 : 4;
	l->phys_mask = PHYS_MASK;
	l->pgd = pgd - START_KERNEL_MAP + phys_base;
	if (pgd < START_KERNEL_MAP || l->pgd & ~PHYS_MASK)
		return refuse(EXIT_UNSUPPORTED,
			      "swapper_pg_dir at %#llx with phys_base %#llx is not in memory",
			      (unsigned long long)pgd,
			      (unsigned long long)phys_base);
	return find_vmemmap(kc, text, &l->vmemmap);
}

static int find_page(const char *text, struct linux_buddy_layout *l)
{
	uint32_t orders;
	int64_t marker;
	int code;

	code = number(text, "SIZE(page)", STRUCT_PAGE_MAX, &l->page_size);
	if (!code)
		code = number(text, "OFFSET(page._refcount)",
			      STRUCT_PAGE_MAX, &l->off_refcount);
	if (!code)
		code = number(text, "OFFSET(page._mapcount)",
			      STRUCT_PAGE_MAX, &l->off_type);
	if (!code)
		code = number(text, "OFFSET(page.private)",
			      STRUCT_PAGE_MAX, &l->off_order);
	/* MAX_ORDER meant two things over time; this never did. */
	if (!code)
		code = number(text, "LENGTH(zone.free_area)", ORDER_MAX + 1,
			      &orders);
	if (code)
		return code;
	if (l->page_size < STRUCT_PAGE_MIN || l->page_size % 8 ||
	    l->off_refcount + 4 > l->page_size || l->off_refcount % 4 ||
	    l->off_type + 4 > l->page_size || l->off_type % 4 ||
	    l->off_order + 8 > l->page_size || l->off_order % 8 || !orders)
		return refuse(EXIT_UNSUPPORTED,
			      "vmcoreinfo's offsets do not fit a struct page of %u bytes",
			      l->page_size);
	l->max_order = orders - 1;

	if (!vmci_dec(text, "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", &marker))
		return missing("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)");
	l->buddy_value = marker;
	/*
	 * Up to 6.11 the marker is ~PG_buddy and a free page has no other
	 * type; from then on it is a number in the top byte, and that is all
	 * that the kernel itself compares.
	 */
	l->buddy_mask = l->buddy_value & 0xffffff ? ~0U : 0xff000000U;
	return EXIT_OK;
}

/*
 * A watch covers a whole 4 KiB page. The struct pages of a block have that to
 * themselves from the order on at which they fill pages exactly.
 */
static void find_watch_order(struct linux_buddy_layout *l)
{
	uint32_t order = 0;

	while ((l->page_size << order) % META_PAGE)
		order++;
	l->watch_order = order;
}

static int check_member(const struct btf_view *btf, uint32_t id,
			const char *name, uint32_t off, uint32_t size)
{
	uint32_t btf_off, btf_size;

	if (!btf_member(btf, id, name, &btf_off, &btf_size))
		return refuse(EXIT_MISMATCH,
			      "the kernel's BTF has no page.%s, while vmcoreinfo says that it is at offset %u",
			      name, off);
	if (btf_off != off || btf_size != size)
		return refuse(EXIT_MISMATCH,
			      "page.%s is %u bytes at offset %u in the kernel's BTF, and %u at %u in vmcoreinfo: the two are not of one kernel",
			      name, btf_size, btf_off, size, off);
	return EXIT_OK;
}

static int check_btf(const struct linux_buddy_layout *l, bool *checked)
{
	uint32_t id, size;
	struct btf_view btf;
	size_t len;
	char *data;
	int code;

	*checked = false;
	data = read_file(BTF_PATH, &len);
	if (!data) {
		verbose("no " BTF_PATH " (%s), going by vmcoreinfo alone",
			strerror(errno));
		return EXIT_OK;
	}
	if (!btf_parse(&btf, data, len)) {
		/* A kind from the future; nothing says that it is wrong. */
		verbose(BTF_PATH " is of a newer format, going by vmcoreinfo alone");
		free(data);
		return EXIT_OK;
	}
	id = btf_struct(&btf, "page", &size);
	if (!id)
		code = refuse(EXIT_MISMATCH,
			      "the kernel's BTF has no struct page");
	else if (size != l->page_size)
		code = refuse(EXIT_MISMATCH,
			      "struct page has %u bytes in the kernel's BTF and %u in vmcoreinfo: the two are not of one kernel",
			      size, l->page_size);
	else
		code = check_member(&btf, id, "_refcount", l->off_refcount, 4);
	if (!code)
		code = check_member(&btf, id, "_mapcount", l->off_type, 4);
	if (!code)
		code = check_member(&btf, id, "private", l->off_order, 8);
	*checked = !code;
	btf_free(&btf);
	free(data);
	return code;
}

/* As the helper will do it in the host; ~0 if not mapped. */
static uint64_t translate(struct kcore *kc, const struct linux_buddy_layout *l,
			  uint64_t va)
{
	uint64_t entry = l->pgd, span;
	int shift;

	for (shift = l->levels == 5 ? 48 : 39; shift >= 12; shift -= 9) {
		uint64_t at = (entry & l->phys_mask) +
			      ((va >> shift) & 511) * sizeof(entry);

		if (kcore_read_phys(kc, at, &entry, sizeof(entry)) ||
		    !(entry & 1))
			return ~0ULL;
		span = (1ULL << shift) - 1;
		if (shift == 12 || (shift <= 30 && entry & 0x80))
			return (entry & l->phys_mask & ~span) | (va & span);
	}
	return ~0ULL;
}

/*
 * The page tables have to lead back to themselves, and to the struct page of
 * the page that holds them, which is in use. If they do, then pgd, levels,
 * vmemmap and the size of struct page are what they should be.
 */
static int check_tables(struct kcore *kc, const char *text,
			const struct linux_buddy_layout *l)
{
	uint64_t pgd, head;
	uint32_t refs = 0;

	vmci_hex(text, "SYMBOL(swapper_pg_dir)", &pgd);
	if (translate(kc, l, pgd) != l->pgd)
		return refuse(EXIT_UNSUPPORTED,
			      "the kernel's page tables at %#llx do not lead back to themselves (%u levels): this memory layout is not known",
			      (unsigned long long)l->pgd, l->levels);
	head = translate(kc, l, l->vmemmap + (l->pgd >> 12) * l->page_size);
	if (head == ~0ULL ||
	    kcore_read_phys(kc, head + l->off_refcount, &refs, sizeof(refs)) ||
	    !refs)
		return refuse(EXIT_UNSUPPORTED,
			      "found no struct page in use for the page tables at %#llx: the memmap is not where vmcoreinfo says",
			      (unsigned long long)l->pgd);
	return EXIT_OK;
}

int layout_find(struct kcore *kc, struct guest_facts *facts)
{
	struct linux_buddy_layout *l = &facts->layout;
	uint32_t page_bytes;
	char *text;
	int code;

	memset(facts, 0, sizeof(*facts));
	code = kcore_vmcoreinfo(kc, &text);
	if (code)
		return code;
	l->magic = LINUX_BUDDY_MAGIC;
	if (!vmci_str(text, "OSRELEASE", facts->release,
		      sizeof(facts->release)))
		code = missing("OSRELEASE");
	if (!code)
		code = number(text, "PAGESIZE", 4096, &page_bytes);
	if (!code)
		code = find_tables(kc, text, l);
	if (!code)
		code = find_page(text, l);
	if (!code) {
		find_watch_order(l);
		code = check_btf(l, &facts->btf_checked);
	}
	if (!code)
		code = check_tables(kc, text, l);
	free(text);
	return code;
}
