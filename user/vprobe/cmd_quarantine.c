// SPDX-License-Identifier: GPL-2.0-only
/* vprobe quarantine, vprobe release: a VM whose helper is not to be trusted. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

#define WHY "an operator put it there"

struct args {
	struct vm_args vm;
	const char *why;
};

static const struct argp_option options[] = {
	{ "why", 'w', "TEXT", 0,
	  "What 'vprobe stat' says of it (\"" WHY "\")", 0 },
	{ 0 }
};

static const char *parse_why(struct argp_state *state, const char *arg)
{
	if (!*arg || strlen(arg) >= VPROBE_WHY_LEN)
		usage_error(state, "the reason is empty or longer than %d bytes",
			    VPROBE_WHY_LEN - 1);
	if (!text_is_printable(arg))
		usage_error(state,
			    "the reason has to be UTF-8, without control characters");
	return arg;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'w':
		a->why = parse_why(state, arg);
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->vm;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void report(uint64_t id, bool on)
{
	out_object(NULL);
	out_u64("id", NULL, id);
	out_bool("quarantined", NULL, on);
	out_end();
}

int cmd_quarantine(int argc, char **argv)
{
	static const struct argp vm_argp = { .parser = parse_vm };
	static const struct argp_child children[] = {
		{ &vm_argp, 0, NULL, 0 }, { 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.children = children,
		.args_doc = "VM",
		.doc = "Give all memory back to a VM, remove its helper, and refuse any other until it is released or detached.",
	};
	struct args a = { .why = WHY };
	struct vprobe_error err;
	struct vprobe_stat st;
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	ret = vprobe_dev_quarantine(dev, st.id, a.why, &err);
	close(dev);
	if (ret)
		return fail(&err);
	out_note("VM %llu is in quarantine", (unsigned long long)st.id);
	report(st.id, true);
	return EXIT_OK;
}

int cmd_release(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_vm,
		.args_doc = "VM",
		.doc = "End the quarantine of a VM. Its guest has to register again.",
	};
	struct vm_args a = { 0 };
	struct vprobe_error err;
	struct vprobe_stat st;
	int dev, ret = 0;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	if (!st.quarantine_why[0])
		ret = vprobe_error_set(&err, -ENOENT,
				       "VM %llu is not in quarantine",
				       (unsigned long long)st.id);
	if (!ret)
		ret = vprobe_dev_quarantine(dev, st.id, NULL, &err);
	close(dev);
	if (ret)
		return fail(&err);
	out_note("released VM %llu; its guest has to register again",
		 (unsigned long long)st.id);
	report(st.id, false);
	return EXIT_OK;
}
