// SPDX-License-Identifier: GPL-2.0-only
/* /dev/vprobe: opening it, and one function per ioctl. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libvprobe.h"

/*
 * Tables that grow between the call that counts and the call that fetches are
 * asked for again, this often.
 */
#define GROW_TRIES 8

static int ioctl_failed(struct vprobe_error *err, int e, unsigned int reason,
			const char *what, uint64_t id)
{
	if (reason != VPROBE_REASON_NONE)
		vprobe_error_set(err, -e, "cannot %s VM %llu: %s", what,
				 (unsigned long long)id,
				 vprobe_reason_text(reason));
	else if (e == EPERM || e == EACCES)
		vprobe_error_set(err, -e,
				 "cannot %s VM %llu: no permission; run as root or with CAP_SYS_ADMIN",
				 what, (unsigned long long)id);
	else if (e == ENOTTY)
		vprobe_error_set(err, -e,
				 "cannot %s VM %llu: the loaded vprobe module does not know this call; load the module that belongs to this version",
				 what, (unsigned long long)id);
	else
		vprobe_error_set(err, -e, "cannot %s VM %llu: %s", what,
				 (unsigned long long)id, strerror(e));
	if (err)
		err->reason = reason;
	return -e;
}

int vprobe_dev_info(int dev, struct vprobe_info *info,
		    struct vprobe_error *err)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	if (ioctl(dev, VPROBE_IOC_INFO, info)) {
		int e = errno;

		if (e == EPERM || e == EACCES)
			return vprobe_error_set(err, -e,
				"cannot use " VPROBE_DEVICE ": no permission; run as root or with CAP_SYS_ADMIN");
		return vprobe_error_set(err, -e,
			"cannot ask " VPROBE_DEVICE " for its version: %s",
			strerror(e));
	}
	return 0;
}

