// SPDX-License-Identifier: GPL-2.0-only
#include "seen.h"

static unsigned int used(const struct seen *s)
{
	return s->nr < SEEN_MAX ? s->nr : SEEN_MAX;
}

bool seen_vm(const struct seen *s, uint64_t vm_id)
{
	unsigned int i;

	for (i = 0; i < used(s); i++) {
		if (s->procs[i].vm_id == vm_id)
			return true;
	}
	return false;
}

bool seen_process(const struct seen *s, pid_t pid, uint64_t start_ns)
{
	unsigned int i;

	for (i = 0; i < used(s); i++) {
		if (s->procs[i].pid == pid && s->procs[i].start_ns == start_ns)
			return true;
	}
	return false;
}

void seen_add(struct seen *s, uint64_t vm_id, pid_t pid, uint64_t start_ns)
{
	unsigned int i;

	if (seen_vm(s, vm_id))
		return;
	i = s->nr++ % SEEN_MAX;
	s->procs[i].vm_id = vm_id;
	s->procs[i].pid = pid;
	s->procs[i].start_ns = start_ns;
}
