// SPDX-License-Identifier: GPL-2.0-only
/* What metrics look like. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "metrics.h"
#include "tap.h"

/* A reader that takes a little, again and again. */
static void test_slow_reader(void)
{
	const size_t len = 64UL << 20;
	char *text = calloc(1, len);
	int64_t start;
	int pair[2];
	pid_t pid;

	if (!text || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		ok(false, "a pair of sockets");
		return;
	}
	pid = fork();
	while (!pid) {
		usleep(10000);
		if (read(pair[1], text, 4096) < 0)
			_exit(1);
	}
	start = metrics_now_ms();
	metrics_send(pair[0], text, len, start + 200);
	start = metrics_now_ms() - start;
	ok(start >= 200 && start < 10000, "a slow reader is given up on");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pair[0]);
	close(pair[1]);
	free(text);
}

int main(void)
{
	struct vprobe_stat stats[2] = {
		{ .id = 1, .name = "web", .hole_bytes = 4096, .fills = 7,
		  .state = VPROBE_VM_STOPPED },
		{ .id = 2, .name = "a\"b\\c\n", .hole_bytes = 0,
		  .quarantine_why = "it lies" },
	};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	metrics_print(f, stats, 2);
	fclose(f);
	ok(strstr(text, "# TYPE vprobe_hole_bytes gauge\n"),
	   "a family has its type");
	ok(strstr(text, "vprobe_hole_bytes{vm=\"1\",name=\"web\"} 4096\n"),
	   "a gauge of a VM");
	ok(strstr(text, "vprobe_fills_total{vm=\"1\",name=\"web\"} 7\n"),
	   "a counter ends in _total");
	ok(strstr(text, "vprobe_quarantined{vm=\"1\",name=\"web\"} 0\n") &&
	   strstr(text, "c\\n\"} 1\n"),
	   "who is in quarantine");
	ok(strstr(text, "vprobe_stopped{vm=\"1\",name=\"web\"} 1\n") &&
	   strstr(text, "vprobe_stopped{vm=\"2\",name=\"a\\\"b\\\\c\\n\"} 0\n"),
	   "who is stopped");
	ok(strstr(text, "{vm=\"2\",name=\"a\\\"b\\\\c\\n\"} 0\n"),
	   "what a label may not have is escaped");
	ok(len > 6 && !strcmp(text + len - 6, "# EOF\n"), "it ends with EOF");
	free(text);
	test_slow_reader();
	return tap_end();
}
