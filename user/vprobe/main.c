// SPDX-License-Identifier: GPL-2.0-only
/* vprobe: for the operator of the host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vprobe.h"

#ifndef VPROBE_VERSION
#error "the Makefile sets VPROBE_VERSION"
#endif

static const struct command commands[] = {
	{ "ls", "list the attached VMs", cmd_ls },
	{ "attach", "attach the VM of a running VMM", cmd_attach },
	{ "detach", "give all memory back and forget a VM, or all", cmd_detach },
	{ "stat", "show the counters of a VM", cmd_stat },
	{ "reclaim", "take free memory back from a VM", cmd_reclaim },
	{ "fill", "give memory back to a VM", cmd_fill },
	{ "free-map", "list the holes of a VM, and what is free",
	  cmd_free_map },
	{ "helper", "show or remove the helper of a VM", cmd_helper },
	{ "quarantine", "remove the helper of a VM, accept no other",
	  cmd_quarantine },
	{ "release", "end the quarantine of a VM", cmd_release },
	{ "policy", "show, load, set or unload policies", cmd_policy },
	{ "top", "watch the VMs and the host's memory", cmd_top },
	{ "version", "show the versions of program and module", cmd_version },
};

static const struct argp_option top_options[] = {
	{ "json", 'j', NULL, 0, "Print JSON", 0 },
	{ 0 }
};

static char *help_filter(int key, const char *text, void *input)
{
	char *buf = NULL;
	size_t len = 0, i;
	FILE *f;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)(uintptr_t)text;
	f = open_memstream(&buf, &len);
	if (!f)
		return NULL;
	fprintf(f, "Commands:\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "\n'vprobe COMMAND --help' explains a command. A VM is given by its id, its name,\nor pid:N. Exit codes: 0 done, 1 failed, 2 usage.");
	fclose(f);
	return buf;
}

static error_t parse_top(int key, char *arg, struct argp_state *state)
{
	int *first = state->input;

	(void)arg;
	switch (key) {
	case 'j':
		out_json = true;
		return 0;
	case ARGP_KEY_ARG:
		*first = state->next - 1;
		state->next = state->argc;	/* the rest is the command's */
		return 0;
	case ARGP_KEY_NO_ARGS:
		usage_error(state, "which command?");
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What was printed has to be there, or a script takes a part for the whole. */
static int written(int ret)
{
	if (!fflush(stdout) && !ferror(stdout))
		return ret;
	fprintf(stderr, "vprobe: cannot write the output: %s\n",
		strerror(errno));
	return ret ?: EXIT_FAILED;
}

/* It may come after what is wrong. */
static void find_json(char **argv)
{
	for (argv++; *argv && strcmp(*argv, "--"); argv++)
		out_json |= !strcmp(*argv, "-j") || !strcmp(*argv, "--json");
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = top_options,
		.parser = parse_top,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = "Takes back the memory that KVM guests do not use.\v-",
		.help_filter = help_filter,
	};
	char name[64];
	int first = 0;
	size_t i;

	argp_err_exit_status = EXIT_USAGE;
	argp_program_version = "vprobe " VPROBE_VERSION;
	find_json(argv);
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &first))
		return EXIT_USAGE;
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[first], commands[i].name))
			continue;
		/* What argp calls itself in its messages. */
		snprintf(name, sizeof(name), "vprobe %s", argv[first]);
		argv[first] = name;
		program_invocation_short_name = name;
		return written(commands[i].run(argc - first, argv + first));
	}
	usage_error(NULL, "there is no command \"%s\"; 'vprobe --help' lists those that there are",
		    argv[first]);
}
