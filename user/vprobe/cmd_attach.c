// SPDX-License-Identifier: GPL-2.0-only
/* vprobe attach: from a process id to an attached VM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

enum { OPT_STRAY = 256, OPT_GRANULE, OPT_TIMEOUT, OPT_CID, OPT_NAME };

struct args {
	uint32_t pid;
	bool stray_fault;
	unsigned int granule_shift;
	uint32_t fill_timeout_ms;
	uint32_t cid;
	const char *name;
};

static const struct argp_option options[] = {
	{ "stray", OPT_STRAY, "absorb|fault", 0,
	  "What a device meets in a hole: a scrap page of this VM (absorb, the default), or an IOMMU fault", 0 },
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
	uint64_t bytes = arg_size(state, "granule", arg);
	unsigned int shift = 63 - (unsigned int)__builtin_clzll(bytes | 1);

	if (bytes != 1ULL << shift || shift < 12 + VPROBE_ORDER_MIN ||
	    shift > 12 + VPROBE_ORDER_MAX)
		argp_error(state,
			   "the granule \"%s\" is not a power of two from 64K to 32M",
			   arg);
	return shift;
}

static void parse_stray(struct argp_state *state, const char *arg,
			struct args *a)
{
	if (strcmp(arg, "absorb") && strcmp(arg, "fault"))
		argp_error(state,
			   "--stray is absorb or fault, not \"%s\"", arg);
	a->stray_fault = !strcmp(arg, "fault");
}

static const char *parse_name(struct argp_state *state, const char *arg)
{
	const char *p;

	if (!*arg || strlen(arg) >= VPROBE_NAME_LEN)
		argp_error(state, "the name \"%s\" is empty or longer than %d bytes",
			   arg, VPROBE_NAME_LEN - 1);
	for (p = arg; *p; p++) {
		if (*p < 0x21 || *p > 0x7e)
			argp_error(state,
				   "the name must be printable ASCII without spaces");
	}
	return arg;
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case OPT_STRAY:
		parse_stray(state, arg, a);
		return 0;
	case OPT_GRANULE:
		a->granule_shift = parse_granule(state, arg);
		return 0;
	case OPT_TIMEOUT:
		a->fill_timeout_ms = arg_u32(state, "time-out", arg);
		if (!a->fill_timeout_ms)
			argp_error(state, "the time-out is at least 1 ms");
		return 0;
	case OPT_CID:
		a->cid = arg_u32(state, "context id", arg);
		if (a->cid < 3 || a->cid == UINT32_MAX)
			argp_error(state,
				   "a guest's vsock context id is 3 or more");
		return 0;
	case OPT_NAME:
		a->name = parse_name(state, arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "unexpected argument \"%s\"", arg);
		a->pid = arg_u32(state, "process id", arg);
		if (!a->pid || a->pid > INT32_MAX)
			argp_error(state, "\"%s\" is no process id", arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "the process id of which VMM?");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What the command line says, unless the operator says it. */
static int set_labels(struct vprobe_attach *req, const struct vprobe_vmm *vmm,
		      const struct args *a, struct vprobe_error *err)
{
	if (a->cid && vmm->cid && a->cid != vmm->cid)
		return vprobe_error_set(err, -EINVAL,
			"cannot attach process %u: its command line says that the vsock context id is %u, not %u; leave --cid out",
			a->pid, vmm->cid, a->cid);
	req->cid = a->cid ? a->cid : vmm->cid;
	if (a->name)
		snprintf(req->name, sizeof(req->name), "%s", a->name);
	else if (vmm->name[0])
		snprintf(req->name, sizeof(req->name), "%s", vmm->name);
	else
		snprintf(req->name, sizeof(req->name), "vm-%u", a->pid);
	return 0;
}

static int attach(int dev, const struct args *a, struct vprobe_attach *req,
		  struct vprobe_error *err)
{
	struct vprobe_vmm vmm;
	unsigned int i;
	int ret;

	ret = vprobe_vmm_open((pid_t)a->pid, &vmm, err);
	if (ret)
		return ret;
	req->kvm_fd = vmm.kvm_fd;
	req->nr_iommufds = vmm.nr_iommufds;
	for (i = 0; i < vmm.nr_iommufds; i++)
		req->iommufds[i] = vmm.iommufds[i];
	req->pid = a->pid;
	req->granule_shift = a->granule_shift;
	req->fill_timeout_ms = a->fill_timeout_ms;
	if (a->stray_fault)
		req->flags |= VPROBE_ATTACH_STRAY_FAULT;
	ret = set_labels(req, &vmm, a, err);
	if (!ret)
		ret = vprobe_dev_attach(dev, req, err);
	vprobe_vmm_close(&vmm);
	return ret;
}

int cmd_attach(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.args_doc = "PID",
		.doc = "Attach the VM that the process PID runs. The process is neither stopped nor changed.",
	};
	struct vprobe_attach req = { 0 };
	struct vprobe_error err;
	struct args a = { 0 };
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_device();
	if (dev < 0)
		return EXIT_FAILED;
	ret = attach(dev, &a, &req, &err);
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
