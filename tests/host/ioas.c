// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioas: what a VMM may do with its iommufd while there are holes, done in its
 * place: with a copy of its file descriptor.
 *
 *	ioas PID copy IOVA LENGTH	copy the range to a new IOAS, unmap just
 *					that there, and destroy the IOAS, 20 times
 *	ioas PID cut IOVA LENGTH	try to unmap the range, which begins or
 *					ends where nobody mapped: prints why not
 *	ioas PID hold IOVA		map memory at IOVA that does not come:
 *					prints "ready", and lets it come at the
 *					end of its input
 *
 * The IOAS is the first one of PID that has memory at IOVA 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	4096UL
#define TIMES	20
/* QEMU has a few dozen objects and descriptors. */
#define MAX_IDS	64
#define MAX_FDS	1024

static int iommufd;
static uint32_t guest_ioas;

static void fail(const char *what)
{
	fprintf(stderr, "ioas: cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_iommufd(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd;
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
		if (!strcmp(link, "/dev/iommu"))
			return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	}
	errno = ENOENT;
	return -1;
}

static uint32_t new_ioas(void)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &cmd))
		fail("make an IOAS");
	return cmd.out_ioas_id;
}

static int destroy(uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return ioctl(iommufd, IOMMU_DESTROY, &cmd);
}

static int copy(uint32_t to, uint32_t from, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = length,
		.dst_iova = iova,
		.src_iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_COPY, &cmd);
}

static int unmap(uint32_t id, uint64_t iova, uint64_t *length)
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

/* The one from which a page at 0 can be copied. */
static uint32_t find_ioas(void)
{
	uint32_t own = new_ioas(), id;

	for (id = 1; id < MAX_IDS; id++)
		if (id != own && !copy(own, id, 0, PAGE))
			break;
	if (destroy(own))
		fail("destroy an IOAS");
	if (id == MAX_IDS)
		fail("find an IOAS with the guest's memory");
	return id;
}

static void do_copy(uint64_t iova, uint64_t length)
{
	unsigned int i;

	for (i = 0; i < TIMES; i++) {
		uint32_t id = new_ioas();
		uint64_t done = length;

		if (copy(id, guest_ioas, iova, length))
			fail("copy the range");
		if (unmap(id, iova, &done))
			fail("unmap what was copied");
		if (done != length) {
			fprintf(stderr, "ioas: unmapped %#lx instead of %#lx\n",
				done, length);
			exit(1);
		}
		if (copy(id, guest_ioas, iova, length))
			fail("copy the range again");
		if (destroy(id))
			fail("destroy the IOAS");
	}
	printf("copied\n");
}

static void do_cut(uint64_t iova, uint64_t length)
{
	if (unmap(guest_ioas, iova, &length))
		printf("refused: %s\n", strerror(errno));
	else
		printf("unmapped %#lx\n", length);
}

/* Memory that comes when the other end says so. */
static void *late_memory(int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.len = PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	void *mem;

	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		fail("map memory");
	*uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uintptr_t)mem;
	if (*uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) ||
	    ioctl(*uffd, UFFDIO_REGISTER, &reg))
		fail("set up userfaultfd");
	return mem;
}

struct mapping {
	uint64_t iova;
	void *mem;
	int error;
};

static void *map(void *arg)
{
	struct mapping *m = arg;
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = guest_ioas,
		.user_va = (uintptr_t)m->mem,
		.length = PAGE,
		.iova = m->iova,
	};

	m->error = ioctl(iommufd, IOMMU_IOAS_MAP, &cmd) ? errno : 0;
	return NULL;
}

static void do_hold(uint64_t iova)
{
	struct mapping m = { .iova = iova };
	struct uffdio_zeropage zero = { .range.len = PAGE };
	struct uffd_msg msg;
	uint64_t length = PAGE;
	pthread_t thread;
	int uffd;

	m.mem = late_memory(&uffd);
	if (pthread_create(&thread, NULL, map, &m))
		fail("start a thread");
	/* It has the locks once it asks for the page. */
	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		fail("wait for the fault");
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	zero.range.start = (uintptr_t)m.mem;
	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		fail("let the page come");
	pthread_join(thread, NULL);
	errno = m.error;
	if (m.error || unmap(guest_ioas, iova, &length))
		fail("map and unmap the page");
	printf("mapped\n");
}

int main(int argc, char **argv)
{
	uint64_t iova, length;

	if (argc < 4 || argc != (strcmp(argv[2], "hold") ? 5 : 4)) {
		fprintf(stderr, "usage: ioas PID copy|cut|hold IOVA [LENGTH]\n");
		return 2;
	}
	iommufd = open_iommufd(atoi(argv[1]));
	if (iommufd < 0)
		fail("get the iommufd of the process");
	guest_ioas = find_ioas();
	iova = strtoull(argv[3], NULL, 0);
	length = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
	if (!strcmp(argv[2], "copy"))
		do_copy(iova, length);
	else if (!strcmp(argv[2], "cut"))
		do_cut(iova, length);
	else
		do_hold(iova);
	return 0;
}