int vprobe_open(struct vprobe_error *err)
{
	struct vprobe_info info;
	int fd, ret;

	fd = open(VPROBE_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		int e = errno;

		if (e == ENOENT || e == ENXIO || e == ENODEV)
			return vprobe_error_set(err, -e,
				"cannot open " VPROBE_DEVICE ": the vprobe module is not loaded; run 'modprobe vprobe' (if that says \"Unknown symbol\", the running kernel lacks the V-Probe patches: boot one that has them)");
		if (e == EACCES || e == EPERM)
			return vprobe_error_set(err, -e,
				"cannot open " VPROBE_DEVICE ": no permission; run as root or with CAP_SYS_ADMIN");
		return vprobe_error_set(err, -e,
			"cannot open " VPROBE_DEVICE ": %s", strerror(e));
	}
	ret = vprobe_dev_info(fd, &info, err);
	if (!ret && info.version != VPROBE_API_VERSION)
		ret = vprobe_error_set(err, -EPROTO,
				       "the vprobe module speaks version %u of its interface, this program version %d; install both from the same release",
				       info.version, VPROBE_API_VERSION);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

int vprobe_dev_attach(int dev, struct vprobe_attach *req,
		      struct vprobe_error *err)
{
	int e;

	req->size = sizeof(*req);
	if (!ioctl(dev, VPROBE_IOC_ATTACH, req))
		return 0;
	e = errno;
	if (req->reason != VPROBE_REASON_NONE)
		vprobe_error_set(err, -e, "cannot attach process %u: %s",
				 req->pid, vprobe_reason_text(req->reason));
	else if (e == EPERM || e == EACCES)
		vprobe_error_set(err, -e,
				 "cannot attach process %u: no permission; run as root or with CAP_SYS_ADMIN",
				 req->pid);
	else
		vprobe_error_set(err, -e, "cannot attach process %u: %s",
				 req->pid, strerror(e));
	if (err)
		err->reason = req->reason;
	return -e;
}

int vprobe_dev_detach(int dev, uint64_t id, struct vprobe_error *err)
{
	struct vprobe_detach req = { .size = sizeof(req), .id = id };

	if (ioctl(dev, VPROBE_IOC_DETACH, &req))
		return ioctl_failed(err, errno, req.reason, "detach", id);
	return 0;
}

int vprobe_dev_set_helper(int dev, uint64_t id, int prog_fd,
			  const void *layout, size_t layout_len,
			  uint64_t as_of_ns, struct vprobe_error *err)
{
	struct vprobe_set_helper req = {
		.size = sizeof(req),
		.id = id,
		.prog_fd = prog_fd,
		.layout_len = (uint32_t)layout_len,
		.layout = (uintptr_t)layout,
		.as_of_ns = as_of_ns,
	};

	if (layout_len > VPROBE_LAYOUT_MAX)
		return vprobe_error_set(err, -E2BIG,
			"cannot set the helper of VM %llu: its layout has %zu bytes, at most %d are possible",
			(unsigned long long)id, layout_len, VPROBE_LAYOUT_MAX);
	if (ioctl(dev, VPROBE_IOC_SET_HELPER, &req))
		return ioctl_failed(err, errno, req.reason,
				    prog_fd < 0 ? "remove the helper of" :
				    "set the helper of", id);
	return 0;
}

int vprobe_dev_reclaim(int dev, struct vprobe_reclaim *req,
		       struct vprobe_error *err)
{
	req->size = sizeof(*req);
	if (ioctl(dev, VPROBE_IOC_RECLAIM, req))
		return ioctl_failed(err, errno, req->reason,
				    "reclaim memory from", req->id);
	return 0;
}

int vprobe_dev_fill(int dev, struct vprobe_fill *req,
		    struct vprobe_error *err)
{
	req->size = sizeof(*req);
	if (ioctl(dev, VPROBE_IOC_FILL, req))
		return ioctl_failed(err, errno, req->reason,
				    "give memory back to", req->id);
	return 0;
}

int vprobe_dev_stat(int dev, uint64_t id, struct vprobe_stat *stat,
		    struct vprobe_error *err)
{
	memset(stat, 0, sizeof(*stat));
	stat->size = sizeof(*stat);
	stat->id = id;
	if (ioctl(dev, VPROBE_IOC_STAT, stat))
		return ioctl_failed(err, errno, stat->reason,
				    "read the counters of", id);
	stat->name[sizeof(stat->name) - 1] = '\0';
	stat->quarantine_why[sizeof(stat->quarantine_why) - 1] = '\0';
	return 0;
}

int vprobe_dev_quarantine(int dev, uint64_t id, const char *why,
			  struct vprobe_error *err)
{
	struct vprobe_quarantine req = { .size = sizeof(req), .id = id };

	if (why) {
		size_t len = strlen(why);

		req.flags = VPROBE_QUARANTINE_ON;
		if (!len || len >= sizeof(req.why))
			return vprobe_error_set(err, -EINVAL,
				"cannot quarantine VM %llu: the reason is empty or longer than %zu bytes",
				(unsigned long long)id, sizeof(req.why) - 1);
		memcpy(req.why, why, len + 1);
	}
	if (ioctl(dev, VPROBE_IOC_QUARANTINE, &req))
		return ioctl_failed(err, errno, req.reason,
				    why ? "give all memory back for the quarantine of" :
				    "release", id);
	return 0;
}

int vprobe_dev_list(int dev, uint64_t **ids, size_t *nr,
		    struct vprobe_error *err)
{
	size_t room = 16;
	int tries;

	*ids = NULL;
	*nr = 0;
	for (tries = 0; tries < GROW_TRIES; tries++) {
		struct vprobe_list req = { .size = sizeof(req) };
		uint64_t *buf = calloc(room, sizeof(*buf));

		if (!buf)
			return vprobe_error_set(err, -ENOMEM,
				"cannot list VMs: out of memory");
		req.nr = (uint32_t)room;
		req.ids = (uintptr_t)buf;
		if (ioctl(dev, VPROBE_IOC_LIST, &req)) {
			int e = errno;

			free(buf);
			return vprobe_error_set(err, -e, "cannot list VMs: %s",
				e == EPERM || e == EACCES ?
				"no permission; run as root or with CAP_SYS_ADMIN" :
				strerror(e));
		}
		if (req.nr <= room) {
			if (!req.nr) {
				free(buf);
				buf = NULL;
			}
			*ids = buf;
			*nr = req.nr;
			return 0;
		}
		free(buf);
		room = (size_t)req.nr + 16;
	}
	return vprobe_error_set(err, -EAGAIN,
		"cannot list VMs: they come and go too fast; try again");
}

int vprobe_dev_stat_all(int dev, struct vprobe_stat **stats, size_t *nr,
			struct vprobe_error *err)
{
	struct vprobe_stat *buf;
	uint64_t *ids;
	size_t n, i;
	int ret;

	ret = vprobe_dev_list(dev, &ids, &n, err);
	if (ret)
		return ret;
	buf = calloc(n + 1, sizeof(*buf));
	if (!buf) {
		free(ids);
		return vprobe_error_set(err, -ENOMEM,
			"cannot read the counters of all VMs: out of memory");
	}
	*nr = 0;
	for (i = 0; ids && i < n; i++) {
		ret = vprobe_dev_stat(dev, ids[i], &buf[*nr], err);
		if (!ret)
			++*nr;
		else if (ret != -ENOENT)
			break;
		ret = 0;
	}
	free(ids);
	if (ret)
		free(buf);
	else
		*stats = buf;
	return ret;
}

int vprobe_dev_map(int dev, uint64_t id, unsigned int flags,
		   struct vprobe_block **blocks, size_t *nr,
		   struct vprobe_error *err)
{
	size_t room = 1024;
	int tries;

	*blocks = NULL;
	*nr = 0;
	for (tries = 0; tries < GROW_TRIES; tries++) {
		struct vprobe_block *buf = calloc(room, sizeof(*buf));
		struct vprobe_map req = {
			.size = sizeof(req),
			.id = id,
			.nr = (uint32_t)room,
			.flags = flags,
			.blocks = (uintptr_t)buf,
		};

		if (!buf)
			return vprobe_error_set(err, -ENOMEM,
				"cannot list the blocks of VM %llu: out of memory",
				(unsigned long long)id);
		if (ioctl(dev, VPROBE_IOC_MAP, &req)) {
			int e = errno;

			free(buf);
			return ioctl_failed(err, e, req.reason,
					    "list the blocks of", id);
		}
		if (req.nr <= room) {
			*blocks = buf;
			*nr = req.nr;
			return 0;
		}
		free(buf);
		room = (size_t)req.nr + req.nr / 8;
	}
	return vprobe_error_set(err, -EAGAIN,
		"cannot list the blocks of VM %llu: they change too fast; try again",
		(unsigned long long)id);
}

int vprobe_dev_policies(int dev, struct vprobe_policy_info **policies,
			size_t *nr, struct vprobe_error *err)
{
	size_t room = 32;
	int tries;

	for (tries = 0; tries < GROW_TRIES; tries++) {
		struct vprobe_policy_info *buf = calloc(room, sizeof(*buf));
		struct vprobe_policies req = {
			.size = sizeof(req),
			.nr = (uint32_t)room,
			.policies = (uintptr_t)buf,
		};

		if (!buf)
			return vprobe_error_set(err, -ENOMEM,
				"cannot list policies: out of memory");
		if (ioctl(dev, VPROBE_IOC_POLICIES, &req)) {
			int e = errno;

			free(buf);
			return vprobe_error_set(err, -e,
				"cannot list policies: %s", strerror(e));
		}
		if (req.nr <= room) {
			*policies = buf;
			*nr = req.nr;
			return 0;
		}
		free(buf);
		room = (size_t)req.nr + 16;
	}
	return vprobe_error_set(err, -EAGAIN,
		"cannot list policies: they come and go too fast; try again");
}

int vprobe_dev_pressure(int dev, unsigned int pressure,
			struct vprobe_error *err)
{
	struct vprobe_pressure req = {
		.size = sizeof(req),
		.pressure = pressure,
	};

	if (ioctl(dev, VPROBE_IOC_PRESSURE, &req))
		return vprobe_error_set(err, -errno,
			"cannot tell of memory pressure: %s", strerror(errno));
	return 0;
}
