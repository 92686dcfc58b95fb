// SPDX-License-Identifier: GPL-2.0-only
/* vprobe helper: what the guest registered. vprobed loads it, not we. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

struct args {
	const char *verb;
	const char *vm;
};

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			a->verb = arg;
		else if (state->arg_num == 1)
			a->vm = arg;
		else
			usage_error(state, "unexpected argument \"%s\"", arg);
		return 0;
	case ARGP_KEY_END:
		if (!a->verb ||
		    (strcmp(a->verb, "show") && strcmp(a->verb, "remove")))
			usage_error(state, "show or remove?");
		if (!a->vm)
			usage_error(state, "which VM?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show(const struct vprobe_stat *st)
{
	out_object(NULL);
	out_u64("id", "VM", st->id);
	out_bool("registered", "helper registered", st->has_helper);
	out_u64("runs", "runs", st->helper_runs);
	out_ns("ns", "time", st->helper_ns);
	out_u64("errors", "errors", st->helper_errors);
	out_end();
}

int cmd_helper(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_opt,
		.args_doc = "show|remove VM",
		.doc = "Show whether the guest has registered a helper, or remove it: every hole is filled first.",
	};
	struct args a = { 0 };
	struct vprobe_error err;
	struct vprobe_stat st;
	int dev, ret = 0;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	if (!strcmp(a.verb, "show")) {
		show(&st);
		close(dev);
		return EXIT_OK;
	}
	if (st.state == VPROBE_VM_NO_HELPER || st.quarantine_why[0])
		ret = vprobe_error_set(&err, -ENOENT,
				       "VM %llu has no helper that could be removed",
				       (unsigned long long)st.id);
	if (!ret)
		ret = vprobe_dev_set_helper(dev, st.id, -1, NULL, 0, 0, &err);
	close(dev);
	if (ret)
		return fail(&err);
	out_note("removed the helper of VM %llu", (unsigned long long)st.id);
	out_object(NULL);
	out_u64("id", NULL, st.id);
	out_end();
	return EXIT_OK;
}
