/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which VMM processes were attached once, by whomever. One that was and is not
 * any more was detached on purpose: vprobed itself never detaches.
 *
 * Memory only; of SEEN_MAX processes that live, or more, the last ones.
 */
#ifndef VPROBED_SEEN_H
#define VPROBED_SEEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SEEN_MAX	1024

struct seen {
	struct {
		uint64_t vm_id;		/* as which it was attached last */
		pid_t pid;
		uint64_t start_ns;	/* with the pid: this very process */
	} procs[SEEN_MAX];
	unsigned int nr;
	unsigned int next;		/* the oldest, once all are in use */
};

/* A process has one entry; if there is no room one that is gone makes some. */
void seen_add(struct seen *s, uint64_t vm_id, pid_t pid, uint64_t start_ns);
bool seen_vm(const struct seen *s, uint64_t vm_id);
bool seen_process(const struct seen *s, pid_t pid, uint64_t start_ns);

#endif
