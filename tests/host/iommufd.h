/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does with an iommufd, for the tools that do it in its place. Where
 * nothing else is said, does not return on errors.
 */
#ifndef VPROBE_TESTS_IOMMUFD_H
#define VPROBE_TESTS_IOMMUFD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	4096UL
/* QEMU has a few dozen objects and descriptors. */
#define MAX_IDS	64
#define MAX_FDS	1024

static inline void fail(const char *what)
{
	fprintf(stderr, "%s: cannot %s: %s\n", program_invocation_short_name,
		what, strerror(errno));
	exit(2);
}

static inline uint32_t new_ioas(int iommufd)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &cmd))
		fail("make an IOAS");
	return cmd.out_ioas_id;
}

/* This and the next four return as ioctl(2) does. */
static inline int destroy(int iommufd, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return ioctl(iommufd, IOMMU_DESTROY, &cmd);
}

static inline int map(int iommufd, uint32_t id, const void *mem,
		      uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = id,
		.user_va = (uintptr_t)mem,
		.length = length,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &cmd);
}

static inline int copy_to(int iommufd, uint32_t to, uint64_t at,
			  uint32_t from, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = length,
		.dst_iova = at,
		.src_iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_COPY, &cmd);
}

static inline int copy(int iommufd, uint32_t to, uint32_t from, uint64_t iova,
		       uint64_t length)
{
	return copy_to(iommufd, to, iova, from, iova, length);
}

static inline int unmap(int iommufd, uint32_t id, uint64_t iova,
			uint64_t *length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = id,
		.iova = iova,
		.length = *length,
	};
	int r = ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd);

	*length = cmd.length;
	return r;
}

/* The first one that the process has. */
static inline int iommufd_of(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd, dup;
	char path[64], link[64];

	if (pidfd < 0)
		fail("find the process");
	for (fd = 0; fd < MAX_FDS; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = 0;
		if (strcmp(link, "/dev/iommu"))
			continue;
		dup = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		if (dup < 0)
			break;
		return dup;
	}
	errno = ENOENT;
	fail("get the iommufd of the process");
	return -1;
}

/* The IOAS with the guest's memory: from which a page at 0 can be copied. */
static inline uint32_t ioas_of_guest(int iommufd)
{
	uint32_t own = new_ioas(iommufd), id;

	for (id = 1; id < MAX_IDS; id++)
		if (id != own && !copy(iommufd, own, id, 0, PAGE))
			break;
	if (destroy(iommufd, own))
		fail("destroy an IOAS");
	if (id == MAX_IDS)
		fail("find an IOAS with the guest's memory");
	return id;
}

/* A device that is bound to vfio-pci. */
static inline int open_device(const char *bdf)
{
	char path[600];
	struct dirent *de;
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/vfio-dev",
		 bdf);
	dir = opendir(path);
	if (!dir)
		fail("find the VFIO device");
	while (fd < 0 && (de = readdir(dir))) {
		if (strncmp(de->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
			 de->d_name);
		fd = open(path, O_RDWR);
	}
	closedir(dir);
	if (fd < 0)
		fail("open the VFIO device");
	return fd;
}

static inline void attach_device(int device, int iommufd, uint32_t ioas)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = ioas,
	};

	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		fail("bind the device to an iommufd");
	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		fail("attach the device to an IOAS");
}

#endif
