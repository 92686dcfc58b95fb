// SPDX-License-Identifier: GPL-2.0-only
/* The injector's readers of what the kernel says: vmcoreinfo, BTF, cmdline. */
#include <linux/btf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

static int failures;

int refuse(int code, const char *fmt, ...)
{
	(void)fmt;
	return code;
}

void verbose(const char *fmt, ...)
{
	(void)fmt;
}

#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		printf("not ok: line %d: %s\n", __LINE__, #cond);	\
		failures++;						\
	}								\
} while (0)

static void test_vmcoreinfo(void)
{
	static const char text[] =
		"OSRELEASE=6.12.0-test\n"
		"XNUMBER(a)=1\n"
		"NUMBER(a)=-129\n"
		"NUMBER(b)=4026531840\n"
		"NUMBER(max)=18446744073709551615\n"
		"NUMBER(hex)=0x10\n"
		"NUMBER(bad)=12x\n"
		"NUMBER(empty)=\n"
		"SYMBOL(vmemmap)=ffffea0000000000\n"
		"SYMBOL(last)=ff";
	uint64_t u;
	char s[8];
	int64_t d;

	EXPECT(vmci_dec(text, "NUMBER(a)", &d) && d == -129);
	EXPECT(vmci_dec(text, "NUMBER(b)", &d) && d == 0xf0000000LL);
	EXPECT(vmci_dec(text, "NUMBER(max)", &d) && d == -1);
	EXPECT(vmci_dec(text, "NUMBER(hex)", &d) && d == 16);
	EXPECT(!vmci_dec(text, "NUMBER(bad)", &d));
	EXPECT(!vmci_dec(text, "NUMBER(empty)", &d));
	EXPECT(!vmci_dec(text, "NUMBER", &d));
	EXPECT(!vmci_dec(text, "NUMBER(none)", &d));
	EXPECT(vmci_hex(text, "SYMBOL(vmemmap)", &u) &&
	       u == 0xffffea0000000000ULL);
	EXPECT(vmci_hex(text, "SYMBOL(last)", &u) && u == 0xff);
	EXPECT(vmci_str(text, "OSRELEASE", s, sizeof(s)) &&
	       !strcmp(s, "6.12.0-"));
	EXPECT(!vmci_hex("", "SYMBOL(a)", &u));
}

static void test_cmdline(void)
{
	EXPECT(!cmdline_poisons("console=ttyS0 quiet\n"));
	EXPECT(cmdline_poisons("quiet page_poison=1\n"));
	EXPECT(cmdline_poisons("page_poison=on quiet"));
	EXPECT(cmdline_poisons("page_poison=Y"));
	EXPECT(cmdline_poisons("page_poison=enable"));
	EXPECT(cmdline_poisons("page-poison=1"));
	EXPECT(cmdline_poisons("page_poison=\"1\""));
	EXPECT(cmdline_poisons("quiet \"page_poison=1\""));
	EXPECT(cmdline_poisons("x=\"a b\" page_poison=1"));
	EXPECT(!cmdline_poisons("x=\"a page_poison=1 b\""));
	EXPECT(!cmdline_poisons("page_poison=\"0\""));
	EXPECT(!cmdline_poisons("page_poison=\"\""));
	EXPECT(!cmdline_poisons("page_poison=\""));
	EXPECT(!cmdline_poisons("\"page_poison"));
	EXPECT(!cmdline_poisons("page_poison=0"));
	EXPECT(!cmdline_poisons("page_poison=off"));
	EXPECT(!cmdline_poisons("page_poison="));
	EXPECT(!cmdline_poisons("page_poison"));
	EXPECT(!cmdline_poisons("page_poison=1 page_poison=0"));
	EXPECT(cmdline_poisons("page_poison=0 page_poison=1"));
	EXPECT(!cmdline_poisons("x.page_poison=1"));
	EXPECT(!cmdline_poisons("quiet -- page_poison=1"));
	EXPECT(!cmdline_poisons(""));
}

/*
 *	typedef int atomic_t;
 *	struct page {
 *		long flags;
 *		union { struct { char pad[8]; long private; };
 *			struct { int bits:3; atomic_t _mapcount; } sub; };
 *		union { atomic_t _refcount; };
 *	};
 */
static const char strs[] =
	"\0int\0atomic_t\0page\0flags\0pad\0private\0_mapcount\0_refcount\0"
	"long\0sub\0char";

