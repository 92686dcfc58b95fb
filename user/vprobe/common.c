// SPDX-License-Identifier: GPL-2.0-only
/* What the subcommands share. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	switch (key) {
	case 'j':
		out_json = true;
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->input;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void parse_args(const struct argp *argp, int argc, char **argv, void *input)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "Print JSON", -1 },
		{ 0 }
	};
	const struct argp_child children[] = { { argp, 0, NULL, 0 }, { 0 } };
	const struct argp all = {
		.options = options,
		.parser = parse_common,
		.children = children,
	};

	if (argp_parse(&all, argc, argv, 0, NULL, input))
		exit(EXIT_USAGE);
}

void usage_error(const struct argp_state *state, const char *fmt, ...)
{
	struct vprobe_error err = { 0 };
	char text[sizeof(err.text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (state && !out_json)
		argp_error(state, "%s", text);
	vprobe_error_set(&err, -EINVAL, "%s", text);
	fail(&err);
	exit(EXIT_USAGE);
}

static uint64_t arg_size(struct argp_state *state, const char *what, const char *arg)
{
	uint64_t bytes = 0;
	int ret = vprobe_parse_size(arg, &bytes);

	if (ret == -ERANGE)
		usage_error(state, "the %s \"%s\" is zero or too large", what,
			    arg);
	else if (ret)
		usage_error(state,
			    "the %s \"%s\" is no size; write 512M, 1.5G, or all",
			    what, arg);
	return bytes;
}

uint32_t arg_u32(struct argp_state *state, const char *what, const char *arg)
{
	unsigned long long val;
	char *end;

	errno = 0;
	val = strtoull(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || val > UINT32_MAX)
		usage_error(state, "the %s \"%s\" is no number, or too large",
			    what, arg);
	return (uint32_t)val;
}

static error_t parse_vm_args(int key, char *arg, struct argp_state *state,
			     bool sized)
{
	struct vm_args *a = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (!state->arg_num) {
			a->vm = arg;
		} else if (state->arg_num == 1 && sized) {
			a->size = arg_size(state, "amount", arg);
			a->has_size = true;
		} else {
			usage_error(state, "unexpected argument \"%s\"", arg);
		}
		return 0;
	case ARGP_KEY_NO_ARGS:
		usage_error(state, "which VM?");
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

error_t parse_vm(int key, char *arg, struct argp_state *state)
{
	return parse_vm_args(key, arg, state, false);
}

error_t parse_vm_size(int key, char *arg, struct argp_state *state)
{
	return parse_vm_args(key, arg, state, true);
}

void error_fields(const struct vprobe_error *err)
{
	out_str("error", NULL, err->text);
	out_str("reason", NULL, vprobe_reason_name(err->reason));
	out_u64("errno", NULL, (uint64_t)-err->code);
}

int fail(const struct vprobe_error *err)
{
	if (!out_json) {
		fprintf(stderr, "vprobe: %s\n", err->text);
		return EXIT_FAILED;
	}
	out_object(NULL);
	error_fields(err);
	out_end();
	return EXIT_FAILED;
}

int fail_partly(const struct vprobe_error *err)
{
	return out_json ? EXIT_FAILED : fail(err);
}

int open_device(void)
{
	struct vprobe_error err;
	int dev = vprobe_open(&err);

	if (dev >= 0)
		return dev;
	fail(&err);
	return -1;
}

int open_vm(const char *spec, struct vprobe_stat *stat)
{
	struct vprobe_error err;
	int dev = open_device();

	if (dev < 0)
		return -1;
	if (!vprobe_find_vm(dev, spec, stat, &err))
		return dev;
	fail(&err);
	close(dev);
	return -1;
}
