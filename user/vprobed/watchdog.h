/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which VM has to be put in quarantine, as its helper costs too much or does not
 * tell the truth. Only counters of the module are looked at, every
 * WATCHDOG_MS, and each rule is about what no honest guest does, however busy it
 * is and however slow the machine.
 *
 * A rule that is broken in one interval proves nothing: it has to be broken in
 * several on end. Those in which there was nothing to judge (no run of the
 * helper, hardly any block) do not count, neither way. So a guest is not safe by
 * registering again, nor is it judged by what an idle one does.
 */
#ifndef VPROBED_WATCHDOG_H
#define VPROBED_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libvprobe.h"

#define WATCHDOG_MS	5000
#define WATCHDOG_TENTHS	10

enum watchdog_rule {
	WATCHDOG_RUN_TIME,
	WATCHDOG_CPU,
	WATCHDOG_ERRORS,
	WATCHDOG_BAD_REPORTS,
	WATCHDOG_RACED,
	WATCHDOG_FILLS,
	WATCHDOG_FAILSAFES,
	WATCHDOG_RULES,
};

/**
 * struct watchdog_limits - what is too much; 0 turns a rule off
 * @intervals: in so many on end; not for failsafes
 * @run_ms: mean time of a run of the helper
 * @cpu_percent: share of one CPU that runs of the helper take
 * @errors: runs that failed, per interval
 * @bad_reports: blocks that cannot be as reported, per interval
 * @raced_percent: share of the reported blocks that were not free when asked for
 *	again
 * @fill_rate: what vCPUs want back, in blocks of 2 MiB, per second and GiB of RAM
 * @failsafes: writes to holes whose watch had not fired,
 * @failsafe_minutes: ... within the last so many minutes, the tenth that goes on
 *	and the nine before; not 0
 *
 * vprobed.conf explains the defaults.
 */
struct watchdog_limits {
	uint32_t intervals;
	uint32_t run_ms;
	uint32_t cpu_percent;
	uint32_t errors;
	uint32_t bad_reports;
	uint32_t raced_percent;
	uint32_t fill_rate;
	uint32_t failsafes;
	uint32_t failsafe_minutes;
};

extern const struct watchdog_limits watchdog_defaults;

enum watchdog_verdict {
	WATCHDOG_NOTHING,	/* there was nothing to judge */
	WATCHDOG_KEPT,
	WATCHDOG_BROKEN,
};

/**
 * watchdog_judge() - did a VM break a rule between two looks at its counters?
 * @limits: what is too much
 * @rule: which
 * @a: counters at the first look
 * @b: counters of the same VM at the second look
 * @ns: time between the two
 * @why: out: a sentence, if it did
 * @size: of @why
 */
enum watchdog_verdict
watchdog_judge(const struct watchdog_limits *limits, enum watchdog_rule rule,
	       const struct vprobe_stat *a, const struct vprobe_stat *b,
	       uint64_t ns, char *why, size_t size);

/* What is remembered of one VM. */
struct watchdog_vm {
	struct watchdog_vm *next;
	struct vprobe_stat last;
	uint64_t last_ns;
	/* failsafe_writes as each tenth of failsafe_minutes began, oldest first */
	uint64_t tenths[WATCHDOG_TENTHS];
	uint64_t tenth_ns;		/* when the last one did */
	unsigned int broken[WATCHDOG_RULES];	/* intervals on end */
};

struct watchdog {
	struct watchdog_vm *vms;
};

/**
 * watchdog_look() - take a look at a VM
 * @w: zeroed at first
 * @limits: what is too much
 * @now: its counters now
 * @now_ns: monotonic
 * @why: out: a sentence
 * @size: of @why
 *
 * Return: whether it has to be put in quarantine
 */
bool watchdog_look(struct watchdog *w, const struct watchdog_limits *limits,
		   const struct vprobe_stat *now, uint64_t now_ns, char *why,
		   size_t size);

/* Forget VMs that are not among @stats any more; all for @nr == 0. */
void watchdog_forget(struct watchdog *w, const struct vprobe_stat *stats,
		     size_t nr);

#endif
