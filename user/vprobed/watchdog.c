// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watchdog.h"

#define NS_PER_MINUTE 60000000000ULL
/* Fewer blocks than that do not tell how many of them race. */
#define RACED_MIN 64

const struct watchdog_limits watchdog_defaults = {
	.intervals = 6,
	.run_ms = 100,
	.cpu_percent = 0,
	.errors = 1,
	.bad_reports = 32,
	.raced_percent = 98,
	.fill_rate = 2048,
	.failsafes = 5,
	.failsafe_minutes = 10,
};

/* What happened between two looks; counters only grow. */
struct change {
	const struct vprobe_stat *a, *b;
	uint64_t ns;
};

#define GROWN(c, field) ((c)->b->field - (c)->a->field)

/* Each of them returns false if there is nothing to judge. */
static bool run_ms(const struct change *c, uint64_t *value)
{
	uint64_t runs = GROWN(c, helper_runs);

	if (runs)
		*value = GROWN(c, helper_ns) / runs / 1000000;
	return runs;
}

static bool cpu_percent(const struct change *c, uint64_t *value)
{
	*value = GROWN(c, helper_ns) * 100 / c->ns;
	return GROWN(c, helper_runs);
}

static bool errors(const struct change *c, uint64_t *value)
{
	*value = GROWN(c, helper_errors);
	return GROWN(c, helper_runs);
}

static bool bad_reports(const struct change *c, uint64_t *value)
{
	*value = GROWN(c, refused[VPROBE_REASON_BAD_REPORT]);
	return GROWN(c, helper_runs);
}

static bool raced_percent(const struct change *c, uint64_t *value)
{
	uint64_t armed = GROWN(c, armed);

	if (armed < RACED_MIN)
		return false;
	*value = GROWN(c, refused[VPROBE_REASON_RACED]) * 100 / armed;
	return true;
}

/* An interval without a fill is one in which it was kept. */
static bool fill_rate(const struct change *c, uint64_t *value)
{
	double blocks = (double)GROWN(c, demand_bytes) / (2 << 20);
	double gib = (double)c->b->ram_bytes / (1 << 30);

	/* What is much for its size may be little for the host. */
	if (gib < 1)
		gib = 1;
	*value = (uint64_t)(blocks * 1e9 / (double)c->ns / gib);
	return true;
}

static bool failsafes(const struct change *c, uint64_t *value)
{
	*value = GROWN(c, failsafe_writes);
	return true;
}

struct rule {
	size_t limit;		/* where in struct watchdog_limits */
	bool (*measure)(const struct change *c, uint64_t *value);
	const char *key;	/* "quarantine-..." in vprobed.conf */
	const char *before;	/* what is said, around the value */
	const char *behind;
};

#define RULE(field, ...) \
	{ offsetof(struct watchdog_limits, field), field, __VA_ARGS__ }

static const struct rule rules[WATCHDOG_RULES] = {
	[WATCHDOG_RUN_TIME] = RULE(run_ms, "run-ms",
		"a run of its helper takes", " ms"),
	[WATCHDOG_CPU] = RULE(cpu_percent, "cpu-percent",
		"its helper takes", " % of a CPU"),
	[WATCHDOG_ERRORS] = RULE(errors, "errors",
		"its helper fails: lately", " times"),
	[WATCHDOG_BAD_REPORTS] = RULE(bad_reports, "bad-reports",
		"its helper reports blocks that cannot be: lately", ""),
	[WATCHDOG_RACED] = RULE(raced_percent, "raced-percent",
		"its helper reports blocks that are not free a moment later:",
		" %"),
	[WATCHDOG_FILLS] = RULE(fill_rate, "fill-rate",
		"it wants", " blocks per second and GiB back"),
	[WATCHDOG_FAILSAFES] = RULE(failsafes, "failsafes",
		"it wrote to holes and not to their watches first,", " times"),
};

static uint32_t limit_of(const struct watchdog_limits *limits,
			 enum watchdog_rule rule)
{
	uint32_t limit;

	memcpy(&limit, (const char *)limits + rules[rule].limit, sizeof(limit));
	return limit;
}

