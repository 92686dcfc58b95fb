/* SPDX-License-Identifier: GPL-2.0-only */
/* Test Anything Protocol, as little as is needed. */
#ifndef VPROBE_TAP_H
#define VPROBE_TAP_H

#include <stdbool.h>

/* One test; what failed is printed with its place. Returns @good. */
bool tap_ok(bool good, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void tap_skip(const char *what, const char *why);
/* Extra lines after a failure. */
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan. Returns the exit code. */
int tap_end(void);

#define ok(cond, ...) tap_ok(cond, __FILE__, __LINE__, __VA_ARGS__)

#endif
