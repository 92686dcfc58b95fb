// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>

#include "seen.h"

bool seen_vm(const struct seen *s, uint64_t vm_id)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (s->procs[i].vm_id == vm_id)
			return true;
	}
	return false;
}

/* Or @nr, if there is none. */
static unsigned int find_process(const struct seen *s, pid_t pid,
				 uint64_t start_ns)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (s->procs[i].pid == pid && s->procs[i].start_ns == start_ns)
			break;
	}
	return i;
}

bool seen_process(const struct seen *s, pid_t pid, uint64_t start_ns)
{
	return find_process(s, pid, start_ns) < s->nr;
}

/* A number that somebody else has got by now counts as one that lives. */
static bool is_gone(pid_t pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

/* All entries are in use: the oldest whose process is gone, or the oldest. */
static unsigned int make_room(struct seen *s)
{
	unsigned int i, n = 0;

	for (i = s->next; n < SEEN_MAX; n++, i = (i + 1) % SEEN_MAX) {
		if (is_gone(s->procs[i].pid))
			break;
	}
	s->next = (i + 1) % SEEN_MAX;
	return i;
}

void seen_add(struct seen *s, uint64_t vm_id, pid_t pid, uint64_t start_ns)
{
	unsigned int i;

	if (seen_vm(s, vm_id))
		return;
	i = find_process(s, pid, start_ns);
	if (i == SEEN_MAX)
		i = make_room(s);
	else if (i == s->nr)
		s->nr++;
	s->procs[i].vm_id = vm_id;
	s->procs[i].pid = pid;
	s->procs[i].start_ns = start_ns;
}
