// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format is OpenMetrics 1.0: a family's TYPE and HELP, then a sample for
 * each VM, and "# EOF".
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "array.h"
#include "log.h"
#include "metrics.h"

/* The loop waits meanwhile; those who may connect are root. */
#define REQUEST_MS	250
#define REPLY_MS	750

struct family {
	const char *name;
	const char *help;
	bool counter;
	size_t offset;		/* of a __u64 in struct vprobe_stat */
};

#define FAMILY(name, help, counter, field) \
	{ name, help, counter, offsetof(struct vprobe_stat, field) }

static const struct family families[] = {
	FAMILY("ram_bytes", "Guest memory that could be taken", false,
	       ram_bytes),
	FAMILY("hole_bytes", "Memory that is taken now", false, hole_bytes),
	FAMILY("holes", "Blocks that are taken now", false, holes),
	FAMILY("free_bytes", "Free but not taken, when last counted", false,
	       free_bytes),
	FAMILY("watches", "Watches that are armed now", false, watches),
	FAMILY("has_helper", "Whether the guest has registered a helper", false,
	       has_helper),
	FAMILY("taken_bytes", "Memory taken", true, taken_bytes),
	FAMILY("watches_fired", "Watches that fired", true, fired),
	FAMILY("watches_fired_idle", "Watches that fired for nothing", true,
	       fired_idle),
	FAMILY("fills", "Blocks given back", true, fills),
	FAMILY("fills_demand", "Blocks given back in a vCPU's fault", true,
	       fills_vcpu),
	FAMILY("fill_waits", "Fills that waited for memory", true, fill_waits),
	FAMILY("fill_longest_wait_milliseconds",
	       "The longest wait of a fill that did not time out", false,
	       longest_wait_ms),
	FAMILY("fill_timeouts", "Fills that waited too long", true,
	       fill_timeouts),
	FAMILY("failsafes", "Times that all was given back at once", true,
	       failsafes),
	FAMILY("failsafe_writes", "Those because of a write to a hole", true,
	       failsafe_writes),
	FAMILY("passes", "Passes", true, passes),
	FAMILY("helper_runs", "Runs of the guest's helper", true, helper_runs),
	FAMILY("helper_nanoseconds", "Time that they took", true, helper_ns),
	FAMILY("helper_errors", "Runs that failed", true, helper_errors),
};

/* A label's value: backslash, quote and newline are escaped. */
static void print_label(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", f);
		else if (*text == '"' || *text == '\\')
			fprintf(f, "\\%c", *text);
		else
			fputc(*text, f);
	}
}

static void print_sample(FILE *f, const struct family *fam,
			 const struct vprobe_stat *st, uint64_t value)
{
	fprintf(f, "vprobe_%s%s{vm=\"%" PRIu64 "\",name=\"", fam->name,
		fam->counter ? "_total" : "", (uint64_t)st->id);
	print_label(f, st->name);
	fprintf(f, "\"} %" PRIu64 "\n", value);
}

static void print_head(FILE *f, const struct family *fam)
{
	fprintf(f, "# TYPE vprobe_%s %s\n# HELP vprobe_%s %s.\n", fam->name,
		fam->counter ? "counter" : "gauge", fam->name, fam->help);
}

static uint64_t field(const struct vprobe_stat *st, const struct family *fam)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)st + fam->offset, sizeof(value));
	return value;
}

static uint64_t is_quarantined(const struct vprobe_stat *st)
{
	return st->quarantine_why[0] != '\0';
}

static uint64_t is_stopped(const struct vprobe_stat *st)
{
	return st->state == VPROBE_VM_STOPPED;
}

static void print_whether(FILE *f, const char *name, const char *help,
			  uint64_t (*is)(const struct vprobe_stat *st),
			  const struct vprobe_stat *stats, size_t nr)
{
	const struct family fam = { .name = name, .help = help };
	size_t i;

	print_head(f, &fam);
	for (i = 0; i < nr; i++)
		print_sample(f, &fam, &stats[i], is(&stats[i]));
}

void metrics_print(FILE *f, const struct vprobe_stat *stats, size_t nr)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(families); i++) {
		const struct family *fam = &families[i];

		print_head(f, fam);
		for (j = 0; j < nr; j++)
			print_sample(f, fam, &stats[j], field(&stats[j], fam));
	}
	print_whether(f, "quarantined", "Whether it is in quarantine",
		      is_quarantined, stats, nr);
	print_whether(f, "stopped", "Whether a fill came too late for a vCPU",
		      is_stopped, stats, nr);
	fprintf(f, "# EOF\n");
}

static char *document(int dev, size_t *len)
{
	struct vprobe_stat *stats;
	char *text = NULL;
	size_t nr;
	FILE *f;

	if (vprobe_dev_stat_all(dev, &stats, &nr, NULL))
		return NULL;
	f = open_memstream(&text, len);
	if (f) {
		metrics_print(f, stats, nr);
		fclose(f);
	}
	free(stats);
	return text;
}

int64_t metrics_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static bool wait_until(int fd, short events, int64_t due_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int64_t left = due_ms - metrics_now_ms();

	return left > 0 && poll(&pfd, 1, (int)left) == 1;
}

void metrics_send(int fd, const char *text, size_t len, int64_t due_ms)
{
	while (len && wait_until(fd, POLLOUT, due_ms)) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

void metrics_serve(int listen_fd, int dev)
{
	char head[160], request[1024];
	size_t len = 0;
	ssize_t n = 0;
	int64_t due_ms;
	char *text;
	int fd;

	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	text = document(dev, &len);
	if (wait_until(fd, POLLIN, metrics_now_ms() + REQUEST_MS))
		n = recv(fd, request, sizeof(request), MSG_DONTWAIT);
	due_ms = metrics_now_ms() + REPLY_MS;
	if (text && n > 4 && !memcmp(request, "GET ", 4)) {
		snprintf(head, sizeof(head),
			 "HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
			 len);
		metrics_send(fd, head, strlen(head), due_ms);
	}
	if (text)
		metrics_send(fd, text, len, due_ms);
	free(text);
	close(fd);
}

int metrics_listen(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd = -1, ret;
	struct stat st;
	mode_t mask;

	if (len >= sizeof(addr.sun_path)) {
		ret = -ENAMETOOLONG;
		goto fail;
	}
	memcpy(addr.sun_path, path, len + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* What the last run left; anything else is somebody's mistake. */
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	mask = umask(0177);
	ret = fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	      listen(fd, 8) ? -errno : fd;
	umask(mask);
	if (ret >= 0)
		return ret;
fail:
	log_msg(LOG_WARNING, "cannot serve metrics at %s: %s", path,
		strerror(-ret));
	if (fd >= 0)
		close(fd);
	return ret;
}
