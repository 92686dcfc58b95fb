// SPDX-License-Identifier: GPL-2.0-only
/*
 * Talking to vprobed on the host, over vsock.
 *
 * The connection comes from a port below 1024, which takes
 * CAP_NET_BIND_SERVICE in the guest: that is how the host can tell this
 * program from any user of the guest who would like to register a helper.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "inject.h"
#include "vprobe_wire.h"

#define CONNECT_MS	5000
#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	2000
#define PORT_FIRST	512
#define PORT_COUNT	512

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Waits for @events until @deadline; 0, or a negative errno. */
static int wait_fd(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left;
	int n;

	do {
		left = deadline - now_ms();
		n = left > 0 ? poll(&p, 1, left) : 0;
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/*
 * A port below 1024, and another one than the last run had: if that was killed, its
 * connection may still be closing, and a late reset of it would hit this one.
 */
static int bind_low(int fd)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
	};
	unsigned int i;

	for (i = 0; i < PORT_COUNT; i++) {
		sa.svm_port = PORT_FIRST + (getpid() + i) % PORT_COUNT;
		if (!bind(fd, (void *)&sa, sizeof(sa)))
			return 0;
		if (errno != EADDRINUSE)
			break;
	}
	return -errno;
}

/* A connected socket, or a negative errno. */
static int dial(unsigned int cid)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = cid,
		.svm_port = VPROBE_VSOCK_PORT,
	};
	int fd, err;
	socklen_t len = sizeof(err);

	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = bind_low(fd);
	if (err)
		goto fail;
	if (connect(fd, (void *)&sa, sizeof(sa))) {
		err = -errno;
		if (err != -EINPROGRESS)
			goto fail;
		err = wait_fd(fd, POLLOUT, now_ms() + CONNECT_MS);
		if (err)
			goto fail;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
			err = errno;
		err = -err;
		if (err)
			goto fail;
	}
	return fd;
fail:
	close(fd);
	return err;
}

