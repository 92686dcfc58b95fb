// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loader's loop. Workers are threads, not processes: capabilities belong
 * to a thread, and a program's descriptor stays where the store is. A worker
 * gets no raw message; what it works on was bounded and admitted twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "admit.h"
#include "bpfload.h"
#include "caps.h"
#include "core.h"
#include "daemon.h"
#include "ipc.h"
#include "libvprobe.h"
#include "log.h"
#include "metrics.h"
#include "pressure.h"
#include "talker.h"
#include "watchdog.h"

#define SYNC_MS			2000
#define BACKOFF_MIN_MS		100
#define BACKOFF_MAX_MS		30000
/* A talker that lived this long was healthy. */
#define HEALTHY_MS		60000
/*
 * Talker, device, signals, finished jobs, reply to --oneshot-file, PSI,
 * metrics.
 */
enum { P_TALKER, P_DEV, P_SIGNAL, P_DONE, P_ONESHOT, P_PSI, P_METRICS, P_FIXED };

struct daemon {
	const struct options *opt;
	struct core core;
	struct bpf_host bpf;
	struct pressure pressure;
	struct watchdog watchdog;
	uint64_t watched_ms;	/* when the watchdog looked last */
	bool has_vms;	/* some may be attached */
	int metrics_fd;		/* listening socket, or negative */
	int dev;
	int listen_fd;
	int signal_fd;
	int done[2];		/* pipe of finished jobs */
	int oneshot_fd;		/* the guest's end, or -1 */
	uint64_t oneshot_vm;
	pid_t talker;
	uint32_t talker_nr;
	int talker_fd;
	uint64_t talker_started_ms;
	uint64_t restart_ms;	/* when to start one, 0: it runs */
	unsigned int backoff_ms;
	bool was_ready;		/* some talker was confined and listened */
	bool stop;
	int ret;
	union {
		struct vpd_request req;
		uint8_t bytes[VPD_REQUEST_MAX + 1];
	} in;
};

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t mono_ms(void)
{
	return mono_ns() / 1000000;
}

/* struct core_ops */

static int op_load(void *ctx, const struct vpd_request *req, char *why,
		   size_t size)
{
	struct daemon *d = ctx;

	return bpf_host_load(&d->bpf, vpd_insns(req), req->insn_cnt, req->name,
			     why, size);
}

static pid_t op_find_owner(void *ctx, uint32_t cid, int *pidfd,
			   uint64_t *start_ns, char *why, size_t size)
{
	struct vprobe_error err;
	pid_t pid;

	(void)ctx;
	pid = vprobe_vmm_by_cid(cid, pidfd, start_ns, &err);
	if (pid < 0)
		snprintf(why, size, "%s", err.text);
	return pid;
}

static int op_attach(void *ctx, pid_t pid, int pidfd, uint32_t cid,
		     uint64_t *id, char *why, size_t size)
{
	struct daemon *d = ctx;
	struct vprobe_attach_options how = d->opt->how;
	struct vprobe_attach req;
	struct vprobe_error err;
	int ret;

	how.cid = cid;
	ret = vprobe_attach_process(d->dev, pid, pidfd, &how, &req, &err);
	if (ret)
		snprintf(why, size, "%s", err.text);
	/* The VMM maps memory; that ends. */
	if (ret && err.reason == VPROBE_REASON_BUSY)
		ret = -EAGAIN;
	*id = req.id;
	return ret;
}

static int op_set_helper(void *ctx, uint64_t id, int prog_fd,
			 const void *layout, size_t len, uint64_t as_of_ns,
			 char *why, size_t size)
{
	struct daemon *d = ctx;
	struct vprobe_error err;
	int ret;

	ret = vprobe_dev_set_helper(d->dev, id, prog_fd, layout, len, as_of_ns,
				    &err);
	if (ret)
		snprintf(why, size, "%s", err.text);
	return ret;
}

static int op_quarantine(void *ctx, uint64_t id, const char *reason, char *why,
			 size_t size)
{
	struct daemon *d = ctx;
	struct vprobe_error err;
	int ret;

	ret = vprobe_dev_quarantine(d->dev, id, reason, &err);
	if (ret)
		snprintf(why, size, "%s", err.text);
	return ret;
}

