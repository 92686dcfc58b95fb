/* SPDX-License-Identifier: GPL-2.0-only */
/* The loader's process: loop, workers, talker. */
#ifndef VPROBED_DAEMON_H
#define VPROBED_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libvprobe.h"
#include "watchdog.h"

/*
 * How long the verifier may take, in milliseconds. The Linux helper takes 0.5 s, and the
 * most that the verifier looks at 2 s; a debug kernel in an emulator is many times
 * slower. Less than the talker waits for an answer (WAIT_MS).
 */
#define LOAD_MS_DEFAULT	60000
#define LOAD_MS_MIN	1000
#define LOAD_MS_MAX	240000

/**
 * struct options - what the operator asked for
 * @config: file that the operator named, or NULL
 * @runtime_dir: where the talker's root directory is made and removed again
 * @user: whom the talker becomes
 * @uid: of that user
 * @gid: of that user
 * @port: vsock port
 * @load_ms: how long the verifier may take for a helper, milliseconds
 * @verbose: also log what is no news
 * @attach: attach VMs whose guests register
 * @how: ... how
 * @quarantine: put VMs in quarantine whose helpers misbehave
 * @limits: ... when
 * @metrics: path of the socket for OpenMetrics, or NULL: none
 * @no_seccomp: do not filter the talker's system calls
 * @oneshot_file: one message to handle instead of serving, or NULL
 * @vm: VM of that message, or NULL: only load it
 */
struct options {
	const char *config;
	const char *runtime_dir;
	const char *user;
	uid_t uid;
	gid_t gid;
	uint32_t port;
	uint32_t load_ms;
	bool verbose;
	bool attach;
	struct vprobe_attach_options how;
	bool quarantine;
	struct watchdog_limits limits;
	const char *metrics;
	bool no_seccomp;
	const char *oneshot_file;
	const char *vm;
};

/* Return: exit code */
int daemon_run(const struct options *opt);

/**
 * spawn_talker() - start a talker, with nothing of this process in its memory
 * @opt: options
 * @listen_fd: listening socket, or -1
 * @conn_fd: one connection, or -1
 * @loader_fd: out: this end of the socket pair
 *
 * Return: its pid or a negative errno
 */
pid_t spawn_talker(const struct options *opt, int listen_fd, int conn_fd,
		   int *loader_fd);

/**
 * talker_main() - what the new process does
 * @arg: as spawn_talker() made it
 *
 * Return: exit code
 */
int talker_main(const char *arg);

#endif
