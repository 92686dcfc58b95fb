// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "config.h"
#include "vprobe_wire.h"

enum kind { KIND_FLAG, KIND_NUMBER, KIND_TEXT, KIND_STRAY, KIND_GRANULE };

/* Where in struct options it goes, as what its kind says. */
struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	uint32_t min, max;	/* of a number */
};

#define KEY(name, kind, field, ...) \
	{ name, kind, offsetof(struct options, field), __VA_ARGS__ }

static const struct key keys[] = {
	KEY("port", KIND_NUMBER, port, VPROBE_VSOCK_RESERVED, UINT32_MAX - 1),
	KEY("metrics", KIND_TEXT, metrics, 0, 0),
	KEY("talker-user", KIND_TEXT, user, 0, 0),
	KEY("verify-timeout", KIND_NUMBER, load_ms, LOAD_MS_MIN, LOAD_MS_MAX),
	KEY("verbose", KIND_FLAG, verbose, 0, 0),
	KEY("attach", KIND_FLAG, attach, 0, 0),
	KEY("stray", KIND_STRAY, how.stray_fault, 0, 0),
	KEY("granule", KIND_GRANULE, how.granule_shift, 0, 0),
	KEY("fill-timeout", KIND_NUMBER, how.fill_timeout_ms,
	    VPROBE_FILL_TIMEOUT_MIN, INT32_MAX),
	KEY("quarantine", KIND_FLAG, quarantine, 0, 0),
	KEY("quarantine-intervals", KIND_NUMBER, limits.intervals, 1, 1000),
	KEY("quarantine-run-ms", KIND_NUMBER, limits.run_ms, 0, 1000000),
	KEY("quarantine-cpu-percent", KIND_NUMBER, limits.cpu_percent, 0, 100),
	KEY("quarantine-errors", KIND_NUMBER, limits.errors, 0, 1000000),
	KEY("quarantine-bad-reports", KIND_NUMBER, limits.bad_reports, 0,
	    1000000),
	KEY("quarantine-raced-percent", KIND_NUMBER, limits.raced_percent, 0,
	    100),
	KEY("quarantine-fill-rate", KIND_NUMBER, limits.fill_rate, 0, 1000000),
	KEY("quarantine-failsafes", KIND_NUMBER, limits.failsafes, 0, 1000000),
	KEY("quarantine-failsafe-minutes", KIND_NUMBER,
	    limits.failsafe_minutes, 1, 1000000),
};

#define NR_KEYS ARRAY_SIZE(keys)

/* The line that is being read, and the lines that keys were on. */
struct reader {
	struct options *opt;
	const char *name;
	unsigned int line;
	unsigned int seen[NR_KEYS];
	char *why;
	size_t size;
};

#define bad(r, fmt, ...) \
	(snprintf((r)->why, (r)->size, "%s:%u: " fmt, (r)->name, (r)->line, \
		  ##__VA_ARGS__), -EINVAL)

bool config_number(const char *text, uint32_t min, uint32_t max,
		   uint32_t *value)
{
	unsigned long long val;
	char *end;

	errno = 0;
	val = strtoull(text, &end, 10);
	if (errno || *end || !isdigit((unsigned char)*text) || val < min ||
	    val > max)
		return false;
	*value = (uint32_t)val;
	return true;
}

static int set_flag(struct reader *r, const struct key *key, const char *value,
		    bool *flag)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return bad(r, "%s is \"yes\" or \"no\", not \"%s\"", key->name,
			   value);
	*flag = !strcmp(value, "yes");
	return 0;
}

static int set_number(struct reader *r, const struct key *key,
		      const char *value, uint32_t *number)
{
	if (config_number(value, key->min, key->max, number))
		return 0;
	return bad(r, "%s is a number from %u to %u, not \"%s\"", key->name,
		   key->min, key->max, value);
}

static int set_text(struct reader *r, const struct key *key, const char *value,
		    const char **text)
{
	if (!*value)
		return bad(r, "%s has no value; give one, or leave the line out",
			   key->name);
	*text = strdup(value);
	return *text ? 0 : -ENOMEM;
}

static int set_stray(struct reader *r, const struct key *key,
		     const char *value, bool *fault)
{
	if (strcmp(value, "absorb") && strcmp(value, "fault"))
		return bad(r, "%s is \"absorb\" or \"fault\", not \"%s\"",
			   key->name, value);
	*fault = !strcmp(value, "fault");
	return 0;
}

static int set_granule(struct reader *r, const struct key *key,
		       const char *value, unsigned int *shift)
{
	if (!vprobe_parse_granule(value, shift))
		return 0;
	return bad(r, "%s is a power of two from 64K to 32M, not \"%s\"",
		   key->name, value);
}

static int set_key(struct reader *r, const struct key *key, const char *value)
{
	void *field = (char *)r->opt + key->offset;

	switch (key->kind) {
	case KIND_FLAG:
		return set_flag(r, key, value, field);
	case KIND_NUMBER:
		return set_number(r, key, value, field);
	case KIND_TEXT:
		return set_text(r, key, value, field);
	case KIND_STRAY:
		return set_stray(r, key, value, field);
	case KIND_GRANULE:
		return set_granule(r, key, value, field);
	}
	return -EINVAL;
}

static int unknown_key(struct reader *r, const char *name)
{
	char list[640];
	size_t i, n = 0;

	list[0] = '\0';
	for (i = 0; i < NR_KEYS && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      i ? ", " : "", keys[i].name);
	return bad(r, "there is no key \"%s\"; there are %s", name, list);
}

static char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
	return s;
}

static void cut_comment(char *s)
{
	char *p;

	for (p = s; (p = strchr(p, '#')); p++) {
		if (p == s || isspace((unsigned char)p[-1])) {
			*p = '\0';
			return;
		}
	}
}

static int read_line(struct reader *r, char *line)
{
	char *eq, *name, *value;
	size_t i;

	cut_comment(line);
	name = trim(line);
	if (!*name)
		return 0;
	eq = strchr(name, '=');
	if (!eq)
		return bad(r, "\"%s\" is not of the form \"key = value\"",
			   name);
	*eq = '\0';
	name = trim(name);
	value = trim(eq + 1);
	for (i = 0; i < NR_KEYS && strcmp(keys[i].name, name); i++)
		;
	if (i == NR_KEYS)
		return unknown_key(r, name);
	if (r->seen[i])
		return bad(r, "%s was set in line %u already; leave one out",
			   name, r->seen[i]);
	r->seen[i] = r->line;
	return set_key(r, &keys[i], value);
}

int config_read(FILE *f, const char *name, struct options *opt, char *why,
		size_t size)
{
	struct reader r = { .opt = opt, .name = name, .why = why, .size = size };
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int ret = 0;

	snprintf(why, size, "%s: out of memory", name);
	while (!ret && (n = getline(&line, &room, f)) >= 0) {
		r.line++;
		if (strlen(line) != (size_t)n)
			ret = bad(&r, "there is a NUL byte in it; it has to be text");
		else
			ret = read_line(&r, line);
	}
	free(line);
	if (!ret && !feof(f)) {
		ret = -EIO;
		snprintf(why, size, "cannot read %s: %s", name,
			 strerror(errno));
	}
	return ret;
}

int config_load(const char *name, struct options *opt, char *why, size_t size)
{
	FILE *f = fopen(name, "re");
	int ret;

	if (!f) {
		ret = -errno;
		snprintf(why, size, "cannot open %s: %s", name, strerror(-ret));
		return ret;
	}
	ret = config_read(f, name, opt, why, size);
	fclose(f);
	return ret;
}
