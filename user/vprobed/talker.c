// SPDX-License-Identifier: GPL-2.0-only
/*
 * One loop over the listening socket, the loader, and a bounded number of
 * connections. A connection is in one of three states:
 *
 *   READING --whole, admitted message--> WAITING --reply of the loader--+
 *      ^                                                               |
 *      +---------------------------------------------------------------+
 *      +--anything else--> DRAINING: the reply is out, what still comes in is
 *                          thrown away so that the guest gets to read it
 *
 * Every state has a deadline. The length in a header is believed only up to
 * the limit of its type, and memory is taken only after that.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "admit.h"
#include "ipc.h"
#include "limit.h"
#include "log.h"
#include "talker.h"

#define WAIT_MS		300000
#define DRAIN_MS	2000
/* epoll data of what is not a connection */
#define EV_LISTEN	UINT64_MAX
#define EV_LOADER	(UINT64_MAX - 1)

enum conn_state { CONN_FREE, CONN_READING, CONN_WAITING, CONN_DRAINING };

struct conn {
	enum conn_state state;
	int fd;
	uint32_t cid;
	uint32_t generation;	/* of the slot: old cookies do not match */
	uint64_t accepted_ns;
	uint64_t deadline_ms;
	size_t have;
	size_t need;
	uint8_t *buf;
};

struct loop {
	const struct talker *t;
	int epfd;
	struct conn conns[TALKER_MAX_CONNS];
	struct limit log;
	/* One request at a time is put together here. */
	union {
		struct vpd_request req;
		uint8_t bytes[VPD_REQUEST_MAX];
	} out;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

/* Guests, and any user of one, may write to the log, but not fill it. */
static bool may_log(struct loop *l, uint32_t cid)
{
	return limit_take(&l->log, cid, now_ns());
}

static uint64_t conn_cookie(const struct loop *l, const struct conn *c)
{
	return (uint64_t)c->generation << 32 | (uint64_t)(c - l->conns);
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c->buf);
	c->buf = NULL;
	c->have = 0;
	c->state = CONN_FREE;
	c->generation++;
}

static void conn_read_next(const struct loop *l, struct conn *c)
{
	c->state = CONN_READING;
	c->have = 0;
	c->need = sizeof(struct vprobe_msg);
	c->deadline_ms = now_ms() + l->t->idle_ms;
}

/* Returns false if the guest does not take it. */
static bool send_reply(int fd, uint32_t status, const char *text)
{
	struct {
		struct vprobe_msg msg;
		struct vprobe_reply reply;
		char text[VPROBE_WIRE_MAX_TEXT];
	} m = { 0 };
	size_t tlen = strnlen(text, sizeof(m.text));
	size_t len = sizeof(m.msg) + sizeof(m.reply) + tlen;

	m.msg.magic = htole32(VPROBE_WIRE_MAGIC);
	m.msg.version = htole16(VPROBE_WIRE_VERSION);
	m.msg.type = htole16(VPROBE_MSG_REPLY);
	m.msg.len = htole32((uint32_t)(sizeof(m.reply) + tlen));
	m.reply.status = htole32(status);
	m.reply.text_len = htole32((uint32_t)tlen);
	memcpy(m.text, text, tlen);
	return send(fd, &m, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

/* The last word to this connection. */
static void conn_finish(struct conn *c, uint32_t status, const char *text)
{
	if (!send_reply(c->fd, status, text)) {
		conn_close(c);
		return;
	}
	shutdown(c->fd, SHUT_WR);
	free(c->buf);
	c->buf = NULL;
	c->state = CONN_DRAINING;
	c->deadline_ms = now_ms() + DRAIN_MS;
}

static void conn_refuse(struct loop *l, struct conn *c, struct admit_verdict v)
{
	char text[VPROBE_WIRE_MAX_TEXT];

	admit_explain(v, text, sizeof(text));
	if (may_log(l, c->cid))
		log_msg(LOG_WARNING, "%s: %s", log_guest(c->cid), text);
	conn_finish(c, EINVAL, text);
}

static unsigned int count_cid(const struct loop *l, uint32_t cid)
{
	unsigned int i, n = 0;

	for (i = 0; i < TALKER_MAX_CONNS; i++)
		n += l->conns[i].state != CONN_FREE && l->conns[i].cid == cid;
	return n;
}

static struct conn *free_slot(struct loop *l)
{
	unsigned int i;

	for (i = 0; i < TALKER_MAX_CONNS; i++) {
		if (l->conns[i].state == CONN_FREE)
			return &l->conns[i];
	}
	return NULL;
}

static void conn_add(struct loop *l, int fd, uint32_t cid)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct conn *c = free_slot(l);

	if (!c || count_cid(l, cid) >= TALKER_MAX_PER_CID) {
		send_reply(fd, EBUSY, "too many connections; try again later");
		close(fd);
		return;
	}
	c->fd = fd;
	c->cid = cid;
	c->accepted_ns = now_ns();
	conn_read_next(l, c);
	ev.data.u64 = (uint64_t)(c - l->conns);
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev))
		conn_close(c);
}

