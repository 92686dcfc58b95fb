// SPDX-License-Identifier: GPL-2.0-only
/*
 * A talker is this program, executed again: a mere fork would hand it, and
 * whoever takes it over, a copy of what other guests have registered.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "ipc.h"
#include "log.h"
#include "sandbox.h"
#include "talker.h"

#define EXE "/proc/self/exe"

static void keep_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

/* After fork(), maybe beside other threads: system calls only. */
static void __attribute__((noreturn))
exec_talker(char *const argv[], char *const envp[], int listen_fd, int conn_fd,
	    int loader_fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	keep_open(listen_fd);
	keep_open(conn_fd);
	keep_open(loader_fd);
	execve(EXE, argv, envp);
	_exit(127);
}

pid_t spawn_talker(const struct options *opt, int listen_fd, int conn_fd,
		   int *loader_fd)
{
	char arg[512], journal[256] = "";
	char *const argv[] = { "vprobed", "--talker", arg, NULL };
	char *envp[2] = { journal, NULL };
	const char *stream = getenv("JOURNAL_STREAM");
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	snprintf(arg, sizeof(arg), "%d:%d:%d:%u:%u:%u:%u:%u:%s", listen_fd,
		 conn_fd, pair[1], opt->uid, opt->gid,
		 conn_fd >= 0 ? VPD_CID_FILE : 0, opt->verbose,
		 !opt->no_seccomp, opt->runtime_dir);
	if (stream)
		snprintf(journal, sizeof(journal), "JOURNAL_STREAM=%s",
			 stream);
	else
		envp[0] = NULL;
	pid = fork();
	if (!pid)
		exec_talker(argv, envp, listen_fd, conn_fd, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		int e = errno;

		close(pair[0]);
		return -e;
	}
	*loader_fd = pair[0];
	return pid;
}

int talker_main(const char *arg)
{
	struct talker t = {
		.idle_ms = TALKER_IDLE_MS,
		.message_ms = TALKER_MESSAGE_MS,
	};
	unsigned int uid, gid, verbose, filter;
	int epfd, pos = -1;

	if (sscanf(arg, "%d:%d:%d:%u:%u:%u:%u:%u:%n", &t.listen_fd, &t.conn_fd,
		   &t.loader_fd, &uid, &gid, &t.fixed_cid, &verbose,
		   &filter, &pos) != 8 || pos < 0)
		return 2;
	log_init("vprobed talker", verbose);
	epfd = talker_prepare(&t);
	if (epfd < 0) {
		log_msg(LOG_ERR, "cannot start the talker: %s",
			strerror(-epfd));
		return 1;
	}
	if (sandbox_enter(arg + pos, uid, gid, filter))
		return 1;
	return talker_run(&t, epfd);
}
