// SPDX-License-Identifier: GPL-2.0-only
/*
 * LD_PRELOAD: a /dev/vprobe with two VMs, for tests of what vprobe prints.
 * Every counter has another value, so that a swapped pair shows. It knows
 * nothing about memory; how the real module behaves is tested elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libvprobe.h"

#define NR_VMS 2

static int fake_fd[8];
static int nr_fds;

int open(const char *path, int flags, ...);
int ioctl(int fd, unsigned long req, ...);

static int is_mode(const char *mode)
{
	const char *is = getenv("FAKE_VPROBE");

	return is && !strcmp(is, mode);
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	int perm;

	va_start(ap, flags);
	perm = va_arg(ap, int);
	va_end(ap);
	if (strcmp(path, VPROBE_DEVICE))
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, perm);
	if (is_mode("absent")) {
		errno = ENOENT;
		return -1;
	}
	if (is_mode("forbidden")) {
		errno = EACCES;
		return -1;
	}
	if (nr_fds == 8)
		abort();
	fake_fd[nr_fds] = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null",
				       O_RDWR | O_CLOEXEC, 0);
	return fake_fd[nr_fds++];
}

static int refuse(int e, __u32 *reason, unsigned int why)
{
	if (reason)
		*reason = why;
	errno = e;
	return -1;
}

static void set_stat(struct vprobe_stat *st)
{
	__u64 *counter = &st->ram_bytes, n = 1000;
	unsigned int i;

	st->pid = 100 + (__u32)st->id;
	st->cid = 2 + (__u32)st->id;
	st->state = st->id == 1 ? VPROBE_VM_READY : VPROBE_VM_NO_HELPER;
	st->granule_shift = 21;
	st->nr_iommufds = 1;
	st->fill_timeout_ms = 10000;
	snprintf(st->name, sizeof(st->name), st->id == 1 ? "web" : "db");
	while (counter < &st->refused[0])
		*counter++ = n++;
	st->refused[VPROBE_REASON_PINNED] = 77;
	for (i = 0; i < VPROBE_FILL_BUCKETS; i++)
		st->fill_us[i] = i < 4 ? i : 0;
	st->ram_bytes = 1ULL << 30;
	st->hole_bytes = 3ULL << 28;
	st->failsafe_writes = 2000;
	st->has_helper = st->id == 1;
	if (st->id == 2 && is_mode("odd"))
		snprintf(st->name, sizeof(st->name), "d\xff\033[2J\xc3\xa9");
	if (st->id == 2 && is_mode("quarantined")) {
		st->state = VPROBE_VM_QUARANTINED;
		snprintf(st->quarantine_why, sizeof(st->quarantine_why),
			 "it lies");
	}
}

static int set_map(struct vprobe_map *m)
{
	struct vprobe_block *b = (struct vprobe_block *)(uintptr_t)m->blocks;
	__u32 i, nr = m->flags & VPROBE_MAP_ASK ? 3 : 2;

	for (i = 0; i < nr && i < m->nr; i++) {
		b[i].gpa = (i + 1ULL) << 22;
		b[i].watch_gpa = 0x1000ULL * i;
		b[i].order = 10;
		b[i].state = i < 2 ? VPROBE_BLOCK_HOLE : VPROBE_BLOCK_FREE;
	}
	m->nr = nr;
	return 0;
}

static int set_policies(struct vprobe_policies *arg)
{
	static const struct vprobe_policy_info fake[] = {
		{ .id = 1022, .name = "headroom", .calls = 5, .ns = 6000 },
		{ .id = 1, .vm_id = 2, .name = "evil",
		  .state = VPROBE_POLICY_STATE_GONE,
		  .why = "decide() returned -5" },
	};

	memcpy((void *)(uintptr_t)arg->policies, fake,
	       arg->nr < 2 ? 0 : sizeof(fake));
	arg->nr = 2;
	return 0;
}

static int fake_ioctl(unsigned long req, void *arg)
{
	/* All of them start with size and reason, and have the id after. */
	struct vprobe_detach *common = arg;
	struct vprobe_attach *attach = arg;
	struct vprobe_reclaim *reclaim = arg;
	struct vprobe_list *list = arg;
	struct vprobe_info *info = arg;

	switch (req) {
	case VPROBE_IOC_INFO:
		info->version = VPROBE_API_VERSION;
		info->nr_vms = NR_VMS;
		return 0;
	case VPROBE_IOC_LIST:
		list->nr = NR_VMS;
		((__u64 *)(uintptr_t)list->ids)[0] = 1;
		((__u64 *)(uintptr_t)list->ids)[1] = 2;
		return 0;
	case VPROBE_IOC_POLICIES:
		return set_policies(arg);
	case VPROBE_IOC_ATTACH:
		return refuse(EINVAL, &attach->reason,
			      VPROBE_REASON_RAM_NOT_MEMFD);
	default:
		break;
	}
	if (common->id < 1 || common->id > NR_VMS)
		return refuse(ENOENT, &common->reason, VPROBE_REASON_NO_VM);
	switch (req) {
	case VPROBE_IOC_STAT:
		set_stat(arg);
		return 0;
	case VPROBE_IOC_MAP:
		return set_map(arg);
	case VPROBE_IOC_DETACH:
		if (common->id == 2 && is_mode("stuck"))
			return refuse(EBUSY, &common->reason,
				      VPROBE_REASON_BUSY);
		if (common->id == 2 && is_mode("leaving"))
			return refuse(ENOENT, &common->reason,
				      VPROBE_REASON_NO_VM);
		return 0;
	case VPROBE_IOC_SET_HELPER:
	case VPROBE_IOC_QUARANTINE:
		return 0;
	case VPROBE_IOC_RECLAIM:
		if (common->id == 2)
			return refuse(ENOENT, &common->reason,
				      VPROBE_REASON_NO_HELPER);
		reclaim->taken = reclaim->target == VPROBE_ALL ?
				 5ULL << 20 : reclaim->target;
		reclaim->blocks = 2;
		reclaim->reported = 7ULL << 20;
		reclaim->ns = 1500000;
		if (is_mode("early"))
			reclaim->reason = VPROBE_REASON_BUSY;
		if (is_mode("partly"))
			return refuse(EPROTO, &common->reason,
				      VPROBE_REASON_HELPER_FAILED);
		return is_mode("interrupted") ? refuse(EINTR, NULL, 0) : 0;
	case VPROBE_IOC_FILL:
		((struct vprobe_fill *)arg)->filled = 3ULL << 28;
		if (is_mode("partly"))
			return refuse(ENOMEM, &common->reason,
				      VPROBE_REASON_NO_MEMORY);
		return 0;
	default:
		return refuse(ENOTTY, NULL, 0);
	}
}

int ioctl(int fd, unsigned long req, ...)
{
	va_list ap;
	void *arg;
	int i;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	for (i = 0; i < nr_fds; i++) {
		if (fake_fd[i] == fd)
			return fake_ioctl(req, arg);
	}
	return (int)syscall(SYS_ioctl, fd, req, arg);
}