/* Ports below 1024 are for root, in a guest's kernel as in ours. */
static bool is_guests_root(struct loop *l, int fd, const struct sockaddr_vm *peer,
			   socklen_t len)
{
	struct sockaddr_vm local = { 0 };
	socklen_t local_len = sizeof(local);

	/* The host itself, its loopback, and who has us for a guest are no guests. */
	if (len < sizeof(*peer) || peer->svm_family != AF_VSOCK ||
	    peer->svm_cid <= VMADDR_CID_HOST ||
	    getsockname(fd, (struct sockaddr *)&local, &local_len) ||
	    local.svm_cid != VMADDR_CID_HOST) {
		if (may_log(l, VMADDR_CID_HOST))
			log_msg(LOG_NOTICE,
				"refused a connection that is not from a guest");
		return false;
	}
	if (peer->svm_port < VPROBE_VSOCK_RESERVED)
		return true;
	if (may_log(l, peer->svm_cid))
		log_msg(LOG_NOTICE,
			"refused guest %u: its vsock port %u is not below %u, so it may not be the guest's root who connects",
			peer->svm_cid, peer->svm_port, VPROBE_VSOCK_RESERVED);
	return false;
}

static void accept_guest(struct loop *l)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	uint32_t cid = l->t->fixed_cid;
	int fd;

	fd = accept4(l->t->listen_fd, (struct sockaddr *)&peer, &len,
		     SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!cid) {
		if (!is_guests_root(l, fd, &peer, len)) {
			close(fd);
			return;
		}
		cid = peer.svm_cid;
	}
	log_msg(LOG_DEBUG, "%s: connected", log_guest(cid));
	conn_add(l, fd, cid);
}

/* An admitted message becomes one flat record for the loader. */
static size_t build_request(struct loop *l, const struct conn *c,
			    const struct admit_message *m)
{
	struct vpd_request *req = &l->out.req;
	uint8_t *data = l->out.bytes + sizeof(*req);

	memset(req, 0, sizeof(*req));
	req->magic = VPD_MAGIC;
	req->cid = c->cid;
	req->cookie = conn_cookie(l, c);
	req->accepted_ns = c->accepted_ns;
	if (m->type == VPROBE_MSG_NOTICE) {
		req->type = VPD_GOODBYE;
		return sizeof(*req);
	}
	req->type = VPD_REGISTER;
	req->layout_len = m->layout_len;
	req->insn_cnt = m->insn_cnt;
	memcpy(req->name, m->reg->name, sizeof(req->name));
	memcpy(req->release, m->reg->release, sizeof(req->release));
	memcpy(data, m->layout, m->layout_len);
	memcpy(data + m->layout_len, m->insns, 8UL * m->insn_cnt);
	return sizeof(*req) + m->layout_len + 8UL * m->insn_cnt;
}

