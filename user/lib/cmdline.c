// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a QEMU command line says about its VM. Options come as "-device", or
 * "--device", and a value that is a list "driver,prop=value,..." in which ",,"
 * stands for a comma, or a JSON object.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "libvprobe.h"

/* The argument after @args[*pos], NULL at the end; *pos moves on. */
static const char *next_arg(const char *args, size_t len, size_t *pos)
{
	const char *arg;
	size_t n;

	if (*pos >= len)
		return NULL;
	arg = args + *pos;
	n = strnlen(arg, len - *pos);
	if (n == len - *pos)
		return NULL;	/* cut off: without its NUL */
	*pos += n + 1;
	return arg;
}

static bool is_option(const char *arg, const char *name)
{
	if (*arg != '-')
		return false;
	arg++;
	if (*arg == '-')
		arg++;
	return !strcmp(arg, name);
}

static uint32_t parse_cid(const char *text, size_t len)
{
	unsigned long long val;
	char buf[24];
	char *end;

	if (!len || len >= sizeof(buf) || *text < '0' || *text > '9')
		return 0;
	memcpy(buf, text, len);
	buf[len] = '\0';
	errno = 0;
	val = strtoull(buf, &end, 0);
	if (errno || *end || val > UINT32_MAX)
		return 0;
	return (uint32_t)val;
}

/*
 * The value of property @key in a plain list, not NUL-terminated. The first
 * element has no key of its own: @implied is it.
 */
static const char *plain_prop(const char *list, const char *key,
			      const char *implied, size_t *len)
{
	size_t klen = strlen(key);
	bool first = true;

	for (;;) {
		const char *end = list;
		const char *eq;
		size_t n;

		while (*end && (*end != ',' || end[1] == ','))
			end += *end == ',' ? 2 : 1;
		n = (size_t)(end - list);
		eq = memchr(list, '=', n);
		if (eq && (size_t)(eq - list) == klen &&
		    !strncmp(list, key, klen)) {
			*len = n - klen - 1;
			return eq + 1;
		}
		if (!eq && first && implied && !strcmp(implied, key)) {
			*len = n;
			return list;
		}
		if (!*end)
			return NULL;
		list = end + 1;
		first = false;
	}
}

static uint32_t json_cid(const char *text)
{
	struct json_object *obj, *val;
	uint32_t cid = 0;

	obj = json_tokener_parse(text);
	if (!obj)
		return 0;
	if (json_object_is_type(obj, json_type_object) &&
	    json_object_object_get_ex(obj, "guest-cid", &val)) {
		if (json_object_is_type(val, json_type_int)) {
			int64_t n = json_object_get_int64(val);

			if (n > 0 && n <= UINT32_MAX)
				cid = (uint32_t)n;
		} else if (json_object_is_type(val, json_type_string)) {
			cid = parse_cid(json_object_get_string(val),
					(size_t)json_object_get_string_len(val));
		}
	}
	json_object_put(obj);
	return cid;
}

static uint32_t device_cid(const char *value)
{
	const char *prop;
	size_t len;

	if (*value == '{')
		return json_cid(value);
	prop = plain_prop(value, "guest-cid", NULL, &len);
	return prop ? parse_cid(prop, len) : 0;
}

uint32_t vprobe_cmdline_cid(const char *args, size_t len)
{
	uint32_t found = 0;
	const char *arg;
	size_t pos = 0;

	while ((arg = next_arg(args, len, &pos))) {
		uint32_t cid;

		if (!is_option(arg, "device"))
			continue;
		arg = next_arg(args, len, &pos);
		if (!arg)
			break;
		cid = device_cid(arg);
		if (!cid)
			continue;
		if (found && found != cid)
			return 0;
		found = cid;
	}
	return found;
}

void vprobe_cmdline_name(const char *args, size_t len, char *name)
{
	const char *arg, *prop;
	size_t pos = 0, plen, i, out = 0;

	*name = '\0';
	while ((arg = next_arg(args, len, &pos))) {
		if (!is_option(arg, "name"))
			continue;
		arg = next_arg(args, len, &pos);
		if (!arg)
			return;
		prop = plain_prop(arg, "guest", "guest", &plen);
		if (!prop)
			continue;
		for (i = 0; i < plen && out < VPROBE_NAME_LEN - 1; i++) {
			unsigned char c = (unsigned char)prop[i];

			if (c == ',')
				i++;
			/* It is printed on terminals later. */
			name[out++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
		}
		name[out] = '\0';
		return;
	}
}
