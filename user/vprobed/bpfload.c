// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names are resolved once, at start, with CAP_SYS_ADMIN. A helper is loaded
 * without it and without CAP_PERFMON: only then does the verifier forbid
 * pointer leaks and reads of uninitialised stack, and add its mitigations
 * against Spectre v1 and v4.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bpfload.h"
#include "caps.h"
#include "log.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "instructions come little-endian and are loaded as they are"
#endif

#define MODULE_NAME	"vprobe"
#define LOG_BYTES	(64 * 1024)
/* Messages without the trace of every instruction (BPF_LOG_STATS). */
#define LOG_LEVEL_BRIEF	4

/* Of C libraries that are older than this name. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static const char *const call_names[__VPROBE_CALL_MAX] = {
	[VPROBE_CALL_READ] = "vprobe_read",
	[VPROBE_CALL_WINDOW] = "vprobe_window",
	[VPROBE_CALL_LAYOUT] = "vprobe_layout",
	[VPROBE_CALL_REPORT] = "vprobe_report",
};

/* The descriptor of the BTF object that the kernel made for the module. */
static int find_module_btf(uint32_t *id)
{
	uint32_t next = 0;
	int fd;

	while (!bpf_btf_get_next_id(next, &next)) {
		struct bpf_btf_info info = { 0 };
		uint32_t len = sizeof(info);
		char name[64] = "";

		fd = bpf_btf_get_fd_by_id(next);
		if (fd < 0) {
			if (errno == ENOENT)
				continue;	/* just went away */
			return -errno;
		}
		info.name = (uintptr_t)name;
		info.name_len = sizeof(name);
		if (!bpf_btf_get_info_by_fd(fd, &info, &len) &&
		    info.kernel_btf && !strcmp(name, MODULE_NAME)) {
			*id = next;
			return fd;
		}
		close(fd);
	}
	return errno == ENOENT ? -ENOENT : -errno;
}

static int resolve_ids(struct bpf_host *h, const struct btf *btf)
{
	int i;

	for (i = 1; i < __VPROBE_CALL_MAX; i++) {
		int id = btf__find_by_name_kind(btf, call_names[i],
						BTF_KIND_FUNC);

		if (id <= 0) {
			log_msg(LOG_ERR,
				"the vprobe module has no function %s; load the module that belongs to this version",
				call_names[i]);
			return -ENOENT;
		}
		h->ids[i] = (uint32_t)id;
	}
	return 0;
}

int bpf_host_resolve(struct bpf_host *h)
{
	struct btf *vmlinux, *btf = NULL;
	uint32_t id = 0;
	int ret;

	memset(h, 0, sizeof(*h));
	h->btf_fd = find_module_btf(&id);
	if (h->btf_fd < 0) {
		ret = h->btf_fd;
		log_msg(LOG_ERR, "cannot find the type information of module vprobe: %s",
			ret != -ENOENT ? strerror(-ret) :
			"there is none; load the module, and build kernel and module with CONFIG_DEBUG_INFO_BTF_MODULES");
		return ret;
	}
	vmlinux = btf__load_vmlinux_btf();
	ret = vmlinux ? 0 : -errno;
	if (!ret) {
		btf = btf__load_from_kernel_by_id_split(id, vmlinux);
		ret = btf ? 0 : -errno;
	}
	if (ret)
		log_msg(LOG_ERR, "cannot read the kernel's type information: %s",
			strerror(-ret));
	else
		ret = resolve_ids(h, btf);
	btf__free(btf);
	btf__free(vmlinux);
	if (ret) {
		close(h->btf_fd);
		h->btf_fd = -1;
	}
	return ret;
}

int bpf_rewrite_calls(const struct bpf_host *h, struct bpf_insn *insns,
		      uint32_t cnt)
{
	uint32_t i;

	for (i = 0; i < cnt; i++) {
		struct bpf_insn *in = &insns[i];

		if (in->code == (BPF_LD | BPF_IMM | BPF_DW)) {
			i++;	/* the second half is data */
			continue;
		}
		if (in->code != (BPF_JMP | BPF_CALL) ||
		    in->src_reg != BPF_PSEUDO_KFUNC_CALL)
			continue;
		if (in->imm < 1 || in->imm >= __VPROBE_CALL_MAX || in->off)
			return -EINVAL;
		in->imm = (int32_t)h->ids[in->imm];
		in->off = 1;	/* index into fd_array */
	}
	return 0;
}

/* Statistics and states come after what went wrong, and are not wanted. */
static bool is_noise(const char *line)
{
	return !strncmp(line, "processed ", 10) ||
	       !strncmp(line, "verification time ", 18) ||
	       !strncmp(line, "stack depth ", 12) ||
	       !strncmp(line, "cur state:", 10) ||
	       !strncmp(line, "old state:", 10);
}

static const char *line_start(const char *log, const char *end)
{
	while (end > log && end[-1] != '\n')
		end--;
	return end;
}

