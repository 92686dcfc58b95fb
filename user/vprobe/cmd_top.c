// SPDX-License-Identifier: GPL-2.0-only
/* vprobe top: the VMs and the host's memory, again and again. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vprobe.h"

struct args {
	uint32_t seconds;
	uint32_t times;		/* 0: until it is ended */
};

/* What is known of a VM at one look. */
struct look {
	struct vprobe_stat *stats;
	size_t nr;
	uint64_t ns;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* A field of /proc/meminfo in bytes; 0 if there is none. */
static uint64_t meminfo(const char *field)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, field, strlen(field)) &&
		    sscanf(line + strlen(field), ": %llu kB", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib << 10;
}

/* How much of the last 10 s some task waited for memory; -1: not known */
static double pressure_percent(void)
{
	FILE *f = fopen("/proc/pressure/memory", "re");
	double percent = -1;

	if (f && fscanf(f, "some avg10=%lf", &percent) != 1)
		percent = -1;
	if (f)
		fclose(f);
	return percent;
}

/* Fills in vCPUs' faults per second, since the last look. */
static uint64_t fill_rate(const struct look *last, const struct look *now,
			  const struct vprobe_stat *st)
{
	uint64_t ms = (now->ns - last->ns) / 1000000;
	size_t i;

	for (i = 0; last->stats && ms && i < last->nr; i++)
		if (last->stats[i].id == st->id &&
		    last->stats[i].fills_vcpu <= st->fills_vcpu)
			return (st->fills_vcpu - last->stats[i].fills_vcpu) *
			       1000 / ms;
	return 0;
}

static const char *policy_name(const struct vprobe_policy_info *policies,
			       size_t nr, uint64_t id)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (policies[i].id == id)
			return policies[i].name;
	return "(built-in)";
}

static const struct out_column columns[] = {
	{ "ID", 4 }, { "NAME", -16 }, { "STATE", -11 }, { "SIZE", 10 },
	{ "USED", 10 }, { "GIVEN", 10 }, { "FILLS/s", 8 }, { "POLICY", -16 },
};

static void show_vms(const struct look *last, const struct look *now,
		     const struct vprobe_policy_info *policies, size_t nr)
{
	size_t i;

	out_table("vms", columns, ARRAY_SIZE(columns));
	for (i = 0; i < now->nr; i++) {
		const struct vprobe_stat *st = &now->stats[i];

		out_object(NULL);
		out_u64("id", "id", st->id);
		out_str("name", "name", st->name);
		out_str("state", "state", vprobe_vm_state_name(st->state));
		out_str("quarantine", NULL, st->quarantine_why);
		out_size("ram_bytes", "size", st->ram_bytes);
		out_size("used_bytes", "used", st->ram_bytes > st->hole_bytes ?
			 st->ram_bytes - st->hole_bytes : 0);
		out_size("hole_bytes", "given", st->hole_bytes);
		out_u64("fills_per_second", "fills/s",
			fill_rate(last, now, st));
		out_str("policy", "policy",
			policy_name(policies, nr, st->policy_id));
		out_end();
	}
	out_end();
}

static int show(int dev, const struct look *last, const struct look *now,
		struct vprobe_error *err)
{
	uint64_t total = meminfo("MemTotal"), available = meminfo("MemAvailable");
	char t[32], a[32], s[32], p[32];
	double pressure = pressure_percent();
	struct vprobe_policy_info *policies;
	uint64_t sum = 0;
	size_t nr, i;
	int ret;

	ret = vprobe_dev_policies(dev, &policies, &nr, err);
	if (ret)
		return ret;
	for (i = 0; i < now->nr; i++)
		sum += now->stats[i].ram_bytes;
	if (!out_json && isatty(STDOUT_FILENO))
		printf("\033[H\033[J");
	out_object(NULL);
	out_size("host_total_bytes", NULL, total);
	out_size("host_available_bytes", NULL, available);
	out_size("vms_total_bytes", NULL, sum);
	out_percent("pressure_percent", NULL, pressure);
	out_note("host %s, available %s; VMs %s, %.0f %% of the host; waiting for memory %s %%",
		 size_text(total, t, sizeof(t)),
		 size_text(available, a, sizeof(a)),
		 size_text(sum, s, sizeof(s)),
		 total ? 100.0 * (double)sum / (double)total : 0.0,
		 percent_text(pressure, p, sizeof(p)));
	show_vms(last, now, policies, nr);
	out_end();
	fflush(stdout);
	free(policies);
	return 0;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'd':
		a->seconds = arg_u32(state, "delay", arg);
		if (!a->seconds || a->seconds > 3600)
			usage_error(state, "the delay is 1 to 3600 seconds");
		return 0;
	case 'n':
		a->times = arg_u32(state, "number of looks", arg);
		return 0;
	case ARGP_KEY_ARG:
		usage_error(state, "unexpected argument \"%s\"", arg);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_top(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "delay", 'd', "SECONDS", 0, "Look so often (default: 2)", 0 },
		{ "number", 'n', "N", 0, "End after so many looks", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.doc = "Show the host's memory, and what each VM uses of its own and has given back, again and again until it is ended. With --json: one document per look.",
	};
	struct args a = { .seconds = 2 };
	struct look last = { 0 }, now = { 0 };
	struct vprobe_error err;
	uint32_t i;
	int dev, ret = 0;

	parse_args(&argp, argc, argv, &a);
	dev = open_device();
	if (dev < 0)
		return EXIT_FAILED;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	/* main() tells if nobody takes it any more. */
	for (i = 0; !ended && !ferror(stdout) && (!a.times || i < a.times);
	     i++) {
		if (i)
			poll(NULL, 0, (int)a.seconds * 1000);
		if (ended)
			break;
		now.ns = now_ns();
		ret = vprobe_dev_stat_all(dev, &now.stats, &now.nr, &err);
		if (!ret)
			ret = show(dev, &last, &now, &err);
		if (ret)
			break;
		free(last.stats);
		last = now;
	}
	free(last.stats);
	close(dev);
	return ret ? fail(&err) : EXIT_OK;
}