static void conn_message(struct loop *l, struct conn *c)
{
	struct admit_message m;
	struct admit_verdict v = admit_message(c->buf, c->have, &m);
	size_t len;

	if (v.reason) {
		conn_refuse(l, c, v);
		return;
	}
	len = build_request(l, c, &m);
	if (send(l->t->loader_fd, l->out.bytes, len,
		 MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len) {
		conn_finish(c, EBUSY, "vprobed is busy; try again later");
		return;
	}
	c->state = CONN_WAITING;
	c->deadline_ms = now_ms() + WAIT_MS;
}

/*
 * Whoever waited is gone, and may have been a VM whose context id is another's next:
 * the loader must not take that one for it. Blocks, as this may not get lost; the
 * loader never waits for a talker.
 */
static void conn_gone(const struct loop *l, struct conn *c)
{
	struct vpd_request req = {
		.magic = VPD_MAGIC,
		.type = VPD_CLOSED,
		.cid = c->cid,
		.cookie = conn_cookie(l, c),
	};

	/* If there is no loader any more, this ends soon. */
	send(l->t->loader_fd, &req, sizeof(req), MSG_NOSIGNAL);
	conn_close(c);
}

/* The header is whole: how long is the rest? Returns false when closed. */
static bool conn_header(struct loop *l, struct conn *c)
{
	struct admit_verdict v;
	uint32_t len = 0;

	v = admit_header(c->buf, &len);
	if (v.reason) {
		conn_refuse(l, c, v);
		return false;
	}
	c->need = sizeof(struct vprobe_msg) + len;
	c->deadline_ms = now_ms() + l->t->message_ms;
	return true;
}

static void conn_eof(struct loop *l, struct conn *c)
{
	const struct admit_verdict cut = { ADMIT_TRUNCATED, ADMIT_NO_INSN };

	if (!c->have) {
		conn_close(c);
		return;
	}
	conn_refuse(l, c, cut);
}

static void conn_input(struct loop *l, struct conn *c)
{
	ssize_t n;

	if (!c->buf) {
		c->buf = malloc(ADMIT_MAX_BYTES);
		if (!c->buf) {
			conn_finish(c, ENOMEM, "vprobed has no memory left");
			return;
		}
	}
	n = recv(c->fd, c->buf + c->have, c->need - c->have, MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c);
		return;
	}
	if (!n) {
		conn_eof(l, c);
		return;
	}
	/* Later bytes do not move it: a message cannot be trickled in. */
	if (!c->have)
		c->deadline_ms = now_ms() + l->t->message_ms;
	c->have += (size_t)n;
	if (c->have == sizeof(struct vprobe_msg) && c->have == c->need &&
	    !conn_header(l, c))
		return;
	if (c->have == c->need)
		conn_message(l, c);
}

/*
 * Whether nobody is there to read a reply. A guest that will not say more may wait for
 * one; with vsock neither is an EPOLLHUP.
 */