void bpf_log_tail(const char *log, char *out, size_t size)
{
	const char *end = log + strlen(log);
	const char *line;
	size_t n = 0;

	for (;;) {
		while (end > log && end[-1] == '\n')
			end--;
		line = line_start(log, end);
		if (end == log || !is_noise(line))
			break;
		end = line;
	}
	/* The last line, and the one before it. */
	if (line > log)
		line = line_start(log, line - 1);
	for (; line < end && n + 1 < size; line++) {
		unsigned char c = (unsigned char)*line;

		if (c == '\n')
			c = ';';
		out[n++] = c < 0x20 || c > 0x7e ? ' ' : (char)c;
	}
	out[n] = '\0';
}

/* Milliseconds of the thread that loads. */
struct spent {
	long wall;
	long cpu;
};

static long clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000;
}

static struct spent spent_since(struct spent start)
{
	return (struct spent){
		.wall = clock_ms(CLOCK_MONOTONIC) - start.wall,
		.cpu = clock_ms(CLOCK_THREAD_CPUTIME_ID) - start.cpu,
	};
}

static void explain(const struct bpf_host *h, int err, const char *log,
		    const struct spent *spent, char *why, size_t size)
{
	char tail[300];

	bpf_log_tail(log, tail, sizeof(tail));
	if (err == -EPERM)
		snprintf(why, size,
			 "refused: the host may not load BPF programs: %s",
			 *tail ? tail : "vprobed needs CAP_BPF");
	else if (err == -EAGAIN)
		snprintf(why, size,
			 "the host kernel's verifier took longer than %u ms, of which it had a processor for %ld; the helper is too complex, or the host too busy",
			 h->load_ms, spent->cpu);
	else
		snprintf(why, size, "refused by the host kernel's verifier: %s",
			 *tail ? tail : strerror(-err));
}

/* Only letters, digits, '_' and '.' are a BPF object's name. */
static void prog_name(const char *from, char *name)
{
	unsigned int i;

	for (i = 0; i < BPF_OBJ_NAME_LEN - 1 && from[i]; i++)
		name[i] = isalnum((unsigned char)from[i]) ? from[i] : '_';
	name[i] = '\0';
}

static void nothing(int sig)
{
	(void)sig;
}

/*
 * The verifier ends with EAGAIN when its thread has a signal, whatever that is for:
 * libbpf tries again, some times. So this one comes again, too.
 */
static int timer_start(unsigned int ms, timer_t *timer)
{
	const struct sigaction action = { .sa_handler = nothing };
	const struct itimerspec when = {
		.it_value = { ms / 1000, ms % 1000 * 1000000L },
		.it_interval = { 0, 10 * 1000000L },
	};
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGALRM,
		.sigev_notify_thread_id = gettid(),
	};

	if (sigaction(SIGALRM, &action, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, timer))
		return -errno;
	timer_settime(*timer, 0, &when, NULL);
	return 0;
}

static int load_lowered(const struct bpf_host *h, const struct bpf_insn *insns,
			uint32_t cnt, const char *name, char *log)
{
	const int fd_array[] = { -1, h->btf_fd };
	timer_t timer;
	int fd, ret;

	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .prog_flags = BPF_F_SLEEPABLE,
		    .fd_array = fd_array,
		    .log_level = LOG_LEVEL_BRIEF,
		    .log_size = LOG_BYTES,
		    .log_buf = log);

	ret = timer_start(h->load_ms, &timer);
	if (ret)
		return ret;
	ret = caps_bpf_only();
	fd = ret ? ret : bpf_prog_load(BPF_PROG_TYPE_SYSCALL, name, "GPL",
				       insns, cnt, &opts);
	timer_delete(timer);
	ret = caps_normal();
	if (ret) {
		/* Without them every later call would fail in odd ways. */
		log_msg(LOG_ERR, "cannot raise capabilities again: %s",
			strerror(-ret));
		abort();
	}
	return fd;
}

int bpf_host_load(const struct bpf_host *h, const uint8_t *insns, uint32_t cnt,
		  const char *name, char *why, size_t size)
{
	struct bpf_insn *copy;
	char bpf_name[BPF_OBJ_NAME_LEN];
	char *log;
	struct spent spent = { 0 };
	int fd = -ENOMEM;

	copy = calloc(cnt, sizeof(*copy));
	log = calloc(1, LOG_BYTES);
	if (!copy || !log) {
		snprintf(why, size, "vprobed has no memory left");
		goto out;
	}
	memcpy(copy, insns, cnt * sizeof(*copy));
	prog_name(name, bpf_name);
	fd = bpf_rewrite_calls(h, copy, cnt);
	if (!fd) {
		spent = spent_since(spent);
		fd = load_lowered(h, copy, cnt, bpf_name, log);
		spent = spent_since(spent);
	}
	if (fd < 0)
		explain(h, fd, log, &spent, why, size);
	else
		log_msg(LOG_DEBUG, "%s: verified in %ld ms, %ld of processor time",
			bpf_name, spent.wall, spent.cpu);
out:
	free(copy);
	free(log);
	return fd;
}