static int op_open_process(void *ctx, pid_t pid, uint64_t *start_ns)
{
	(void)ctx;
	return vprobe_process_open(pid, start_ns, NULL);
}

/* --oneshot-file: one VM, picked by the operator, plays the guest. */
static int list_oneshot(struct daemon *d, struct vprobe_stat **vms, size_t *nr)
{
	struct vprobe_stat *st = calloc(1, sizeof(*st));
	int ret;

	if (!st)
		return -ENOMEM;
	ret = vprobe_dev_stat(d->dev, d->oneshot_vm, st, NULL);
	if (ret) {
		free(st);
		return ret;
	}
	st->cid = VPD_CID_FILE;
	st->pid = 0;
	*vms = st;
	*nr = 1;
	return 0;
}

static int op_list(void *ctx, struct vprobe_stat **vms, size_t *nr)
{
	struct daemon *d = ctx;
	struct vprobe_error err;

	if (d->oneshot_fd >= 0)
		return list_oneshot(d, vms, nr);
	if (vprobe_dev_stat_all(d->dev, vms, nr, &err)) {
		log_msg(LOG_ERR, "%s", err.text);
		return err.code;
	}
	d->has_vms |= *nr > 0;
	return 0;
}

static void op_reply(void *ctx, uint32_t talker, uint64_t cookie,
		     uint32_t status, const char *text)
{
	struct daemon *d = ctx;
	struct vpd_reply rep = {
		.magic = VPD_MAGIC,
		.status = status,
		.cookie = cookie,
	};

	if (talker != d->talker_nr || d->talker_fd < 0)
		return;
	snprintf(rep.text, sizeof(rep.text), "%s", text);
	if (send(d->talker_fd, &rep, sizeof(rep),
		 MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(rep))
		log_msg(LOG_WARNING, "a reply to a guest got lost: %s",
			strerror(errno));
}

static void *worker(void *arg)
{
	struct job *job = arg;
	struct daemon *d = job->core->ctx;

	job_work(job);
	/* A pointer is less than PIPE_BUF: it goes through whole. */
	while (write(d->done[1], &job, sizeof(job)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void op_start(void *ctx, struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	(void)ctx;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&thread, &attr, worker, job);
	pthread_attr_destroy(&attr);
	/* Without a thread it is done here: slower, and still done. */
	if (ret)
		worker(job);
}

static const struct core_ops ops = {
	.load = op_load,
	.find_owner = op_find_owner,
	.attach = op_attach,
	.set_helper = op_set_helper,
	.quarantine = op_quarantine,
	.open_process = op_open_process,
	.list = op_list,
	.reply = op_reply,
	.start = op_start,
};

/* Talker */

/* The next one later each time. */
static void back_off(struct daemon *d)
{
	d->restart_ms = mono_ms() + d->backoff_ms;
	d->backoff_ms = d->backoff_ms * 2 > BACKOFF_MAX_MS ?
			BACKOFF_MAX_MS : d->backoff_ms * 2;
}

static void start_talker(struct daemon *d)
{
	int conn = d->opt->oneshot_file ? d->listen_fd : -1;
	int listener = d->opt->oneshot_file ? -1 : d->listen_fd;
	pid_t pid;

	d->talker_nr++;
	pid = spawn_talker(d->opt, listener, conn, &d->talker_fd);
	if (pid < 0) {
		log_msg(LOG_ERR, "cannot start a talker: %s", strerror(-pid));
		d->talker_fd = -1;
		back_off(d);
		/* One message has one try. */
		d->stop = d->opt->oneshot_file;
		d->ret = d->stop;
		return;
	}
	if (d->opt->oneshot_file) {
		/* Only the talker has it now: when it ends, we see an end. */
		close(d->listen_fd);
		d->listen_fd = -1;
	}
	d->talker = pid;
	d->talker_started_ms = mono_ms();
	d->restart_ms = 0;
}

static void stop_talker(struct daemon *d)
{
	if (d->talker_fd >= 0)
		close(d->talker_fd);
	d->talker_fd = -1;
	if (d->talker > 0)
		kill(d->talker, SIGKILL);
}

/* It has exited: start the next one. */
static void talker_exited(struct daemon *d, int status)
{
	uint64_t lived = mono_ms() - d->talker_started_ms;

	d->talker = 0;
	if (d->talker_fd >= 0)
		close(d->talker_fd);
	d->talker_fd = -1;
	core_closed(&d->core, d->talker_nr, NULL);
	if (d->opt->oneshot_file)
		return;
	if (!d->was_ready) {
		/* It said why; the next one would say the same. */
		log_msg(LOG_ERR, "the talker could not start: giving up");
		d->stop = true;
		d->ret = 1;
		return;
	}
	if (lived >= HEALTHY_MS)
		d->backoff_ms = BACKOFF_MIN_MS;
	if (WIFSIGNALED(status))
		log_msg(LOG_ERR,
			"the talker was killed by signal %d%s; starting another one in %u ms",
			WTERMSIG(status), WTERMSIG(status) == SIGSYS ?
			" (a system call that it may not use)" : "",
			d->backoff_ms);
	else
		log_msg(LOG_ERR,
			"the talker has exited with code %d; starting another one in %u ms",
			WEXITSTATUS(status), d->backoff_ms);
	back_off(d);
}

static void talker_ready(struct daemon *d)
{
	d->was_ready = true;
	log_msg(LOG_DEBUG, "the talker is confined and listens");
	if (!d->opt->oneshot_file)
		sd_notifyf(0, "READY=1\nSTATUS=Listening on vsock port %u",
			   d->opt->port);
}

/* One record. Returns whether there may be more. */
static bool talker_record(struct daemon *d)
{
	const char *why;
	ssize_t n;

	n = recv(d->talker_fd, d->in.bytes, sizeof(d->in.bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		/* SIGCHLD tells the rest. */
		close(d->talker_fd);
		d->talker_fd = -1;
		return false;
	}
	if (vpd_request_check(d->in.bytes, (size_t)n, &why)) {
		log_msg(LOG_ERR,
			"the talker sent what it never should (%s): killing it",
			why);
		stop_talker(d);
		return false;
	}
	if (d->in.req.type == VPD_READY)
		talker_ready(d);
	else if (d->in.req.type == VPD_CLOSED)
		core_closed(&d->core, d->talker_nr, &d->in.req.cookie);
	else
		core_request(&d->core, d->talker_nr, &d->in.req, mono_ns());
	return true;
}

/* All that there is: each connection has one request at most, and one end. */
static void talker_input(struct daemon *d)
{
	unsigned int i;

	for (i = 0; i < 2 * TALKER_MAX_CONNS && talker_record(d); i++)
		;
}

/* Events */

static void handle_signal(struct daemon *d)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	if (read(d->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo != SIGCHLD) {
		d->stop = true;
		return;
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == d->talker)
			talker_exited(d, status);
	}
}

static void handle_done(struct daemon *d)
{
	struct job *job;

	if (read(d->done[0], &job, sizeof(job)) != sizeof(job))
		return;
	core_done(job);
	/* Maybe that attached one. */
	d->has_vms = true;
}

static bool wants_look(const struct daemon *d)
{
	return d->opt->quarantine && !d->opt->oneshot_file && d->has_vms;
}

/* Whoever has set them: vprobed is not told of what others do. */
static void look_at_helpers(struct daemon *d)
{
	char why[VPROBE_WHY_LEN];
	struct vprobe_stat *stats;
	size_t nr, i;

	d->watched_ms = mono_ms();
	if (vprobe_dev_stat_all(d->dev, &stats, &nr, NULL))
		return;
	for (i = 0; i < nr; i++) {
		if (watchdog_look(&d->watchdog, &d->opt->limits, &stats[i],
				  mono_ns(), why, sizeof(why)))
			core_quarantine(&d->core, &stats[i], why);
	}
	watchdog_forget(&d->watchdog, stats, nr);
	d->has_vms = nr > 0;
	free(stats);
}

static void handle_dev(struct daemon *d)
{
	uint64_t changes;

	if (read(d->dev, &changes, sizeof(changes)) < 0 && errno != EAGAIN &&
	    errno != EINTR) {
		log_msg(LOG_ERR, "cannot read " VPROBE_DEVICE ": %s",
			strerror(errno));
		d->ret = 1;
		d->stop = true;
		return;
	}
	core_sync(&d->core);
}

/* What the injector would have heard. */
static void handle_oneshot(struct daemon *d)
{
	struct {
		struct vprobe_msg msg;
		struct vprobe_reply rep;
		char text[VPROBE_WIRE_MAX_TEXT + 1];
	} m = { 0 };
	ssize_t n;

	n = recv(d->oneshot_fd, &m, sizeof(m) - 1, 0);
	d->stop = true;
	d->ret = 1;
	if (n < (ssize_t)(sizeof(m.msg) + sizeof(m.rep))) {
		log_msg(LOG_ERR, "%s: no reply: the message is empty, or the talker could not start",
			d->opt->oneshot_file);
		return;
	}
	printf("%s: %s\n", d->opt->oneshot_file, m.text);
	if (!m.rep.status)
		d->ret = 0;
}

/* The sooner of a timeout, which may be none (-1), and @due_ms. */
static int sooner(int timeout, uint64_t due_ms)
{
	uint64_t now = mono_ms();
	int left = due_ms > now ? (int)(due_ms - now) : 0;

	return timeout < 0 || left < timeout ? left : timeout;
}

static int next_timeout(const struct daemon *d)
{
	int timeout = core_wants_sync(&d->core) ? SYNC_MS : -1;

	if (d->restart_ms)
		timeout = sooner(timeout, d->restart_ms);
	if (wants_look(d))
		timeout = sooner(timeout, d->watched_ms + WATCHDOG_MS);
	if (d->pressure.told &&
	    (timeout < 0 || timeout > PRESSURE_AGAIN_MS))
		timeout = PRESSURE_AGAIN_MS;
	return timeout;
}

/* The VMMs of all registrations; an exit makes core_sync() drop them. */
static nfds_t add_pidfds(const struct daemon *d, struct pollfd *pfd)
{
	struct registration *r;
	nfds_t n = 0;

	for (r = store_next(&d->core.store, NULL); r;
	     r = store_next(&d->core.store, r))
		pfd[n++] = (struct pollfd){ .fd = r->pidfd, .events = POLLIN };
	return n;
}

static void loop(struct daemon *d)
{
	struct pollfd pfd[P_FIXED + STORE_MAX];
	uint64_t synced_ms = 0;

	while (!d->stop) {
		nfds_t nr = P_FIXED, i;
		bool gone = false, event;

		if (d->restart_ms && d->restart_ms <= mono_ms())
			start_talker(d);
		pfd[P_TALKER] = (struct pollfd){ d->talker_fd, POLLIN, 0 };
		pfd[P_DEV] = (struct pollfd){ d->dev, POLLIN, 0 };
		pfd[P_SIGNAL] = (struct pollfd){ d->signal_fd, POLLIN, 0 };
		pfd[P_DONE] = (struct pollfd){ d->done[0], POLLIN, 0 };
		pfd[P_ONESHOT] = (struct pollfd){ d->oneshot_fd, POLLIN, 0 };
		pfd[P_PSI] = (struct pollfd){ d->pressure.fd, POLLPRI, 0 };
		pfd[P_METRICS] = (struct pollfd){ d->metrics_fd, POLLIN, 0 };
		nr += add_pidfds(d, pfd + P_FIXED);
		if (poll(pfd, nr, next_timeout(d)) < 0 && errno != EINTR) {
			log_msg(LOG_ERR, "cannot wait for events: %s",
				strerror(errno));
			d->ret = 1;
			break;
		}
		for (i = P_FIXED; i < nr; i++)
			gone |= pfd[i].revents != 0;
		/* First: who is gone must not be taken for who has its number now. */
		if (d->talker_fd >= 0)
			talker_input(d);
		if (pfd[P_SIGNAL].revents)
			handle_signal(d);
		if (pfd[P_DONE].revents)
			handle_done(d);
		if (pfd[P_DEV].revents)
			handle_dev(d);
		if (d->oneshot_fd >= 0 && pfd[P_ONESHOT].revents)
			handle_oneshot(d);
		event = pfd[P_PSI].revents & POLLPRI;
		if (event || pressure_due(&d->pressure, mono_ms()))
			pressure_tell(&d->pressure, d->dev, mono_ms(), event);
		if (pfd[P_METRICS].revents & POLLIN)
			metrics_serve(d->metrics_fd, d->dev);
		if (wants_look(d) && mono_ms() - d->watched_ms >= WATCHDOG_MS)
			look_at_helpers(d);
		if (gone || (core_wants_sync(&d->core) &&
			     mono_ms() - synced_ms >= SYNC_MS)) {
			synced_ms = mono_ms();
			core_sync(&d->core);
		}
	}
}

/* Start */

static int listen_vsock(uint32_t port)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port,
	};
	int fd;

	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    !listen(fd, 64))
		return fd;
	log_msg(LOG_ERR, "cannot listen on vsock port %u: %s%s", port,
		strerror(errno),
		errno == EADDRINUSE ? "; is another vprobed running?" :
		errno == EACCES ? "; it may not use ports below 1024" :
		"; load the module vhost_vsock");
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Before the first worker, which inherits it. */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The file's bytes go to the talker unread. Returns the talker's end. */
static int open_oneshot(struct daemon *d)
{
	static uint8_t buf[ADMIT_MAX_BYTES + 1];
	const char *name = d->opt->oneshot_file;
	size_t have = 0;
	ssize_t n = 0;
	int pair[2], fd;

	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		goto fail;
	while (have < sizeof(buf)) {
		n = read(fd, buf + have, sizeof(buf) - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(fd);
	if (n < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		goto fail;
	d->oneshot_fd = pair[0];
	if (send(pair[0], buf, have, MSG_NOSIGNAL) == (ssize_t)have &&
	    !shutdown(pair[0], SHUT_WR))
		return pair[1];
	close(pair[1]);
fail:
	log_msg(LOG_ERR, "cannot read %s: %s", name, strerror(errno));
	return -1;
}

static int open_source(struct daemon *d)
{
	struct vprobe_error err;
	struct vprobe_stat st;

	if (!d->opt->oneshot_file)
		return listen_vsock(d->opt->port);
	if (!d->opt->vm) {
		d->core.load_only = true;
		return open_oneshot(d);
	}
	if (vprobe_find_vm(d->dev, d->opt->vm, &st, &err)) {
		log_msg(LOG_ERR, "%s", err.text);
		return -1;
	}
	d->oneshot_vm = st.id;
	return open_oneshot(d);
}

static int daemon_open(struct daemon *d)
{
	const struct rlimit none = { 0, 0 };
	const struct rlimit locked = { STORE_LOCKED_MAX, STORE_LOCKED_MAX };
	struct vprobe_error err;

	/* What guests registered must not end up in a core dump. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
	/* If this fails, the store is full sooner, and says so. */
	setrlimit(RLIMIT_MEMLOCK, &locked);
	if (caps_limit())
		return -1;
	d->dev = vprobe_open(&err);
	if (d->dev < 0) {
		log_msg(LOG_ERR, "%s", err.text);
		return -1;
	}
	if (bpf_host_resolve(&d->bpf))
		return -1;
	d->bpf.load_ms = d->opt->load_ms;
	d->listen_fd = open_source(d);
	if (d->listen_fd < 0)
		return -1;
	d->signal_fd = open_signals();
	if (d->signal_fd < 0 || pipe2(d->done, O_CLOEXEC)) {
		log_msg(LOG_ERR, "cannot start: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int daemon_run(const struct options *opt)
{
	static struct daemon d = {
		.dev = -1,
		.listen_fd = -1,
		.pressure = { .fd = -1 },
		.metrics_fd = -1,
		.oneshot_fd = -1,
		.talker_fd = -1,
		.backoff_ms = BACKOFF_MIN_MS,
	};

	d.opt = opt;
	d.core.ops = &ops;
	d.core.ctx = &d;
	if (daemon_open(&d))
		return 1;
	if (opt->no_seccomp)
		log_msg(LOG_WARNING,
			"the talker's system calls are not filtered (--no-seccomp)");
	start_talker(&d);
	if (!opt->oneshot_file) {
		pressure_open(&d.pressure);
		if (opt->metrics)
			d.metrics_fd = metrics_listen(opt->metrics);
		log_msg(LOG_INFO, "listening on vsock port %u", opt->port);
		d.core.attach = opt->attach;
		/* What is attached already. */
		core_sync(&d.core);
	}
	loop(&d);
	sd_notify(0, "STOPPING=1");
	stop_talker(&d);
	watchdog_forget(&d.watchdog, NULL, 0);
	store_clear(&d.core.store);
	return d.ret;
}
