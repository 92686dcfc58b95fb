// SPDX-License-Identifier: GPL-2.0-only
/*
 * No stdio stream: the talker's sandbox allows write() and little else, and a
 * line must come out whole between those of two processes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"

static const char *log_who = "vprobed";
static bool log_verbose;
static bool log_journal;

void log_init(const char *who, bool verbose)
{
	log_who = who;
	log_verbose = verbose;
	log_journal = getenv("JOURNAL_STREAM");
}

const char *log_guest(uint32_t cid)
{
	static _Thread_local char buf[24];

	if (cid == VPD_CID_FILE)
		return "the file";
	snprintf(buf, sizeof(buf), "guest %u", cid);
	return buf;
}

void log_msg(int level, const char *fmt, ...)
{
	char line[1024];
	int n = 0, m;
	va_list ap;
	size_t i;

	if (level > LOG_INFO && !log_verbose)
		return;
	if (log_journal)
		n = snprintf(line, sizeof(line), "<%d>", level);
	n += snprintf(line + n, sizeof(line) - (size_t)n, "%s: ", log_who);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n = (int)strlen(line);
	for (i = 0; i < (size_t)n; i++) {
		/* Some of it came from a guest. */
		if (line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	}
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return;	/* there is nobody left to tell */
}
