// SPDX-License-Identifier: GPL-2.0-only
/* vprobe reclaim: one pass, with its progress on a terminal. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

#define PROGRESS_MS 200

struct progress {
	pthread_t thread;
	bool running;
	atomic_bool stop;
	uint64_t id;
	uint64_t before;
};

static void on_signal(int sig)
{
	(void)sig;	/* the ioctl ends with EINTR, that is all */
}

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	const struct vm_args *a = state->input;

	if (key == ARGP_KEY_END && a->vm && !a->has_size)
		usage_error(state, "how much? Write 512M, 1.5G, or all");
	return parse_vm_size(key, arg, state);
}

/* Through a descriptor of its own: the pass is busy with the other one. */
static void *show_progress(void *arg)
{
	struct progress *p = arg;
	const struct timespec pause = { .tv_nsec = PROGRESS_MS * 1000000L };
	int dev = vprobe_open(NULL);
	struct vprobe_stat st;
	char buf[32];

	while (dev >= 0 && !atomic_load(&p->stop)) {
		nanosleep(&pause, NULL);
		if (vprobe_dev_stat(dev, p->id, &st, NULL))
			break;
		fprintf(stderr, "\rtaken: %s   ",
			size_text(st.taken_bytes - p->before, buf,
				  sizeof(buf)));
	}
	if (dev >= 0)
		close(dev);
	return NULL;
}

static void start_progress(struct progress *p, const struct vprobe_stat *st)
{
	sigset_t set, old;

	if (out_json || !isatty(STDERR_FILENO))
		return;
	p->id = st->id;
	p->before = st->taken_bytes;
	/* The signal is for the thread in the ioctl. */
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	p->running = !pthread_create(&p->thread, NULL, show_progress, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop_progress(struct progress *p)
{
	if (!p->running)
		return;
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	fprintf(stderr, "\r%*s\r", 40, "");
}

/* @err: why it ended before it was done, or NULL */
static void show(const struct vprobe_reclaim *req, const struct vprobe_error *err)
{
	bool early = !err && req->reason == VPROBE_REASON_BUSY;
	bool interrupted = err && err->code == -EINTR;
	char taken[32], reported[32];

	out_note("%stook %s in %llu blocks; the guest reported %s free; %.1f ms",
		 interrupted ? "interrupted: " : !early ? "" :
		 "ended early, as somebody wanted memory back or the VMM changed its memory slots: ",
		 size_text(req->taken, taken, sizeof(taken)),
		 (unsigned long long)req->blocks,
		 size_text(req->reported, reported, sizeof(reported)),
		 (double)req->ns / 1e6);
	out_object(NULL);
	out_u64("id", NULL, req->id);
	out_u64("taken_bytes", NULL, req->taken);
	out_u64("taken_blocks", NULL, req->blocks);
	out_u64("reported_bytes", NULL, req->reported);
	out_u64("ns", NULL, req->ns);
	out_bool("interrupted", NULL, interrupted);
	out_bool("ended_early", NULL, early);
	if (err)
		error_fields(err);
	out_end();
}

int cmd_reclaim(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_opt,
		.args_doc = "VM SIZE|all",
		.doc = "Take free memory back from a VM, now: at least SIZE if there is as much, or all that is free.",
	};
	const struct sigaction sa = { .sa_handler = on_signal };
	struct progress progress = { .running = false };
	struct vprobe_reclaim req = { 0 };
	struct vm_args a = { 0 };
	struct vprobe_error err;
	struct vprobe_stat st;
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	start_progress(&progress, &st);
	req.id = st.id;
	req.target = a.size;
	ret = vprobe_dev_reclaim(dev, &req, &err);
	stop_progress(&progress);
	close(dev);
	if (ret == -EINTR) {
		vprobe_error_set(&err, ret,
				 "interrupted; what was taken stays taken");
		show(&req, &err);
		return EXIT_FAILED;
	}
	if (ret && !req.taken)
		return fail(&err);
	show(&req, ret ? &err : NULL);
	return ret ? fail_partly(&err) : EXIT_OK;
}
