// SPDX-License-Identifier: GPL-2.0-only
/* vprobe stat: every counter of a VM, or of all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

static void show_vm(const struct vprobe_stat *st)
{
	out_u64("id", "VM", st->id);
	out_str("name", "name", st->name);
	out_u64("pid", "process", st->pid);
	out_u64("cid", "vsock context id", st->cid);
	out_str("state", "state", vprobe_vm_state_name(st->state));
	out_str("stop_error", st->stop_reason ? "stopped by" : NULL,
		st->stop_reason ? strerror((int)st->stop_reason) : "");
	out_str("quarantine", st->quarantine_why[0] ? "quarantine" : NULL,
		st->quarantine_why);
	out_str("stray", "stray DMA",
		st->flags & VPROBE_ATTACH_STRAY_FAULT ? "fault" : "absorb");
	out_size("granule_bytes", "granule",
		 st->granule_shift < 64 ? 1ULL << st->granule_shift : 0);
	out_u64("iommufds", "iommufds", st->nr_iommufds);
	out_u64("fill_timeout_ms", "fill time-out, ms", st->fill_timeout_ms);
}

static void show_memory(const struct vprobe_stat *st)
{
	out_section("memory", "memory");
	out_size("ram_bytes", "RAM", st->ram_bytes);
	out_size("hole_bytes", "taken now", st->hole_bytes);
	out_u64("holes", "holes now", st->holes);
	out_size("taken_bytes", "taken, ever", st->taken_bytes);
	out_u64("taken_blocks", "blocks taken, ever", st->taken_blocks);
	out_u64("passes", "passes", st->passes);
	out_u64("repopulated", "repopulated by others", st->repopulated);
	out_size("free_bytes", "free when last counted", st->free_bytes);
	out_u64("policy_id", "policy", st->policy_id);
	out_end();
}

static void show_watches(const struct vprobe_stat *st)
{
	out_section("watches", "watches");
	out_u64("now", "armed now", st->watches);
	out_u64("armed", "armed, ever", st->armed);
	out_u64("fired", "fired", st->fired);
	out_u64("fired_idle", "fired for nothing", st->fired_idle);
	out_u64("emulated", "writes emulated", st->emulated);
	out_u64("tlb_flushes", "TLB flushes", st->tlb_flushes);
	out_u64("iotlb_flushes", "IOTLB flushes", st->iotlb_flushes);
	out_end();
}

static void show_histogram(const struct vprobe_stat *st)
{
	static const struct out_column columns[] = {
		{ "  FILL TOOK FROM, us", -22 }, { "TO, us", 10 },
		{ "COUNT", 10 },
	};
	unsigned int i, last = 0;
	uint64_t total = 0;

	for (i = 0; i < VPROBE_FILL_BUCKETS; i++) {
		total += st->fill_us[i];
		if (st->fill_us[i])
			last = i;
	}
	if (!out_json && !total)
		return;
	out_table("histogram_us", columns, 3);
	for (i = 0; i < VPROBE_FILL_BUCKETS && (out_json || i <= last); i++) {
		char from[32];

		if (!out_json && !st->fill_us[i])
			continue;
		out_object(NULL);
		snprintf(from, sizeof(from), "  %u", i ? 1U << i : 0);
		if (out_json)
			out_u64("from", NULL, i ? 1U << i : 0);
		else
			out_str(NULL, "from", from);
		out_u64("to", "to", (2U << i) - 1);
		out_u64("count", "count", st->fill_us[i]);
		out_end();
	}
	out_end();
}

static void show_fills(const struct vprobe_stat *st)
{
	out_section("fills", "fills");
	out_u64("blocks", "blocks filled", st->fills);
	out_size("bytes", "bytes filled", st->fill_bytes);
	out_u64("vcpu", "in a vCPU's fault", st->fills_vcpu);
	out_size("demand_bytes", "bytes of those", st->demand_bytes);
	out_u64("read", "because of a read", st->fills_read);
	out_u64("undo", "because a punch failed", st->fills_undo);
	out_u64("waits", "waited for memory", st->fill_waits);
	out_u64("longest_wait_ms", "longest wait, ms", st->longest_wait_ms);
	out_u64("timeouts", "waited too long", st->fill_timeouts);
	out_u64("failsafes", "fail-safes", st->failsafes);
	out_u64("failsafe_writes", "because of a write", st->failsafe_writes);
	show_histogram(st);
	out_end();
}

static void show_helper(const struct vprobe_stat *st)
{
	out_section("helper", "helper");
	out_u64("runs", "runs", st->helper_runs);
	out_ns("ns", "time", st->helper_ns);
	out_u64("errors", "errors", st->helper_errors);
	out_end();
}

static bool refuses_blocks(unsigned int reason)
{
	return reason == VPROBE_REASON_NO_MEMORY || reason == VPROBE_REASON_BUSY ||
	       (reason >= VPROBE_REASON_PINNED &&
		reason <= VPROBE_REASON_STRADDLE);
}

/* JSON has all that the module knows, text those that there were. */
static void show_refused(const struct vprobe_stat *st)
{
	const unsigned int room = ARRAY_SIZE(st->refused);
	unsigned int i;
	bool any = false;

	for (i = 0; i < room; i++)
		any |= st->refused[i] != 0;
	if (!out_json && !any)
		return;
	out_section("refused", "blocks refused");
	for (i = 0; i < room; i++) {
		const char *name = vprobe_reason_name(i);
		char unknown[32];

		if (!st->refused[i] && !(out_json && refuses_blocks(i)))
			continue;
		if (i >= __VPROBE_REASON_MAX) {
			snprintf(unknown, sizeof(unknown), "reason-%u", i);
			name = unknown;
		}
		out_u64(name, name, st->refused[i]);
	}
	out_end();
}

static void show(const struct vprobe_stat *st)
{
	out_object(NULL);
	show_vm(st);
	show_memory(st);
	show_watches(st);
	show_fills(st);
	show_helper(st);
	show_refused(st);
	out_end();
}

static int show_all(int dev)
{
	struct vprobe_error err;
	struct vprobe_stat *stats;
	size_t nr, i;

	if (vprobe_dev_stat_all(dev, &stats, &nr, &err))
		return fail(&err);
	out_array(NULL);
	for (i = 0; i < nr; i++) {
		if (i)
			out_note("%s", "");
		show(&stats[i]);
	}
	out_end();
	free(stats);
	return EXIT_OK;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	if (key == ARGP_KEY_NO_ARGS)
		return 0;
	return parse_vm(key, arg, state);
}

int cmd_stat(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_opt,
		.args_doc = "[VM]",
		.doc = "Show all counters of a VM, or of all VMs. They count from the attach on.",
	};
	struct vm_args a = { 0 };
	struct vprobe_stat st;
	int dev, ret = EXIT_OK;

	parse_args(&argp, argc, argv, &a);
	dev = a.vm ? open_vm(a.vm, &st) : open_device();
	if (dev < 0)
		return EXIT_FAILED;
	if (a.vm)
		show(&st);
	else
		ret = show_all(dev);
	close(dev);
	return ret;
}
