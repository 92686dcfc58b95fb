// SPDX-License-Identifier: GPL-2.0-only
/*
 * failnth.so, to be preloaded into vprobe: makes the N-th allocation of the
 * kernel fail that happens in one ioctl() on /dev/vprobe.
 *
 *	FAILNTH		N, from 1 on
 *	FAILNTH_CALL	number of the ioctl (VPROBE_IOC_*)
 *	FAILNTH_LEFT	a file that gets what is left of N: 0 if one failed
 *
 * Needs a kernel with CONFIG_FAULT_INJECTION.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VPROBE_MAGIC 0xB7

static void die(const char *what)
{
	perror(what);
	_exit(99);
}

static void arm(int fd, const char *nth)
{
	if (pwrite(fd, nth, strlen(nth), 0) < 0)
		die("failnth: cannot arm");
}

static void disarm(int fd)
{
	char left[32] = "";
	FILE *f;

	if (pread(fd, left, sizeof(left) - 1, 0) < 0)
		die("failnth: cannot read what is left");
	/* Refuses to be told 0 only if it is 0 already. */
	if (atoi(left) && pwrite(fd, "0", 1, 0) < 0)
		die("failnth: cannot disarm");
	f = fopen(getenv("FAILNTH_LEFT"), "w");
	if (!f || fputs(left, f) < 0 || fclose(f))
		die("failnth: cannot write FAILNTH_LEFT");
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int fd, unsigned long request, ...) =
		(int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	const char *call = getenv("FAILNTH_CALL");
	const char *nth = getenv("FAILNTH");
	int nth_fd = -1, ret;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (call && nth && _IOC_TYPE(request) == VPROBE_MAGIC &&
	    _IOC_NR(request) == (unsigned long)atoi(call)) {
		nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
		if (nth_fd < 0)
			die("failnth: /proc/thread-self/fail-nth");
		arm(nth_fd, nth);
	}
	ret = real(fd, request, arg);
	if (nth_fd >= 0) {
		disarm(nth_fd);
		close(nth_fd);
	}
	return ret;
}
