// SPDX-License-Identifier: GPL-2.0-only
/*
 * vsend [-n BYTES] [-p PORT] FILE: send a file, or so many bytes of it, to
 * vprobed on the host, as it is, and print the reply; from that port, or from one
 * below 1024. The exit status is 0 if that was friendly, 1 if not, 2 if there was
 * none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "vprobe_wire.h"

static uint8_t buf[1 << 20];

static void fail(const char *what, const char *on)
{
	fprintf(stderr, "vsend: cannot %s %s: %s\n", what, on,
		strerror(errno));
	exit(2);
}

static size_t load(const char *name)
{
	size_t have = 0;
	ssize_t n;
	int fd;

	fd = open(name, O_RDONLY);
	if (fd < 0)
		fail("open", name);
	while ((n = read(fd, buf + have, sizeof(buf) - have)) > 0)
		have += (size_t)n;
	if (n < 0)
		fail("read", name);
	close(fd);
	return have;
}

static int talk(size_t len, unsigned int port)
{
	const struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = VPROBE_VSOCK_PORT,
	};
	struct sockaddr_vm own = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	/* The host hears root only. */
	while (bind(fd, (const void *)&own, sizeof(own)) &&
	       errno == EADDRINUSE)
		own.svm_port--;
	if (fd < 0 || connect(fd, (const void *)&addr, sizeof(addr)))
		fail("connect to", "vprobed");
	/* It may have heard enough before the end. */
	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		memmove(buf, buf + n, len - (size_t)n);
		len -= (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	return fd;
}

int main(int argc, char **argv)
{
	struct {
		struct vprobe_msg msg;
		struct vprobe_reply reply;
		char text[VPROBE_WIRE_MAX_TEXT + 1];
	} in = { 0 };
	unsigned int port = VPROBE_VSOCK_RESERVED - 1;
	size_t len, have = 0, limit = SIZE_MAX;
	ssize_t n;
	int opt, fd;

	while ((opt = getopt(argc, argv, "n:p:")) != -1) {
		if (opt == 'n')
			limit = strtoul(optarg, NULL, 0);
		else if (opt == 'p')
			port = (unsigned int)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: vsend [-n BYTES] [-p PORT] FILE\n");
		return 2;
	}
	len = load(argv[optind]);
	fd = talk(len < limit ? len : limit, port);
	while (have < sizeof(in) - 1) {
		n = recv(fd, (char *)&in + have, sizeof(in) - 1 - have, 0);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	if (have < sizeof(in.msg) + sizeof(in.reply)) {
		fprintf(stderr, "vsend: no reply\n");
		return 2;
	}
	printf("%s\n", in.text);
	return in.reply.status != 0;
}
