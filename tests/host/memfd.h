/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tools that look at a guest's RAM from the host share. */
#ifndef VPROBE_TESTS_MEMFD_H
#define VPROBE_TESTS_MEMFD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void fail(const char *what, const char *on)
{
	fprintf(stderr, "%s: cannot %s %s: %s\n",
		program_invocation_short_name, what, on, strerror(errno));
	exit(2);
}

/* The first memory-backend-memfd of a QEMU; does not return on errors. */
static inline int open_memfd(const char *pid, int flags)
{
	char path[300], link[256];
	struct dirent *de;
	ssize_t n;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		fail("open", path);
	while ((de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%.20s", pid,
			 de->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = 0;
		if (strncmp(link, "/memfd:memory-backend-memfd", 27))
			continue;
		fd = open(path, flags);
		if (fd < 0)
			fail("open", path);
		closedir(dir);
		return fd;
	}
	errno = ENOENT;
	fail("find the memfd of process", pid);
	return -1;
}

#endif
