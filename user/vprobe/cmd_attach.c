// SPDX-License-Identifier: GPL-2.0-only
/* vprobe attach: from a process id to an attached VM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

enum { OPT_STRAY = 256, OPT_GRANULE, OPT_TIMEOUT, OPT_CID, OPT_NAME };

struct args {
	pid_t pid;
	struct vprobe_attach_options opt;
};

static const struct argp_option options[] = {
	{ "stray", OPT_STRAY, "absorb|fault", 0,
	  "What a device meets in a hole: scrap memory of this VM alone (absorb, the default), or an IOMMU fault",
	  0 },
	{ "granule", OPT_GRANULE, "SIZE", 0,
	  "Unit of reclaim, a power of two from 64K to 32M (2M)", 0 },
	{ "fill-timeout", OPT_TIMEOUT, "MS", 0,
	  "How long a vCPU may wait for memory before the VM is stopped (10000)", 0 },
	{ "cid", OPT_CID, "N", 0,
	  "The VM's vsock context id, if its command line does not tell", 0 },
	{ "name", OPT_NAME, "NAME", 0,
	  "Name of the VM here (default: that of its command line)", 0 },
	{ 0 }
};

static unsigned int parse_granule(struct argp_state *state, const char *arg)
{
	unsigned int shift = 0;

	if (vprobe_parse_granule(arg, &shift))
		usage_error(state,
			    "the granule \"%s\" is not a power of two from 64K to 32M",
			    arg);
	return shift;
}

static void parse_stray(struct argp_state *state, const char *arg,
			struct args *a)
{
	if (strcmp(arg, "absorb") && strcmp(arg, "fault"))
		usage_error(state,
			    "--stray is absorb or fault, not \"%s\"", arg);
	a->opt.stray_fault = !strcmp(arg, "fault");
}

static const char *parse_name(struct argp_state *state, const char *arg)
{
	const char *p;

	if (!*arg || strlen(arg) >= VPROBE_NAME_LEN)
		usage_error(state, "the name \"%s\" is empty or longer than %d bytes",
			    arg, VPROBE_NAME_LEN - 1);
	for (p = arg; *p; p++) {
		if (*p < 0x21 || *p > 0x7e)
			usage_error(state,
				    "the name must be printable ASCII without spaces");
	}
	if (!vprobe_is_name(arg))
		usage_error(state,
			    "the name \"%s\" would be taken for an id, a process or all VMs; choose another one",
			    arg);
	return arg;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;
	uint32_t pid;

	switch (key) {
	case OPT_STRAY:
		parse_stray(state, arg, a);
		return 0;
	case OPT_GRANULE:
		a->opt.granule_shift = parse_granule(state, arg);
		return 0;
	case OPT_TIMEOUT:
		a->opt.fill_timeout_ms = arg_u32(state, "time-out", arg);
		if (a->opt.fill_timeout_ms < VPROBE_FILL_TIMEOUT_MIN ||
		    a->opt.fill_timeout_ms > INT32_MAX)
			usage_error(state, "the time-out is %d to %d ms",
				    VPROBE_FILL_TIMEOUT_MIN, INT32_MAX);
		return 0;
	case OPT_CID:
		a->opt.cid = arg_u32(state, "context id", arg);
		if (a->opt.cid < 3 || a->opt.cid == UINT32_MAX)
			usage_error(state,
				    "a guest's vsock context id is 3 or more");
		return 0;
	case OPT_NAME:
		a->opt.name = parse_name(state, arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			usage_error(state, "unexpected argument \"%s\"", arg);
		pid = arg_u32(state, "process id", arg);
		if (!pid || pid > INT32_MAX)
			usage_error(state, "\"%s\" is no process id", arg);
		a->pid = (pid_t)pid;
		return 0;
	case ARGP_KEY_NO_ARGS:
		usage_error(state, "the process id of which VMM?");
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_attach(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.args_doc = "PID",
		.doc = "Attach the VM that the process PID runs. The process is neither stopped nor changed.",
	};
	struct vprobe_attach req;
	struct vprobe_error err;
	struct args a = { 0 };
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_device();
	if (dev < 0)
		return EXIT_FAILED;
	ret = vprobe_attach_process(dev, a.pid, -1, &a.opt, &req, &err);
	close(dev);
	if (ret)
		return fail(&err);
	out_note("attached %s (process %u) as VM %llu, %u iommufd%s, vsock context id %u",
		 req.name, req.pid, (unsigned long long)req.id,
		 req.nr_iommufds, req.nr_iommufds == 1 ? "" : "s", req.cid);
	if (!req.cid)
		out_note("it has no vsock context id: its guest cannot register a helper (QEMU: -device vhost-vsock-pci,guest-cid=N)");
	out_object(NULL);
	out_u64("id", NULL, req.id);
	out_str("name", NULL, req.name);
	out_u64("pid", NULL, req.pid);
	out_u64("cid", NULL, req.cid);
	out_u64("iommufds", NULL, req.nr_iommufds);
	out_end();
	return EXIT_OK;
}
