// SPDX-License-Identifier: GPL-2.0-only
/* Who was detached on purpose stays known, however many come and go. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seen.h"
#include "tap.h"

static struct seen seen;

static pid_t gone_process(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

int main(void)
{
	pid_t me = getpid(), gone = gone_process();
	uint64_t id;

	seen_add(&seen, 1, me, 7);
	ok(seen_vm(&seen, 1) && seen_process(&seen, me, 7), "one is known");
	ok(!seen_process(&seen, me, 8) && !seen_vm(&seen, 2),
	   "others are not: it is the number and the start");
	for (id = 2; id < 3 * SEEN_MAX; id++)
		seen_add(&seen, id, me, 8);
	ok(seen_process(&seen, me, 7) && seen.nr == 2,
	   "a process that is attached again and again is one process");
	ok(seen_vm(&seen, id - 1) && !seen_vm(&seen, id - 2),
	   "and known by the VM that it was last");
	for (; id < 6 * SEEN_MAX; id++)
		seen_add(&seen, id, gone, id);
	ok(seen_process(&seen, me, 7) && seen_vm(&seen, 1),
	   "those that are gone make room, the others stay");
	ok(seen.nr == SEEN_MAX && seen_process(&seen, gone, id - 1),
	   "and who came last is known");
	for (; id < 9 * SEEN_MAX; id++)
		seen_add(&seen, id, me, id);
	ok(seen.nr == SEEN_MAX && seen_process(&seen, me, id - 1) &&
	   !seen_process(&seen, me, 7), "if all live the oldest is forgotten");
	return tap_end();
}
