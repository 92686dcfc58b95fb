// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioas: what a VMM may do with its iommufd while there are holes, done in its
 * place: with a copy of its file descriptor.
 *
 *	ioas PID copy IOVA LENGTH	copy the range to a new IOAS, unmap just
 *					that there, and destroy the IOAS, 20 times
 *	ioas PID alias IOVA LENGTH AT	copy the range to AT in the same IOAS and
 *					unmap it there, 20 times; copy it once more,
 *					print "ready", and unmap it at the end of
 *					the input
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

static void unmap_all(uint32_t id, uint64_t iova, uint64_t length)
{
	uint64_t done = length;

	if (unmap(iommufd, id, iova, &done))
		fail("unmap what was copied");
	if (done != length) {
		fprintf(stderr, "ioas: unmapped %#lx instead of %#lx\n", done,
			length);
		exit(1);
	}
}

static void do_copy(uint64_t iova, uint64_t length)
{
	unsigned int i;

	for (i = 0; i < TIMES; i++) {
		uint32_t id = new_ioas(iommufd);

		if (copy(iommufd, id, guest_ioas, iova, length))
			fail("copy the range");
		unmap_all(id, iova, length);
		if (copy(iommufd, id, guest_ioas, iova, length))
			fail("copy the range again");
		if (destroy(iommufd, id))
			fail("destroy the IOAS");
	}
	printf("copied\n");
}

static void until_end_of_input(void)
{
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static void do_alias(uint64_t iova, uint64_t length, uint64_t at)
{
	unsigned int i;

	for (i = 0; i <= TIMES; i++) {
		if (copy_to(iommufd, guest_ioas, at, guest_ioas, iova, length))
			fail("copy the range");
		if (i == TIMES)
			until_end_of_input();
		unmap_all(guest_ioas, at, length);
	}
	printf("unmapped\n");
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
	until_end_of_input();
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
	enum { HOLD, COPY, CUT, ALIAS, NR_WAYS };
	static const struct {
		const char *name;
		int arguments;
	} ways[NR_WAYS] = {
		[HOLD] = { "hold", 1 },
		[COPY] = { "copy", 2 },
		[CUT] = { "cut", 2 },
		[ALIAS] = { "alias", 3 },
	};
	uint64_t n[3] = { 0 };
	unsigned int way = 0;
	int i;

	while (way < NR_WAYS && (argc < 3 || strcmp(argv[2], ways[way].name)))
		way++;
	if (way == NR_WAYS || argc != 3 + ways[way].arguments) {
		fprintf(stderr, "usage: ioas PID hold|copy|cut|alias IOVA [LENGTH [AT]]\n");
		return 2;
	}
	for (i = 3; i < argc; i++)
		n[i - 3] = strtoull(argv[i], NULL, 0);
	iommufd = iommufd_of(atoi(argv[1]));
	guest_ioas = ioas_of_guest(iommufd);
	switch (way) {
	case HOLD:
		do_hold(n[0]);
		break;
	case COPY:
		do_copy(n[0], n[1]);
		break;
	case CUT:
		do_cut(n[0], n[1]);
		break;
	case ALIAS:
		do_alias(n[0], n[1], n[2]);
		break;
	}
	return 0;
}
