// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines of vmcoreinfo, the kernel's note to crash dump tools about itself:
 *
 *	NUMBER(phys_base)=-1048576	decimal
 *	OFFSET(page.private)=40		decimal
 *	SYMBOL(vmemmap)=ffffea0000000000	hexadecimal
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

static const char *find(const char *text, const char *key)
{
	size_t len = strlen(key);
	const char *line;

	for (line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (!strncmp(line, key, len) && line[len] == '=')
			return line + len + 1;
	}
	return NULL;
}

static bool number_ends(const char *start, const char *end)
{
	return end != start && !errno && (*end == '\n' || *end == '\0');
}

bool vmci_hex(const char *text, const char *key, uint64_t *val)
{
	const char *s = find(text, key);
	char *end;

	if (!s)
		return false;
	errno = 0;
	*val = strtoull(s, &end, 16);
	return number_ends(s, end);
}

/* Numbers of unsigned type may be printed as such: all 64 bits are taken. */
bool vmci_dec(const char *text, const char *key, int64_t *val)
{
	const char *s = find(text, key);
	char *end;

	if (!s)
		return false;
	errno = 0;
	*val = *s == '-' ? strtoll(s, &end, 10) : (int64_t)strtoull(s, &end, 0);
	return number_ends(s, end);
}

bool vmci_str(const char *text, const char *key, char *buf, size_t len)
{
	const char *s = find(text, key);
	size_t n;

	if (!s || !len)
		return false;
	n = strcspn(s, "\n");
	if (n >= len)
		n = len - 1;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return true;
}
