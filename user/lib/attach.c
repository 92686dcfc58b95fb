// SPDX-License-Identifier: GPL-2.0-only
/* From a process to an attached VM. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "libvprobe.h"

/* What the command line says, unless the caller says it. */
static int set_labels(struct vprobe_attach *req, const struct vprobe_vmm *vmm,
		      const struct vprobe_attach_options *opt,
		      struct vprobe_error *err)
{
	if (opt->cid && vmm->cid && opt->cid != vmm->cid)
		return vprobe_error_set(err, -EINVAL,
			"cannot attach process %d: its command line says that the vsock context id is %u, not %u; leave --cid out",
			vmm->pid, vmm->cid, opt->cid);
	req->cid = opt->cid ? opt->cid : vmm->cid;
	if (opt->name)
		snprintf(req->name, sizeof(req->name), "%s", opt->name);
	else if (vprobe_is_name(vmm->name))
		snprintf(req->name, sizeof(req->name), "%s", vmm->name);
	else
		snprintf(req->name, sizeof(req->name), "vm-%d", vmm->pid);
	return 0;
}

/* A pid is not used again while the process that @pidfd is of lives. */
static int check_same(pid_t pid, int pidfd, struct vprobe_error *err)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0 || !poll(&pfd, 1, 0))
		return 0;
	return vprobe_error_set(err, -ESRCH, "process %d has just exited", pid);
}

int vprobe_attach_process(int dev, pid_t pid, int pidfd,
			  const struct vprobe_attach_options *opt,
			  struct vprobe_attach *req, struct vprobe_error *err)
{
	struct vprobe_vmm vmm;
	unsigned int i;
	int ret;

	memset(req, 0, sizeof(*req));
	ret = vprobe_vmm_open(pid, &vmm, err);
	if (ret)
		return ret;
	req->kvm_fd = vmm.kvm_fd;
	req->nr_iommufds = vmm.nr_iommufds;
	for (i = 0; i < vmm.nr_iommufds; i++)
		req->iommufds[i] = vmm.iommufds[i];
	req->pid = (uint32_t)pid;
	req->granule_shift = opt->granule_shift;
	req->fill_timeout_ms = opt->fill_timeout_ms;
	if (opt->stray_fault)
		req->flags |= VPROBE_ATTACH_STRAY_FAULT;
	ret = set_labels(req, &vmm, opt, err);
	if (!ret)
		ret = check_same(pid, pidfd, err);
	if (!ret)
		ret = vprobe_dev_attach(dev, req, err);
	vprobe_vmm_close(&vmm);
	return ret;
}