static bool has_left(const struct conn *c)
{
	return send(c->fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	       errno != EAGAIN && errno != EINTR;
}

static void conn_event(struct loop *l, struct conn *c, uint32_t events)
{
	char scratch[4096];
	ssize_t n;

	switch (c->state) {
	case CONN_READING:
		conn_input(l, c);
		break;
	case CONN_WAITING:
		/*
		 * One request at a time. Input stays in the socket, so do not
		 * spin on it: until the reply epoll tells of ends only, and of
		 * each once.
		 */
		if ((events & (EPOLLERR | EPOLLHUP)) || has_left(c)) {
			conn_gone(l, c);
		} else if (events & EPOLLIN) {
			struct epoll_event ev = {
				.events = EPOLLRDHUP | EPOLLET,
				.data.u64 = (uint64_t)(c - l->conns),
			};

			epoll_ctl(l->epfd, EPOLL_CTL_MOD, c->fd, &ev);
		}
		break;
	case CONN_DRAINING:
		n = recv(c->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			conn_close(c);
		break;
	case CONN_FREE:
		break;
	}
}

/* Returns false when the loader is gone. */
static bool loader_reply(struct loop *l)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct vpd_reply rep;
	struct conn *c;
	uint32_t slot;
	ssize_t n;

	n = recv(l->t->loader_fd, &rep, sizeof(rep), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n != sizeof(rep) || rep.magic != VPD_MAGIC)
		return false;
	slot = (uint32_t)rep.cookie;
	if (slot >= TALKER_MAX_CONNS)
		return true;
	c = &l->conns[slot];
	if (c->state != CONN_WAITING || conn_cookie(l, c) != rep.cookie)
		return true;	/* that guest did not wait */
	rep.text[sizeof(rep.text) - 1] = '\0';
	if (!send_reply(c->fd, rep.status, rep.text)) {
		conn_close(c);
		return true;
	}
	conn_read_next(l, c);
	ev.data.u64 = slot;
	if (epoll_ctl(l->epfd, EPOLL_CTL_MOD, c->fd, &ev))
		conn_close(c);
	return true;
}

/* Closes what is overdue. Returns milliseconds to the next deadline, or -1. */
static int check_deadlines(struct loop *l)
{
	uint64_t now = now_ms(), next = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < TALKER_MAX_CONNS; i++) {
		struct conn *c = &l->conns[i];

		if (c->state == CONN_FREE)
			continue;
		if (c->deadline_ms <= now) {
			if (may_log(l, c->cid))
				log_msg(LOG_NOTICE, "%s: timed out",
					log_guest(c->cid));
			if (c->state == CONN_READING && c->have)
				send_reply(c->fd, ETIMEDOUT,
					   "the message took too long");
			if (c->state == CONN_WAITING) {
				send_reply(c->fd, ETIMEDOUT,
					   "vprobed has too much to do; try again later");
				conn_gone(l, c);
			} else {
				conn_close(c);
			}
			continue;
		}
		if (c->deadline_ms < next)
			next = c->deadline_ms;
	}
	return next == UINT64_MAX ? -1 : (int)(next - now);
}

static bool any_conn(const struct loop *l)
{
	unsigned int i;

	for (i = 0; i < TALKER_MAX_CONNS; i++) {
		if (l->conns[i].state != CONN_FREE)
			return true;
	}
	return false;
}

int talker_prepare(const struct talker *t)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	int ret;

	if (epfd < 0)
		return -errno;
	ev.data.u64 = EV_LOADER;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, t->loader_fd, &ev))
		goto fail;
	ev.data.u64 = EV_LISTEN;
	if (t->listen_fd >= 0 &&
	    epoll_ctl(epfd, EPOLL_CTL_ADD, t->listen_fd, &ev))
		goto fail;
	return epfd;
fail:
	ret = -errno;
	close(epfd);
	return ret;
}

static bool send_ready(int fd)
{
	struct vpd_request req = { .magic = VPD_MAGIC, .type = VPD_READY };

	return send(fd, &req, sizeof(req), MSG_NOSIGNAL) == sizeof(req);
}

int talker_run(const struct talker *t, int epfd)
{
	struct epoll_event ev[16];
	struct loop *l;
	int i, n, ret = 0;

	l = calloc(1, sizeof(*l));
	if (!l)
		return 1;
	l->t = t;
	l->epfd = epfd;
	if (!send_ready(t->loader_fd))
		ret = 1;
	if (t->conn_fd >= 0)
		conn_add(l, t->conn_fd, t->fixed_cid);
	while (!ret) {
		int timeout = check_deadlines(l);

		if (t->conn_fd >= 0 && !any_conn(l))
			break;
		n = epoll_wait(epfd, ev, 16, timeout);
		if (n < 0 && errno != EINTR)
			ret = 1;
		for (i = 0; i < n; i++) {
			if (ev[i].data.u64 == EV_LISTEN)
				accept_guest(l);
			else if (ev[i].data.u64 != EV_LOADER)
				conn_event(l, &l->conns[ev[i].data.u64],
					   ev[i].events);
			else if (!loader_reply(l))
				ret = 1;
		}
	}
	free(l);
	return ret;
}