enum watchdog_verdict
watchdog_judge(const struct watchdog_limits *limits, enum watchdog_rule rule,
	       const struct vprobe_stat *a, const struct vprobe_stat *b,
	       uint64_t ns, char *why, size_t size)
{
	const struct change c = { .a = a, .b = b, .ns = ns };
	uint32_t limit = limit_of(limits, rule);
	uint64_t value = 0;

	if (!limit || !ns || !rules[rule].measure(&c, &value))
		return WATCHDOG_NOTHING;
	if (value < limit)
		return WATCHDOG_KEPT;
	snprintf(why, size, "%s %" PRIu64 "%s (quarantine-%s = %u)",
		 rules[rule].before, value, rules[rule].behind,
		 rules[rule].key, limit);
	return WATCHDOG_BROKEN;
}

static struct watchdog_vm *find(struct watchdog *w, uint64_t id)
{
	struct watchdog_vm *vm;

	for (vm = w->vms; vm; vm = vm->next) {
		if (vm->last.id == id)
			return vm;
	}
	return NULL;
}

static void start_anew(struct watchdog_vm *vm, const struct vprobe_stat *now,
		       uint64_t now_ns)
{
	unsigned int i;

	vm->last = *now;
	vm->last_ns = now_ns;
	for (i = 0; i < WATCHDOG_TENTHS; i++)
		vm->tenths[i] = now->failsafe_writes;
	vm->tenth_ns = now_ns;
	memset(vm->broken, 0, sizeof(vm->broken));
}

static bool look_at_interval(struct watchdog_vm *vm,
			     const struct watchdog_limits *limits,
			     const struct vprobe_stat *now, uint64_t now_ns,
			     char *why, size_t size)
{
	unsigned int rule;

	for (rule = 0; rule < WATCHDOG_FAILSAFES; rule++) {
		switch (watchdog_judge(limits, rule, &vm->last, now,
				       now_ns - vm->last_ns, why, size)) {
		case WATCHDOG_NOTHING:
			break;
		case WATCHDOG_KEPT:
			vm->broken[rule] = 0;
			break;
		case WATCHDOG_BROKEN:
			if (++vm->broken[rule] >= limits->intervals)
				return true;
			break;
		}
	}
	return false;
}

/* Forget the tenths of the window that are over. */
static void slide(struct watchdog_vm *vm, uint64_t tenth_ns, uint64_t now_ns)
{
	while (now_ns - vm->tenth_ns >= tenth_ns) {
		memmove(vm->tenths, vm->tenths + 1,
			sizeof(vm->tenths) - sizeof(vm->tenths[0]));
		vm->tenths[WATCHDOG_TENTHS - 1] = vm->last.failsafe_writes;
		vm->tenth_ns += tenth_ns;
	}
}

/* Its helper is gone each time, so whether it has one does not matter. */
static bool look_at_window(struct watchdog_vm *vm,
			   const struct watchdog_limits *limits,
			   const struct vprobe_stat *now, uint64_t now_ns,
			   char *why, size_t size)
{
	uint64_t ns = limits->failsafe_minutes * NS_PER_MINUTE;
	struct vprobe_stat oldest = *now;

	slide(vm, ns / WATCHDOG_TENTHS, now_ns);
	oldest.failsafe_writes = vm->tenths[0];
	return watchdog_judge(limits, WATCHDOG_FAILSAFES, &oldest, now, ns, why,
			      size) == WATCHDOG_BROKEN;
}

bool watchdog_look(struct watchdog *w, const struct watchdog_limits *limits,
		   const struct vprobe_stat *now, uint64_t now_ns, char *why,
		   size_t size)
{
	struct watchdog_vm *vm = find(w, now->id);
	bool bad;

	if (!vm) {
		vm = calloc(1, sizeof(*vm));
		if (!vm)
			return false;
		vm->next = w->vms;
		w->vms = vm;
		start_anew(vm, now, now_ns);
		return false;
	}
	if (now->quarantine_why[0]) {
		start_anew(vm, now, now_ns);
		return false;
	}
	bad = look_at_interval(vm, limits, now, now_ns, why, size) ||
	      look_at_window(vm, limits, now, now_ns, why, size);
	vm->last = *now;
	vm->last_ns = now_ns;
	return bad;
}

void watchdog_forget(struct watchdog *w, const struct vprobe_stat *stats,
		     size_t nr)
{
	struct watchdog_vm **p = &w->vms, *vm;
	size_t i;

	while ((vm = *p)) {
		for (i = 0; i < nr && stats[i].id != vm->last.id; i++)
			;
		if (i < nr) {
			p = &vm->next;
			continue;
		}
		*p = vm->next;
		free(vm);
	}
}
