/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages to stderr, with the prefixes that systemd's journal understands. */
#ifndef VPROBED_LOG_H
#define VPROBED_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

void log_init(const char *who, bool verbose);
/**
 * log_guest() - who it is about: "guest 5", or "the file" of --oneshot-file
 * @cid: vsock context id
 *
 * Return: valid until the thread's next call
 */
const char *log_guest(uint32_t cid);

/* One line; control characters in it are replaced. @level: LOG_ERR ... */
void log_msg(int level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
