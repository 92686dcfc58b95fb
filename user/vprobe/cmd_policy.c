// SPDX-License-Identifier: GPL-2.0-only
/* vprobe policy: which policy decides, and with which knobs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"
#include "vprobe.h"

struct args {
	bool all;
	const char *verb;
	const char *file;
	const char *vm;
	struct json_object *knobs;
};

static const struct argp_option options[] = {
	{ "vm", 'v', "VM", 0, "For this VM only, not for all", 0 },
	{ "all", 'a', NULL, 0, "Unload those of single VMs, too", 0 },
	{ 0 }
};

static void add_knob(struct args *a, char *arg, struct argp_state *state)
{
	char *equals = strchr(arg, '=');

	if (!equals || equals == arg)
		usage_error(state, "\"%s\" is no KEY=VALUE", arg);
	*equals = 0;
	json_object_object_add(a->knobs, arg,
			       json_object_new_string(equals + 1));
}

static bool is_verb(const char *verb)
{
	return !strcmp(verb, "show") || !strcmp(verb, "load") ||
	       !strcmp(verb, "set") || !strcmp(verb, "unload");
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'v':
		a->vm = arg;
		return 0;
	case 'a':
		a->all = true;
		return 0;
	case ARGP_KEY_ARG:
		if (!a->verb) {
			if (!is_verb(arg))
				usage_error(state, "show, load, set or unload?");
			a->verb = arg;
		} else if (!strcmp(a->verb, "load") && !a->file) {
			a->file = arg;
		} else if (!strcmp(a->verb, "load") || !strcmp(a->verb, "set")) {
			add_knob(a, arg, state);
		} else {
			usage_error(state, "unexpected argument \"%s\"", arg);
		}
		return 0;
	case ARGP_KEY_END:
		if (!a->verb)
			usage_error(state, "show, load, set or unload?");
		if (!strcmp(a->verb, "show") && a->vm)
			usage_error(state,
				    "show lists all policies; --vm goes with load, set and unload");
		if (a->all && (strcmp(a->verb, "unload") || a->vm))
			usage_error(state, "--all goes with unload, without --vm");
		if (!strcmp(a->verb, "load") && !a->file)
			usage_error(state, "which policy?");
		if (!strcmp(a->verb, "set") &&
		    !json_object_object_length(a->knobs))
			usage_error(state, "set what? Write KEY=VALUE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const char *state_name(unsigned int state)
{
	switch (state) {
	case VPROBE_POLICY_STATE_READY:
		return "ready";
	case VPROBE_POLICY_STATE_EVICTED:
		return "evicted";
	case VPROBE_POLICY_STATE_GONE:
		return "gone";
	default:
		return "unknown";
	}
}

static const struct out_column columns[] = {
	{ "ID", 4 }, { "NAME", -20 }, { "VM", 4 }, { "STATE", -8 },
	{ "DRIVES", 7 }, { "CALLS", 10 }, { "TIME", 10 }, { "WHY", -1 },
};

/* How many VMs ask the policy; 0 is the built-in one. */
static uint64_t drives(const struct vprobe_stat *stats, size_t nr, uint64_t id)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		n += stats[i].policy_id == id;
	return n;
}

static void show_row(const struct vprobe_policy_info *p, uint64_t nr_vms)
{
	out_object(NULL);
	out_u64("id", "id", p->id);
	out_str("name", "name", p->name);
	out_u64("vm_id", "vm", p->vm_id);
	out_str("state", "state", state_name(p->state));
	out_u64("drives", "drives", nr_vms);
	out_u64("calls", "calls", p->calls);
	out_ns("ns", "time", p->ns);
	out_str("why", "why", p->why);
	out_end();
}

static int show(int dev)
{
	struct vprobe_policy_info builtin = { .name = "(built-in)" };
	struct vprobe_policy_info *policies;
	struct vprobe_stat *stats = NULL;
	struct vprobe_error err;
	size_t nr, nr_stats, i;

	if (vprobe_dev_policies(dev, &policies, &nr, &err))
		return fail(&err);
	if (vprobe_dev_stat_all(dev, &stats, &nr_stats, &err)) {
		free(policies);
		return fail(&err);
	}
	out_table(NULL, columns, ARRAY_SIZE(columns));
	for (i = 0; i < nr; i++)
		show_row(&policies[i],
			 drives(stats, nr_stats, policies[i].id));
	show_row(&builtin, drives(stats, nr_stats, 0));
	out_end();
	free(stats);
	free(policies);
	return EXIT_OK;
}

static int unload_all(void)
{
	struct vprobe_error err;
	unsigned int nr = 0;
	int lock, ret;

	lock = policy_lock();
	ret = policy_unload_all(&nr, &err);
	if (lock >= 0)
		close(lock);
	if (ret)
		return fail(&err);
	out_note("unloaded %u policies", nr);
	out_object(NULL);
	out_u64("unloaded", NULL, nr);
	out_end();
	return EXIT_OK;
}

static int change(const struct args *a, uint64_t vm_id)
{
	const char *what = a->file ?: "the policy";
	struct vprobe_error err;
	int lock, ret;

	lock = policy_lock();
	if (!strcmp(a->verb, "load"))
		ret = policy_load(a->file, vm_id, a->knobs, &err);
	else if (!strcmp(a->verb, "set"))
		ret = policy_set(vm_id, a->knobs, &err);
	else
		ret = policy_unload(vm_id, &err);
	if (lock >= 0)
		close(lock);
	if (ret)
		return fail(&err);
	if (!strcmp(a->verb, "unload"))
		out_note("unloaded the policy of %s", a->vm ?: "all VMs");
	else
		out_note("%s decides for %s now", what, a->vm ?: "all VMs");
	out_object(NULL);
	out_u64("vm_id", NULL, vm_id);
	out_end();
	return EXIT_OK;
}

/* Its VM may have gone, and is not asked about. */
static bool bare_id(const struct args *a, uint64_t *id)
{
	const char *text = a->vm;
	char *end;

	if (!text || strcmp(a->verb, "unload"))
		return false;
	if (!strncmp(text, "id:", 3))
		text += 3;
	*id = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *id;
}

int cmd_policy(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.args_doc = "show\nload FILE|NAME [KEY=VALUE...]\nset KEY=VALUE...\nunload [--all]",
		.doc = "Show which policies there are, load one into the kernel in place of the last, change its knobs, or unload it. NAME is one of those in "
			POLICY_DIR
			".\vLoading, setting and unloading are for all VMs, or for one with --vm, which goes before what is for all and stays registered, for nobody, when that VM is detached. What bpftool registered is shown here and unregistered with bpftool.",
	};
	struct args a = { .knobs = json_object_new_object() };
	struct vprobe_stat st = { 0 };
	uint64_t id = 0;
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	if (!a.vm || bare_id(&a, &id))
		dev = open_device();
	else
		dev = open_vm(a.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	if (a.all)
		ret = unload_all();
	else if (strcmp(a.verb, "show"))
		ret = change(&a, id ?: st.id);
	else
		ret = show(dev);
	close(dev);
	json_object_put(a.knobs);
	return ret;
}
