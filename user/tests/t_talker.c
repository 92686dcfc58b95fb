// SPDX-License-Identifier: GPL-2.0-only
/*
 * The talker as it is: the program vprobed, executed, confined, with a UNIX
 * socket in the place of vsock, this test as its guests and as its loader.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"
#include "msg.h"
#include "talker.h"
#include "tap.h"

#define CID 9
#define NOBODY 65534
/* Only to end a test that hangs; nothing depends on it. */
#define PATIENCE_MS 60000

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int listen_fd, loader_fd, talker_end;
static pid_t talker;
/* A file, as it is when an operator redirects it. */
static FILE *talker_log;

static const struct bpf_insn tiny[] = { MOV_IMM(0, 0), EXIT() };

static union {
	struct vpd_request req;
	uint8_t bytes[VPD_REQUEST_MAX + 1];
} in;

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, PATIENCE_MS) == 1;
}

static void open_sockets(void)
{
	int pair[2];

	/* Abstract: no file. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
		 "vprobe-test-%d", getpid());
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listen_fd, 128) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair)) {
		perror("sockets");
		exit(1);
	}
	loader_fd = pair[0];
	talker_end = pair[1];
}

static void start_talker(const char *vprobed)
{
	char arg[128];

	open_sockets();
	snprintf(arg, sizeof(arg), "%d:-1:%d:%d:%d:%d:0:1:/tmp", listen_fd,
		 talker_end, NOBODY, NOBODY, CID);
	fcntl(loader_fd, F_SETFD, FD_CLOEXEC);
	talker_log = tmpfile();
	talker = fork();
	if (!talker) {
		dup2(fileno(talker_log), STDERR_FILENO);
		execl(vprobed, "vprobed", "--talker", arg, NULL);
		_exit(127);
	}
	close(talker_end);
	close(listen_fd);
}

static int guest(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		perror("connect");
	return fd;
}

static void say(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		tap_note("the talker did not take all");
}

/* What the talker answers: status, -1 without an answer. */
static int hear(int fd, char *text, size_t size)
{
	struct {
		struct vprobe_msg msg;
		struct vprobe_reply rep;
		char text[VPROBE_WIRE_MAX_TEXT];
	} m = { 0 };
	size_t head = sizeof(m.msg) + sizeof(m.rep);

	if (!readable(fd) ||
	    recv(fd, &m, head, MSG_WAITALL) != (ssize_t)head)
		return -1;
	if (le32toh(m.rep.text_len) > sizeof(m.text) ||
	    le32toh(m.msg.len) != sizeof(m.rep) + le32toh(m.rep.text_len))
		return -1;
	if (recv(fd, m.text, le32toh(m.rep.text_len), MSG_WAITALL) < 0)
		return -1;
	snprintf(text, size, "%.*s", (int)le32toh(m.rep.text_len), m.text);
	return (int)le32toh(m.rep.status);
}

static bool closed(int fd)
{
	char c;

	return readable(fd) && recv(fd, &c, 1, 0) <= 0;
}

/* The next record for the loader; false if it is none that may be. */
static bool loader_hear(enum vpd_type type)
{
	const char *why;
	ssize_t n;

	if (!readable(loader_fd))
		return false;
	n = recv(loader_fd, in.bytes, sizeof(in.bytes), 0);
	return n > 0 && !vpd_request_check(in.bytes, (size_t)n, &why) &&
	       in.req.type == type;
}

static void loader_say(uint64_t cookie, uint32_t status, const char *text)
{
	struct vpd_reply rep = {
		.magic = VPD_MAGIC, .status = status, .cookie = cookie,
	};

	snprintf(rep.text, sizeof(rep.text), "%s", text);
	say(loader_fd, &rep, sizeof(rep));
}

static bool status_has(const char *line)
{
	char path[64], buf[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", talker);
	fd = open(path, O_RDONLY);
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = '\0';
	return strstr(buf, line);
}

static void test_sandbox(void)
{
	char path[64], root[256] = "";

	ok(status_has("CapEff:\t0000000000000000"), "no effective capability");
	ok(status_has("CapPrm:\t0000000000000000"), "no permitted capability");
	ok(status_has("NoNewPrivs:\t1"), "and no way to get one");
	ok(status_has("Seccomp:\t2"), "system calls are filtered");
	if (geteuid()) {
		tap_skip("another user, an empty root", "not root");
		return;
	}
	ok(status_has("Uid:\t65534\t65534\t65534\t65534"), "another user");
	snprintf(path, sizeof(path), "/proc/%d/root", talker);
	if (readlink(path, root, sizeof(root) - 1) < 0)
		root[0] = '\0';
	ok(strstr(root, "(deleted)"), "an empty root that is deleted: %s",
	   root);
}

static void test_register(void)
{
	static struct msg m;
	char text[600] = "";
	int fd = guest();

	msg_register(&m, 64, tiny, NR(tiny));
	say(fd, m.buf, m.len);
	ok(loader_hear(VPD_REGISTER) && in.req.cid == CID &&
	   in.req.layout_len == 64 && in.req.insn_cnt == NR(tiny) &&
	   !strcmp(in.req.name, "test") && in.req.accepted_ns &&
	   vpd_layout(&in.req)[63] == 63 &&
	   !memcmp(vpd_insns(&in.req), tiny, sizeof(tiny)),
	   "a registration reaches the loader as it was sent");
	loader_say(in.req.cookie + 0x100000000ULL, 0, "not yours");
	loader_say(in.req.cookie + 1, 0, "nor yours");
	loader_say(UINT64_MAX, 0, "nobody's");
	loader_say(in.req.cookie, 13, "the verifier says no");
	ok(hear(fd, text, sizeof(text)) == 13 &&
	   !strcmp(text, "the verifier says no"),
	   "the guest hears its own answer and no other");

	msg_goodbye(&m);
	say(fd, m.buf, m.len);
	ok(loader_hear(VPD_GOODBYE) && in.req.cid == CID,
	   "a second request on the same connection");
	loader_say(in.req.cookie, 0, "bye");
	ok(hear(fd, text, sizeof(text)) == 0, "and its answer");
	close(fd);
}

static void test_pieces(void)
{
	static struct msg m;
	char text[600];
	int fd = guest();
	size_t i;

	msg_register(&m, 8, tiny, NR(tiny));
	for (i = 0; i < m.len; i++)
		say(fd, m.buf + i, 1);
	ok(loader_hear(VPD_REGISTER), "a message in pieces of one byte");
	loader_say(in.req.cookie, 0, "fine");
	ok(!hear(fd, text, sizeof(text)), "is answered");

	memcpy(m.buf + m.len, m.buf, m.len);
	say(fd, m.buf, 2 * m.len);
	ok(loader_hear(VPD_REGISTER), "two messages in one piece: the first");
	loader_say(in.req.cookie, 0, "fine");
	ok(!hear(fd, text, sizeof(text)) && loader_hear(VPD_REGISTER),
	   "and, after its answer, the second");
	loader_say(in.req.cookie, 0, "fine");
	ok(!hear(fd, text, sizeof(text)), "which is answered, too");
	close(fd);
}

static void refused(const char *what, const void *data, size_t len, bool eof,
		    const char *why)
{
	char text[600] = "";
	int fd = guest(), status;

	say(fd, data, len);
	if (eof)
		shutdown(fd, SHUT_WR);
	status = hear(fd, text, sizeof(text));
	if (!ok(status == EINVAL && strstr(text, why) && closed(fd),
		"%s is refused and the connection closed", what))
		tap_note("status %d, \"%s\"", status, text);
	close(fd);
}

static void test_malformed(void)
{
	const struct bpf_insn bad[] = { CALL(0, 5), EXIT() };
	static struct msg m;
	static uint8_t junk[65536];
	char line[256] = "";

	memset(junk, 'x', sizeof(junk));
	refused("a lot of junk", junk, sizeof(junk), false, "magic");
	msg_register(&m, 64, bad, NR(bad));
	refused("a kernel helper call", m.buf, m.len, false, "instruction 0");
	rewind(talker_log);
	ok(fgets(line, sizeof(line), talker_log) &&
	   strstr(line, "guest 9: refused"), "and it is in the log");
	msg_register(&m, 64, tiny, NR(tiny));
	refused("a cut message", m.buf, m.len - 1, true, "ends before");
	refused("a cut header", m.buf, 5, true, "ends before");
	memset(m.buf + 8, 0xff, 3);
	refused("a huge length", m.buf, 16, false, "longer");
}

static void test_crowd(void)
{
	int fds[TALKER_MAX_PER_CID], i, fd;
	static struct msg m;
	char text[600];

	msg_goodbye(&m);
	for (i = 0; i < TALKER_MAX_PER_CID; i++) {
		fds[i] = guest();
		/* Answered: it is accepted now, not just connected. */
		say(fds[i], m.buf, m.len);
		if (loader_hear(VPD_GOODBYE))
			loader_say(in.req.cookie, 0, "fine");
		hear(fds[i], text, sizeof(text));
	}
	fd = guest();
	ok(hear(fd, text, sizeof(text)) == EBUSY && closed(fd),
	   "one connection too many is turned away");
	close(fd);
	for (i = 0; i < TALKER_MAX_PER_CID; i++)
		close(fds[i]);
}

static void test_gone(void)
{
	static struct msg m;
	char text[600];
	int fd = guest();
	uint64_t cookie;

	msg_register(&m, 64, tiny, NR(tiny));
	say(fd, m.buf, m.len);
	ok(loader_hear(VPD_REGISTER), "a guest asks");
	cookie = in.req.cookie;
	close(fd);
	ok(loader_hear(VPD_CLOSED) && in.req.cookie == cookie,
	   "and goes away before the answer: the loader is told");
	loader_say(cookie, 0, "too late");
	fd = guest();
	msg_goodbye(&m);
	say(fd, m.buf, m.len);
	ok(loader_hear(VPD_GOODBYE), "another one asks");
	loader_say(in.req.cookie, 0, "fine");
	ok(!hear(fd, text, sizeof(text)), "which troubles nobody else");
	close(fd);
}

static void test_loader_exits(void)
{
	int status = 0;

	close(loader_fd);
	waitpid(talker, &status, 0);
	ok(WIFEXITED(status), "without a loader the talker exits by itself");
}

/* Time-outs: in this process' own child, with short ones. */
static void test_timeouts(void)
{
	struct talker t = { .conn_fd = -1, .fixed_cid = CID };
	char text[600] = "";
	static struct msg m;
	pid_t pid;
	int fd;

	address.sun_path[1] = 'V';
	open_sockets();
	t.listen_fd = listen_fd;
	t.loader_fd = talker_end;
	t.idle_ms = 200;
	t.message_ms = 100;
	pid = fork();
	if (!pid) {
		close(loader_fd);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		_exit(talker_run(&t, talker_prepare(&t)));
	}
	close(talker_end);
	close(listen_fd);
	ok(loader_hear(VPD_READY), "a talker with little patience");
	fd = guest();
	ok(closed(fd), "a silent guest is hung up on");
	close(fd);
	fd = guest();
	msg_register(&m, 64, tiny, NR(tiny));
	say(fd, m.buf, m.len - 1);
	ok(hear(fd, text, sizeof(text)) == ETIMEDOUT && closed(fd),
	   "a message that does not end is given up");
	close(fd);
	close(loader_fd);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	char vprobed[4096];
	char *slash;

	if (argc > 1) {
		snprintf(vprobed, sizeof(vprobed), "%s", argv[1]);
	} else {
		/* tests/t_talker and vprobed/vprobed are neighbours */
		snprintf(vprobed, sizeof(vprobed), "%s", argv[0]);
		slash = strrchr(vprobed, '/');
		snprintf(slash ? slash : vprobed, 64, "/../vprobed/vprobed");
	}
	start_talker(vprobed);
	if (!ok(loader_hear(VPD_READY), "the talker is ready"))
		return tap_end();
	test_sandbox();
	test_register();
	test_pieces();
	test_malformed();
	test_gone();
	test_crowd();
	test_loader_exits();
	test_timeouts();
	return tap_end();
}
