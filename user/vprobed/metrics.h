/* SPDX-License-Identifier: GPL-2.0-only */
/* OpenMetrics of all VMs, for whoever connects to a unix socket. */
#ifndef VPROBED_METRICS_H
#define VPROBED_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "libvprobe.h"

/**
 * metrics_listen() - make the socket
 * @path: where; what was left there is replaced
 *
 * Only its owner may connect.
 *
 * Return: a listening socket, or a negative errno after a warning
 */
int metrics_listen(const char *path);

/* Answer one connection, with HTTP if it asked in HTTP; within a second. */
void metrics_serve(int listen_fd, int dev);

/* What the other end of @fd takes until @due_ms, of the monotonic clock. */
void metrics_send(int fd, const char *text, size_t len, int64_t due_ms);
int64_t metrics_now_ms(void);

/* The document itself: @stats of @nr VMs. */
void metrics_print(FILE *f, const struct vprobe_stat *stats, size_t nr);

#endif
