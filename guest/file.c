// SPDX-License-Identifier: GPL-2.0-only
/* Reading files whose size is not known before, as those in /proc and /sys. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "inject.h"

#define FILE_MAX	(256UL << 20)	/* BTF is a few megabytes */

char *read_file(const char *path, size_t *len)
{
	size_t room = 4096, used = 0;
	char *buf, *tmp;
	ssize_t n;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	buf = malloc(room + 1);
	if (!buf)
		goto fail;
	for (;;) {
		n = read(fd, buf + used, room - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		if (!n)
			break;
		used += n;
		if (used < room)
			continue;
		if (room >= FILE_MAX) {
			errno = EFBIG;
			goto fail;
		}
		room *= 2;
		tmp = realloc(buf, room + 1);
		if (!tmp)
			goto fail;
		buf = tmp;
	}
	close(fd);
	buf[used] = '\0';
	if (len)
		*len = used;
	return buf;
fail:
	err = errno;
	free(buf);
	close(fd);
	errno = err;
	return NULL;
}
