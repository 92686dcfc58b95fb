// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands in for vprobed in tests of the injector: listens on vsock, answers
 * one request per connection, and prints what it got.
 *
 *	fake_vprobed STATUS TEXT [STATUS TEXT]...
 *
 * answers the first request with the first status and text, and so on. The
 * status "drop" closes the connection, "junk" answers with nonsense.
 */
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "vprobe_wire.h"

static char body[1 << 20];

static int get(int fd, void *buf, size_t len)
{
	return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len ? 0 : -1;
}

static int request(int fd)
{
	struct vprobe_register *reg = (void *)body;
	struct vprobe_notice *notice = (void *)body;
	struct vprobe_msg head;
	uint32_t len;

	if (get(fd, &head, sizeof(head)))
		return -1;
	len = le32toh(head.len);
	if (le32toh(head.magic) != VPROBE_WIRE_MAGIC || head.reserved ||
	    le16toh(head.version) != VPROBE_WIRE_VERSION ||
	    len > VPROBE_WIRE_MAX_LEN || get(fd, body, len))
		return -1;
	if (le16toh(head.type) == VPROBE_MSG_NOTICE) {
		if (len != sizeof(*notice) || notice->reserved)
			return -1;
		printf("got notice %u\n", le32toh(notice->event));
		return 0;
	}
	if (le16toh(head.type) != VPROBE_MSG_REGISTER ||
	    len != sizeof(*reg) + le32toh(reg->layout_len) +
		   8ULL * le32toh(reg->insn_cnt))
		return -1;
	printf("got register of %s from %s: layout %u bytes, %u insns\n",
	       reg->name, reg->release, le32toh(reg->layout_len),
	       le32toh(reg->insn_cnt));
	return 0;
}

static void answer(int fd, const char *status, const char *text)
{
	struct {
		struct vprobe_msg head;
		struct vprobe_reply reply;
		char text[VPROBE_WIRE_MAX_TEXT];
	} r = { 0 };
	size_t n = strlen(text);

	if (!strcmp(status, "drop"))
		return;
	r.head.magic = htole32(VPROBE_WIRE_MAGIC);
	r.head.version = htole16(VPROBE_WIRE_VERSION);
	r.head.type = htole16(VPROBE_MSG_REPLY);
	r.head.len = htole32(sizeof(r.reply) + n);
	r.reply.status = htole32(atoi(status));
	r.reply.text_len = htole32(n);
	memcpy(r.text, text, n);
	if (!strcmp(status, "junk"))
		memset(&r, 0x55, sizeof(r.head));
	send(fd, &r, sizeof(r.head) + sizeof(r.reply) + n, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = VPROBE_VSOCK_PORT,
	}, peer;
	int s, fd, i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	s = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (s < 0 || bind(s, (void *)&sa, sizeof(sa)) || listen(s, 4)) {
		perror("fake_vprobed");
		return 1;
	}
	for (i = 1; i + 1 < argc; i += 2) {
		socklen_t len = sizeof(peer);

		fd = accept(s, (void *)&peer, &len);
		if (fd < 0) {
			perror("fake_vprobed: accept");
			return 1;
		}
		printf("peer port is %s\n",
		       peer.svm_port < 1024 ? "privileged" : "not privileged");
		if (request(fd))
			printf("got a bad message\n");
		else
			answer(fd, argv[i], argv[i + 1]);
		close(fd);
	}
	return 0;
}
