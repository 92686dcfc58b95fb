// SPDX-License-Identifier: GPL-2.0-only
/* Sizes as operators write them. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "libvprobe.h"

/* log2 of what a suffix stands for, -1 if it is none. */
static int suffix_shift(const char *s)
{
	static const char units[] = "KMGT";
	const char *u;

	if (!*s)
		return 0;
	u = strchr(units, toupper((unsigned char)*s));
	if (!u || (s[1] && strcmp(s + 1, "iB")))
		return -1;
	return 10 * (int)(u - units + 1);
}

int vprobe_parse_size(const char *text, uint64_t *bytes)
{
	unsigned __int128 frac = 0, unit = 1;
	uint64_t whole = 0, val;
	const char *s = text;
	int shift;

	if (!strcmp(text, "all")) {
		*bytes = VPROBE_ALL;
		return 0;
	}
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, *s - '0', &whole))
			return -ERANGE;
	}
	if (*s == '.') {
		const char *first = ++s;

		for (; isdigit((unsigned char)*s); s++) {
			/* More digits would not change a whole byte count. */
			if (s - first >= 18)
				return -EINVAL;
			frac = frac * 10 + (unsigned int)(*s - '0');
			unit *= 10;
		}
		if (s == first || !*s)
			return -EINVAL;
	}
	shift = suffix_shift(s);
	if (shift < 0)
		return -EINVAL;
	if (shift && whole >> (64 - shift))
		return -ERANGE;
	val = whole << shift;
	if (__builtin_add_overflow(val, (uint64_t)((frac << shift) / unit),
				   &val))
		return -ERANGE;
	if (!val || val == VPROBE_ALL)
		return -ERANGE;
	*bytes = val;
	return 0;
}

int vprobe_parse_granule(const char *text, unsigned int *shift)
{
	uint64_t bytes;
	unsigned int n;

	if (vprobe_parse_size(text, &bytes))
		return -EINVAL;
	n = 63 - (unsigned int)__builtin_clzll(bytes);
	if (bytes != 1ULL << n || n < 12 + VPROBE_ORDER_MIN ||
	    n > 12 + VPROBE_ORDER_MAX)
		return -EINVAL;
	*shift = n;
	return 0;
}
