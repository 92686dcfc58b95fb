// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestmem: what is behind a guest's memory, seen from the host, through the
 * memfd and, but for the last one, without changing anything.
 *
 *	guestmem PID resident OFFSET LENGTH	bytes that have memory
 *	guestmem PID nonzero OFFSET LENGTH	bytes that are not zero
 *	guestmem PID poison OFFSET LENGTH	tell the kernel that it has failed
 *
 * PID is a QEMU with memory-backend-memfd; OFFSET is one in the memfd, which
 * for guests of less than 2 GiB is a guest-physical address.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memfd.h"

static uint64_t resident(int fd, off_t from, off_t end)
{
	uint64_t bytes = 0;
	off_t hole;

	while (from < end) {
		from = lseek(fd, from, SEEK_DATA);
		if (from < 0 || from >= end)
			break;
		hole = lseek(fd, from, SEEK_HOLE);
		if (hole < 0)
			fail("look for holes in", "the memfd");
		if (hole > end)
			hole = end;
		bytes += (uint64_t)(hole - from);
		from = hole;
	}
	return bytes;
}

/* read() of a hole in a memfd gives zeros and allocates nothing. */
static uint64_t nonzero(int fd, off_t from, off_t end)
{
	static uint8_t buf[1 << 16];
	uint64_t bytes = 0;
	ssize_t n, i;

	while (from < end) {
		size_t want = sizeof(buf);

		if ((off_t)want > end - from)
			want = (size_t)(end - from);
		n = pread(fd, buf, want, from);
		if (n <= 0)
			fail("read", "the memfd");
		for (i = 0; i < n; i++)
			bytes += buf[i] != 0;
		from += n;
	}
	return bytes;
}

/* The kernel kills who told it, too, if that has the page mapped. */
static void survive(int signal)
{
	(void)signal;
	_exit(0);
}

static void poison(int fd, off_t from, off_t end)
{
	size_t len = (size_t)(end - from);
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, from);

	if (p == MAP_FAILED)
		fail("map", "the memfd");
	signal(SIGBUS, survive);
	if (madvise(p, len, MADV_HWPOISON))
		fail("poison", "the memfd");
}

int main(int argc, char **argv)
{
	uint64_t bytes = 0;
	off_t from, end;
	int fd;

	if (argc != 5 || (strcmp(argv[2], "resident") &&
			  strcmp(argv[2], "nonzero") &&
			  strcmp(argv[2], "poison"))) {
		fprintf(stderr,
			"usage: guestmem PID resident|nonzero|poison OFFSET LENGTH\n");
		return 2;
	}
	fd = open_memfd(argv[1], strcmp(argv[2], "poison") ? O_RDONLY : O_RDWR);
	from = strtoll(argv[3], NULL, 0);
	end = from + strtoll(argv[4], NULL, 0);
	if (!strcmp(argv[2], "poison"))
		poison(fd, from, end);
	else if (!strcmp(argv[2], "resident"))
		bytes = resident(fd, from, end);
	else
		bytes = nonzero(fd, from, end);
	printf("%llu\n", (unsigned long long)bytes);
	return 0;
}
