// SPDX-License-Identifier: GPL-2.0-only
/* Who is put in quarantine, and above all who is not. */
#include <string.h>

#include "array.h"
#include "tap.h"
#include "watchdog.h"

#define SECOND	1000000000ULL
#define MS	1000000ULL
#define BLOCK	(2ULL << 20)
#define LOOKS_PER_MINUTE	(60000 / WATCHDOG_MS)

static struct watchdog_limits limits;
static struct watchdog dog;
static struct vprobe_stat vm;
static uint64_t now;
static char why[VPROBE_WHY_LEN];

static void reset(void)
{
	watchdog_forget(&dog, NULL, 0);
	limits = watchdog_defaults;
	memset(&vm, 0, sizeof(vm));
	vm.id = 1;
	vm.state = VPROBE_VM_READY;
	vm.granule_shift = 21;
	vm.ram_bytes = 4ULL << 30;
	now = 100 * SECOND;
	why[0] = '\0';
	watchdog_look(&dog, &limits, &vm, now, why, sizeof(why));
}

static bool look(void)
{
	now += WATCHDOG_MS * MS;
	return watchdog_look(&dog, &limits, &vm, now, why, sizeof(why));
}

/* What an idle, an honest and a misbehaving guest do in one interval. */
static void idle(void) {}

static void honest(void)
{
	vm.helper_runs += 50;
	vm.helper_ns += 50 * 20 * MS;
	vm.armed += 1000;
	vm.fired += 900;
	vm.refused[VPROBE_REASON_RACED] += 30;
	vm.demand_bytes += 900 * BLOCK;
}

/* All memory is in use and free again, all the time, on the slowest machine. */
static void busy(void)
{
	vm.helper_runs += 100;
	vm.helper_ns += 4900 * MS;
	vm.armed += 4000;
	vm.fired += 3000;
	vm.refused[VPROBE_REASON_RACED] += 3000;
	vm.refused[VPROBE_REASON_BAD_REPORT] += 2;
	vm.demand_bytes += 4 * 512 * 5 * BLOCK;
}

static void slow(void)
{
	vm.helper_runs += 2;
	vm.helper_ns += 2 * (uint64_t)limits.run_ms * MS;
}

static void hungry(void)
{
	vm.helper_runs += 1000;
	vm.helper_ns += 4 * SECOND;
}

static void failing(void)
{
	vm.helper_runs++;
	vm.helper_errors++;
}

static void lying(void)
{
	vm.helper_runs++;
	vm.refused[VPROBE_REASON_BAD_REPORT] += 32;
}

static void racing(void)
{
	vm.helper_runs++;
	vm.armed += 100;
	vm.refused[VPROBE_REASON_RACED] += 99;
}

static void greedy(void)
{
	vm.demand_bytes += 4 * 2048 * 5 * BLOCK;
}

static void writing(void)
{
	vm.failsafes++;
	vm.failsafe_writes++;
}

/* Guest after guest, @n looks each: is it put in quarantine? */
static bool after(unsigned int n, void (*act)(void))
{
	while (n--) {
		act();
		if (look())
			return true;
	}
	return false;
}

/* It takes all intervals on end, and the sentence names the key. */
static void is_caught(void (*act)(void), const char *key)
{
	unsigned int n = limits.intervals;

	ok(!after(n - 1, act), "%s: not at once", key);
	ok(after(1, act) && strstr(why, key) && strlen(why) + 1 < sizeof(why),
	   "%s: caught", key);
	tap_note("%s", why);
	reset();
	after(n - 1, act);
	after(1, honest);
	ok(!after(n - 1, act), "%s: on end means on end", key);
}

static void test_rules(void)
{
	reset();
	is_caught(slow, "quarantine-run-ms = 100");
	reset();
	limits.cpu_percent = 80;
	is_caught(hungry, "quarantine-cpu-percent = 80");
	reset();
	is_caught(failing, "quarantine-errors = 1");
	reset();
	is_caught(lying, "quarantine-bad-reports = 32");
	reset();
	is_caught(racing, "quarantine-raced-percent = 98");
	reset();
	is_caught(greedy, "quarantine-fill-rate = 2048");
}

