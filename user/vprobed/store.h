/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The data manager: what each guest registered last.
 *
 * Per vsock context id there is at most one registration, replaced as a whole
 * or not at all. It belongs to one VMM process, not to the number: @pidfd
 * refers to that process for as long as it lives, and when it exits the
 * registration is dropped. So a later VM that is given the same context id
 * never inherits it (I8).
 *
 * Memory only. The layout lives in locked pages that are left out of core
 * dumps and are not inherited by a fork.
 */
#ifndef VPROBED_STORE_H
#define VPROBED_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_MAX	256
#define STORE_BUCKETS	64
/* Locked memory: a page or two for each, and those on their way in. */
#define STORE_LOCKED_MAX (8UL << 20)

/**
 * struct registration - layout and helper of one guest
 * @refs: the store's, and a job's that uses it; counted by one thread only
 * @cid: vsock context id
 * @pid: the VMM
 * @pidfd: refers to it
 * @prog_fd: the loaded helper
 * @layout: @layout_len bytes
 * @layout_len: at most VPROBE_WIRE_MAX_LAYOUT
 * @accepted_ns: CLOCK_BOOTTIME when the guest connected to register it
 * @applied: whether a VM uses it now
 * @vm_id: that VM
 * @failures: how often the module refused it since it last took it
 * @name: of the helper
 * @release: of the guest kernel
 */
struct registration {
	struct registration *next;
	unsigned int refs;
	uint32_t cid;
	pid_t pid;
	int pidfd;
	int prog_fd;
	uint8_t *layout;
	size_t layout_len;
	uint64_t accepted_ns;
	bool applied;
	uint64_t vm_id;
	unsigned int failures;
	char name[32];
	char release[64];
};

struct store {
	struct registration *buckets[STORE_BUCKETS];
	unsigned int nr;
};

/**
 * registration_new() - with an empty layout of @layout_len bytes
 *
 * Return: NULL without memory. @pidfd and @prog_fd are -1, one reference.
 */
struct registration *registration_new(uint32_t cid, const void *layout,
				      size_t layout_len);
struct registration *registration_get(struct registration *r);
/* The last one closes its descriptors. @r may be NULL. */
void registration_put(struct registration *r);
/* Whether its VMM still runs. */
bool registration_alive(const struct registration *r);

struct registration *store_find(const struct store *s, uint32_t cid);
/* Takes a reference of @r, puts what it replaces. -ENOSPC: full. */
int store_put(struct store *s, struct registration *r);
void store_drop(struct store *s, uint32_t cid);
/* Drops those whose VMM has exited; returns how many. */
unsigned int store_reap(struct store *s);
/* The first one for @r == NULL, NULL after the last. */
struct registration *store_next(const struct store *s,
				const struct registration *r);
void store_clear(struct store *s);

#endif
