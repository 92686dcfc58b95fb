/* SPDX-License-Identifier: GPL-2.0-only */
/* The part that hears guests; it holds no right to do anything. */
#ifndef VPROBED_TALKER_H
#define VPROBED_TALKER_H

#include <stdint.h>

/**
 * struct talker - what the talker works on
 * @listen_fd: listening vsock socket, or -1
 * @conn_fd: one connection that is there already, or -1; with it the talker
 *	ends when the connection does
 * @loader_fd: SOCK_SEQPACKET socket to the loader
 * @fixed_cid: context id of every peer instead of the socket's own, 0 if not
 * @idle_ms: how long a connection may be silent between two messages
 * @message_ms: how long a message may take from its first byte to its last
 */
struct talker {
	int listen_fd;
	int conn_fd;
	int loader_fd;
	uint32_t fixed_cid;
	uint64_t idle_ms;
	uint64_t message_ms;
};

#define TALKER_IDLE_MS		60000
#define TALKER_MESSAGE_MS	15000
#define TALKER_MAX_CONNS	64
#define TALKER_MAX_PER_CID	4

/**
 * talker_prepare() - what needs a system call that the sandbox forbids
 * @t: talker
 *
 * Return: an epoll descriptor for talker_run(), or a negative errno
 */
int talker_prepare(const struct talker *t);

/**
 * talker_run() - serve guests until the loader goes away
 * @t: talker
 * @epfd: from talker_prepare()
 *
 * Return: exit code of the process
 */
int talker_run(const struct talker *t, int epfd);

#endif
