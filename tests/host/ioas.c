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
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/mman.h>

#include "iommufd.h"

#define TIMES	20

static int iommufd;
static uint32_t guest_ioas;

static void do_copy(uint64_t iova, uint64_t length)
{
	unsigned int i;

	for (i = 0; i < TIMES; i++) {
		uint32_t id = new_ioas(iommufd);
		uint64_t done = length;

		if (copy(iommufd, id, guest_ioas, iova, length))
			fail("copy the range");
		if (unmap(iommufd, id, iova, &done))
			fail("unmap what was copied");
		if (done != length) {
			fprintf(stderr, "ioas: unmapped %#lx instead of %#lx\n",
				done, length);
			exit(1);
		}
		if (copy(iommufd, id, guest_ioas, iova, length))
			fail("copy the range again");
		if (destroy(iommufd, id))
			fail("destroy the IOAS");
	}
	printf("copied\n");
}

static void do_cut(uint64_t iova, uint64_t length)
{
	if (unmap(iommufd, guest_ioas, iova, &length))
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

static void *map_late(void *arg)
{
	struct mapping *m = arg;

	m->error = map(iommufd, guest_ioas, m->mem, PAGE, m->iova) ? errno : 0;
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
	if (pthread_create(&thread, NULL, map_late, &m))
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
	if (m.error || unmap(iommufd, guest_ioas, iova, &length))
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
	iommufd = iommufd_of(atoi(argv[1]));
	guest_ioas = ioas_of_guest(iommufd);
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