static int send_all(int fd, const void *buf, size_t len, int64_t deadline)
{
	const char *p = buf;
	ssize_t n;
	int err;

	while (len) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n >= 0) {
			p += n;
			len -= n;
			continue;
		}
		if (errno == EAGAIN) {
			err = wait_fd(fd, POLLOUT, deadline);
			if (err)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int recv_all(int fd, void *buf, size_t len, int64_t deadline)
{
	char *p = buf;
	ssize_t n;
	int err;

	while (len) {
		n = recv(fd, p, len, 0);
		if (n > 0) {
			p += n;
			len -= n;
			continue;
		}
		if (!n)
			return -ECONNRESET;
		if (errno == EAGAIN) {
			err = wait_fd(fd, POLLIN, deadline);
			if (err)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* What the host says ends up on a terminal. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

/* The host's status >= 0 and its sentence, or a negative errno. */
static int exchange(int fd, const struct message *msg, unsigned int timeout,
		    char text[VPROBE_WIRE_MAX_TEXT + 1])
{
	int64_t deadline = now_ms() + timeout * 1000LL;
	struct vprobe_reply reply;
	struct vprobe_msg head;
	uint32_t text_len;
	int err;

	err = send_all(fd, msg->data, msg->len, deadline);
	/* The host may have answered and closed before it had read it all. */
	if (err && err != -EPIPE && err != -ECONNRESET)
		return err;
	err = recv_all(fd, &head, sizeof(head), deadline);
	if (err)
		return err;
	if (le32toh(head.magic) != VPROBE_WIRE_MAGIC ||
	    le16toh(head.version) != VPROBE_WIRE_VERSION ||
	    le16toh(head.type) != VPROBE_MSG_REPLY ||
	    le32toh(head.len) < sizeof(reply) ||
	    le32toh(head.len) > sizeof(reply) + VPROBE_WIRE_MAX_TEXT)
		return -EPROTO;
	err = recv_all(fd, &reply, sizeof(reply), deadline);
	if (err)
		return err;
	text_len = le32toh(reply.text_len);
	if (text_len != le32toh(head.len) - sizeof(reply) ||
	    le32toh(reply.status) > INT32_MAX)
		return -EPROTO;
	err = recv_all(fd, text, text_len, deadline);
	if (err)
		return err;
	text[text_len] = '\0';
	make_printable(text);
	return le32toh(reply.status);
}

static int explain(int err, unsigned int cid)
{
	switch (-err) {
	case EAFNOSUPPORT:
		return refuse(EXIT_NO_VSOCK,
			      "this kernel has no vsock: load the module vmw_vsock_virtio_transport");
	case ENODEV:
	case ENETUNREACH:
		return refuse(EXIT_NO_VSOCK,
			      "there is no vsock transport to the host: load the module vmw_vsock_virtio_transport, and give the VM a vhost-vsock-pci device");
	case EACCES:
	case EPERM:
		return refuse(EXIT_PERMISSION,
			      "may not use a vsock port below 1024: run as root with CAP_NET_BIND_SERVICE");
	case EPROTO:
		return refuse(EXIT_NO_HOST,
			      "what answers at vsock port %u of CID %u is not vprobed",
			      VPROBE_VSOCK_PORT, cid);
	case ECONNRESET:
	case ECONNREFUSED:
		return refuse(EXIT_NO_HOST,
			      "nobody listens, or stays, at vsock port %u of CID %u: start vprobed on the host",
			      VPROBE_VSOCK_PORT, cid);
	default:
		return refuse(EXIT_NO_HOST,
			      "the host does not answer at vsock port %u of CID %u: %s",
			      VPROBE_VSOCK_PORT, cid, strerror(-err));
	}
}

/* Whether the host may say something else in a second. */
static bool is_busy(int status)
{
	switch (status) {
	case EBUSY:
	case EAGAIN:
	/* The kernel before this one went away only now: to the host, that is. */
	case ESTALE:
		return true;
	default:
		return false;
	}
}

/* Whether it may be put right there, with this guest as it is. */
static bool may_be_mended(int status)
{
	switch (status) {
	case ENOMEM:
	case ENOSPC:
	/* Nobody has this context id, or more than one. */
	case ENOENT:
	case EEXIST:
		return true;
	default:
		return is_busy(status);
	}
}

/* Whether trying again at once may help: a negative errno is ours. */
static bool is_transient(int ret)
{
	switch (ret) {
	case -EACCES:
	case -EPERM:
	case -EPROTO:
	case -EINVAL:
	case -ENOMEM:
		return false;
	default:
		return ret < 0 || is_busy(ret);
	}
}

int host_ask(const struct message *msg, unsigned int cid, unsigned int wait,
	     unsigned int timeout)
{
	int64_t deadline = now_ms() + wait * 1000LL, left;
	unsigned int backoff = BACKOFF_MIN_MS;
	char text[VPROBE_WIRE_MAX_TEXT + 1];
	int fd, ret;

	for (;;) {
		fd = dial(cid);
		if (fd < 0) {
			ret = fd;
		} else {
			ret = exchange(fd, msg, timeout, text);
			close(fd);
		}
		left = deadline - now_ms();
		if (left <= 0 || !is_transient(ret))
			break;
		verbose("no answer yet (%s), trying again in %u ms",
			strerror(abs(ret)), backoff);
		if (left > backoff)
			left = backoff;
		poll(NULL, 0, left);
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 :
							 BACKOFF_MAX_MS;
	}
	if (ret < 0)
		return explain(ret, cid);
	if (ret)
		return refuse(may_be_mended(ret) ? EXIT_NO_HOST : EXIT_REFUSED,
			      "the host refused: %s (%s)",
			      *text ? text : "no reason given", strerror(ret));
	if (*text)
		printf("%s\n", text);
	return EXIT_OK;
}
