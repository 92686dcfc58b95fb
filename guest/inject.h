/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the injector share. */
#ifndef VPROBE_INJECT_H
#define VPROBE_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "linux_buddy.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Exit codes; part of the interface, see vprobe-inject(8). */
enum exit_code {
	EXIT_OK			= 0,
	EXIT_REFUSED		= 1,	/* the host said no */
	EXIT_USAGE		= 2,
	EXIT_PERMISSION		= 3,	/* not root, or one of its rights */
	EXIT_UNSUPPORTED	= 4,	/* architecture or memory model */
	EXIT_LOCKDOWN		= 5,
	EXIT_NO_KCORE		= 6,	/* no /proc/kcore or no vmcoreinfo */
	EXIT_POISON		= 7,	/* free pages are filled with a pattern */
	EXIT_CONFIDENTIAL	= 8,
	EXIT_NO_VSOCK		= 9,
	EXIT_NO_HOST		= 10,	/* nobody answered, or not now */
	EXIT_MISMATCH		= 11,	/* vmcoreinfo and BTF disagree */
	EXIT_SYSTEM		= 12,	/* a system call failed */
};

/* Prints "vprobe-inject: SENTENCE" to stderr; returns @code. */
int refuse(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same with --verbose only. */
void verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* file.c */
/* Reads the whole of a small or sysfs file, NUL-terminated; NULL and errno. */
char *read_file(const char *path, size_t *len);

/* kcore.c */
struct kcore;

int refuse_lockdown(void);
int kcore_open(struct kcore **kc);
void kcore_close(struct kcore *kc);
/* 0, or -1 if not all of it could be read. */
int kcore_read_virt(struct kcore *kc, uint64_t va, void *buf, size_t len);
int kcore_read_phys(struct kcore *kc, uint64_t pa, void *buf, size_t len);
/* The NUL-terminated text of the vmcoreinfo note, malloced. */
int kcore_vmcoreinfo(struct kcore *kc, char **text);

/* vmcoreinfo.c */
/* Value of the line "@key=..."; false if there is none or it is no number. */
bool vmci_hex(const char *text, const char *key, uint64_t *val);
bool vmci_dec(const char *text, const char *key, int64_t *val);
/* Copies the value of "@key=" as text. */
bool vmci_str(const char *text, const char *key, char *buf, size_t len);

/* btf.c */
struct btf_view {
	const unsigned char *data;
	const unsigned char *types, *types_end;
	const char *strs;
	size_t strs_len;
	uint32_t nr_types;
	uint32_t *offs;		/* of type i behind @types; [0] unused */
};

/* @data has to outlive @btf. false if it is not well-formed. */
bool btf_parse(struct btf_view *btf, const void *data, size_t len);
void btf_free(struct btf_view *btf);
/* The id of struct @name, 0 if there is none; its size. */
uint32_t btf_struct(const struct btf_view *btf, const char *name,
		    uint32_t *size);
/*
 * Byte offset and size of member @name of struct @id, also if it is in an
 * anonymous struct or union in there.
 */
bool btf_member(const struct btf_view *btf, uint32_t id, const char *name,
		uint32_t *off, uint32_t *size);

/* layout.c */
struct guest_facts {
	struct linux_buddy_layout layout;
	char release[64];
	bool btf_checked;
};

int layout_find(struct kcore *kc, struct guest_facts *facts);

/* guest.c */
/* What rules a guest out, whatever its layout. */
int guest_check(void);
/* Whether @cmdline turns page poisoning on. */
bool cmdline_poisons(const char *cmdline);

/* message.c */
struct message {
	unsigned char *data;
	size_t len;
};

int message_register(struct message *msg, const struct guest_facts *facts);
int message_goodbye(struct message *msg);
size_t helper_insn_cnt(void);
const char *helper_name(void);

/* host.c */
/*
 * Sends @msg to vprobed at @cid and prints what it answers. Tries again for
 * @wait seconds as long as nobody listens; an answer may take @timeout.
 */
int host_ask(const struct message *msg, unsigned int cid, unsigned int wait,
	     unsigned int timeout);

#endif
