// SPDX-License-Identifier: GPL-2.0-only
/* Text that others gave: UTF-8 for JSON, and nothing that moves a terminal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

/* What stands for a byte that is no UTF-8: U+FFFD */
static const char REPLACEMENT[] = "\xef\xbf\xbd";

/* One character of UTF-8; returns its length, 0 if @s starts with none. */
static size_t decode(const char *s, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t byte = (unsigned char)*s;
	size_t len, i;

	*c = byte;
	if (byte < 0x80)
		return 1;
	len = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
	if (byte < 0xc0 || byte > 0xf7)
		return 0;
	*c &= 0x7fU >> len;
	for (i = 1; i < len; i++) {
		byte = (unsigned char)s[i];
		if ((byte & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (byte & 0x3f);
	}
	if (*c < least[len] || *c > 0x10ffff || (*c >> 11) == 0x1b)
		return 0;
	return len;
}

/* Those of ASCII, and those that some terminals know besides. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

bool text_is_printable(const char *text)
{
	uint32_t c;
	size_t len;

	for (; *text; text += len) {
		len = decode(text, &c);
		if (!len || is_control(c))
			return false;
	}
	return true;
}

char *text_clean(const char *text, bool terminal)
{
	char *clean = malloc(strlen(text) * strlen(REPLACEMENT) + 1);
	char *p = clean;
	uint32_t c;
	size_t len;

	if (!clean)
		abort();
	for (; *text; text += len ?: 1) {
		len = decode(text, &c);
		if (terminal && (!len || is_control(c)))
			*p++ = '?';
		else if (len)
			p = mempcpy(p, text, len);
		else
			p = stpcpy(p, REPLACEMENT);
	}
	*p = '\0';
	return clean;
}