static void test_failsafes(void)
{
	reset();
	ok(!after(4, writing) && after(1, writing) &&
	   strstr(why, "quarantine-failsafes = 5"), "failsafes: the fifth");
	tap_note("%s", why);
	reset();
	after(4, writing);
	after(120, idle);
	ok(!after(4, writing), "failsafes: not those of ten minutes ago");
	reset();
	after(9 * LOOKS_PER_MINUTE, idle);
	after(3, writing);
	after(2 * LOOKS_PER_MINUTE - 3, idle);
	ok(!after(1, writing) && after(1, writing),
	   "failsafes: any ten minutes, three at 9:00 and then at 11:00");
	reset();
	vm.state = VPROBE_VM_NO_HELPER;
	ok(after(5, writing), "failsafes: each has cost the helper");
	reset();
	vm.failsafes = 1000;
	ok(!after(1, idle), "a reset is none of them");
}

static bool is_greedy(unsigned int shift, uint64_t fills)
{
	reset();
	vm.ram_bytes = 256 << 20;
	vm.granule_shift = shift;
	vm.fills_vcpu = fills;
	vm.demand_bytes = fills << shift;
	return watchdog_judge(&limits, WATCHDOG_FILLS, &dog.vms->last, &vm,
			      5 * SECOND, why, sizeof(why)) == WATCHDOG_BROKEN;
}

/* A small guest, which counts as 1 GiB: what it wants counts by its size. */
static void test_fill_rate(void)
{
	/* 4096 blocks of 64K, each of them ten times a second */
	ok(!is_greedy(16, 4096 * 10 * 5), "a small guest with small blocks");
	ok(!is_greedy(16, 5 * 32 * 2048 - 1) && is_greedy(16, 5 * 32 * 2048),
	   "fill-rate: of 64K there may be 32 times as many");
	ok(!is_greedy(22, 5 * 1024 - 1) && is_greedy(22, 5 * 1024),
	   "fill-rate: of 4M half as many");
}

static void test_honest(void)
{
	reset();
	ok(!after(1000, honest), "an honest guest is left alone");
	ok(!after(1000, busy), "a busy one on a slow machine, too");
	ok(!after(1000, idle), "and one that does nothing");
	reset();
	vm.armed = 63;
	vm.refused[VPROBE_REASON_RACED] = 63;
	ok(watchdog_judge(&limits, WATCHDOG_RACED, &dog.vms->last, &vm,
			  SECOND, why, sizeof(why)) == WATCHDOG_NOTHING,
	   "a few blocks that raced are no proof");
}

static void test_memory(void)
{
	reset();
	after(limits.intervals - 1, failing);
	after(100, idle);
	ok(after(1, failing), "what there is nothing to judge by is no amends");

	reset();
	after(limits.intervals - 1, failing);
	vm.quarantine_why[0] = 'x';
	after(1, failing);
	vm.quarantine_why[0] = '\0';
	ok(!after(limits.intervals - 1, failing) && after(1, failing),
	   "a quarantine is: it starts anew");

	reset();
	after(limits.intervals - 1, failing);
	watchdog_forget(&dog, &vm, 1);
	ok(dog.vms && !dog.vms->next, "a VM that is there is remembered");
	watchdog_forget(&dog, NULL, 0);
	ok(!dog.vms, "one that is not is forgotten");
}

static void test_off(void)
{
	void (*const acts[])(void) = {
		slow, hungry, failing, lying, racing, greedy, writing,
	};
	const struct watchdog_limits off = {
		.intervals = 1, .failsafe_minutes = 10,
	};
	unsigned int i;
	bool caught = false;

	reset();
	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		limits = watchdog_defaults;
		acts[i]();
		limits = off;
		caught |= look();
	}
	ok(!caught, "limits of 0 catch nobody");
}

int main(void)
{
	test_rules();
	test_failsafes();
	test_fill_rate();
	test_honest();
	test_memory();
	test_off();
	return tap_end();
}
