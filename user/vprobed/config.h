/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration file: lines of "key = value". A comment starts with a '#'
 * at the start of a line or after a blank. Every key may be there once.
 */
#ifndef VPROBED_CONFIG_H
#define VPROBED_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon.h"

/**
 * config_read() - take over what a file says
 * @f: the file, from its start
 * @name: what it is called
 * @opt: keys that are not in the file keep their values
 * @why: out: "FILE:LINE: what is wrong, what is allowed"
 * @size: of @why
 *
 * Strings in @opt are allocated and never freed.
 *
 * Return: 0 or a negative errno
 */
int config_read(FILE *f, const char *name, struct options *opt, char *why,
		size_t size);

/* The same, of the file called @name. -ENOENT: there is none. */
int config_load(const char *name, struct options *opt, char *why, size_t size);

/* A decimal number from @min to @max, and nothing else. */
bool config_number(const char *text, uint32_t min, uint32_t max,
		   uint32_t *value);

#endif