static uint32_t str(const char *s)
{
	uint32_t off;

	for (off = 1; off < sizeof(strs); off += strlen(strs + off) + 1)
		if (!strcmp(strs + off, s))
			return off;
	abort();
}

#define INFO(kind, vlen)	((uint32_t)(kind) << 24 | (vlen))

static size_t make_btf(unsigned char *buf)
{
	const uint32_t types[] = {
		/* 1 */ str("int"), INFO(BTF_KIND_INT, 0), 4, 0x01000020,
		/* 2 */ str("long"), INFO(BTF_KIND_INT, 0), 8, 0x01000040,
		/* 3 */ str("atomic_t"), INFO(BTF_KIND_TYPEDEF, 0), 1,
		/* 4 */ str("char"), INFO(BTF_KIND_INT, 0), 1, 0x01000008,
		/* 5 */ 0, INFO(BTF_KIND_ARRAY, 0), 0, 4, 1, 8,
		/* 6 */ 0, INFO(BTF_KIND_STRUCT, 2), 16,
			str("pad"), 5, 0, str("private"), 2, 64,
		/* 7 */ 0, INFO(BTF_KIND_STRUCT, 1), 8,
			str("_mapcount"), 3, 32,
		/* 8 */ 0, INFO(BTF_KIND_UNION, 2), 16,
			0, 6, 0, str("sub"), 7, 0,
		/* 9 */ 0, INFO(BTF_KIND_UNION, 1), 4, str("_refcount"), 3, 0,
		/* 10 */ str("page"), INFO(BTF_KIND_STRUCT, 3), 32,
			str("flags"), 2, 0, 0, 8, 64, 0, 9, 192,
	};
	struct btf_header h = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(h),
		.type_len = sizeof(types),
		.str_off = sizeof(types),
		.str_len = sizeof(strs),
	};

	memcpy(buf, &h, sizeof(h));
	memcpy(buf + sizeof(h), types, sizeof(types));
	memcpy(buf + sizeof(h) + sizeof(types), strs, sizeof(strs));
	return sizeof(h) + sizeof(types) + sizeof(strs);
}

static void test_btf(void)
{
	static unsigned char buf[4096] __attribute__((aligned(8)));
	size_t len = make_btf(buf);
	uint32_t id, size, off;
	struct btf_view btf;

	EXPECT(btf_parse(&btf, buf, len));
	id = btf_struct(&btf, "page", &size);
	EXPECT(id == 10 && size == 32);
	EXPECT(!btf_struct(&btf, "folio", &size));
	EXPECT(btf_member(&btf, id, "flags", &off, &size) && off == 0 &&
	       size == 8);
	EXPECT(btf_member(&btf, id, "private", &off, &size) && off == 16 &&
	       size == 8);
	EXPECT(btf_member(&btf, id, "_refcount", &off, &size) && off == 24 &&
	       size == 4);
	/* Behind a name, it is no member of page. */
	EXPECT(!btf_member(&btf, id, "_mapcount", &off, &size));
	EXPECT(!btf_member(&btf, 99, "flags", &off, &size));
	EXPECT(!btf_member(&btf, 1, "flags", &off, &size));
	btf_free(&btf);
}

/* Cut short or with any byte changed: refused or read, never past the end. */
static void test_bad_btf(void)
{
	unsigned char orig[4096], *copy;
	size_t len = make_btf(orig), n;
	uint32_t id, size, off;
	struct btf_view btf;
	unsigned int v;

	for (n = 0; n < len; n++) {
		copy = malloc(n ? n : 1);
		memcpy(copy, orig, n);
		EXPECT(!btf_parse(&btf, copy, n));
		free(copy);
	}
	copy = malloc(len);
	for (n = 0; n < len; n++) {
		for (v = 1; v < 256; v++) {
			memcpy(copy, orig, len);
			copy[n] ^= v;
			if (!btf_parse(&btf, copy, len))
				continue;
			id = btf_struct(&btf, "page", &size);
			btf_member(&btf, id, "_refcount", &off, &size);
			btf_free(&btf);
		}
	}
	free(copy);
}

int main(void)
{
	test_vmcoreinfo();
	test_cmdline();
	test_btf();
	test_bad_btf();
	if (!failures)
		printf("ok: readers of vmcoreinfo, BTF and the command line\n");
	return !!failures;
}
