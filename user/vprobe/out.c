// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

#define MAX_DEPTH 8
/* Labels are padded to this. */
#define LABEL_WIDTH 28

struct level {
	struct json_object *json;
	const struct out_column *cols;	/* of a table, or of its row */
	size_t nr_cols;
	size_t col;
	int indent;	/* sections around it */
	bool row;
};

bool out_json;
static struct level levels[MAX_DEPTH];
static int depth;

static struct level *top(void)
{
	return depth ? &levels[depth - 1] : NULL;
}

static void json_put(const char *key, struct json_object *val)
{
	struct level *l = top();

	if (!l)
		return;
	if (json_object_is_type(l->json, json_type_array))
		json_object_array_add(l->json, val);
	else
		json_object_object_add(l->json, key, val);
}

static struct level *push(const char *key, bool array)
{
	const struct level *parent = top();
	struct level *l;

	if (depth == MAX_DEPTH)
		abort();
	l = &levels[depth];
	memset(l, 0, sizeof(*l));
	l->indent = parent ? parent->indent : 0;
	if (out_json) {
		l->json = array ? json_object_new_array() :
				  json_object_new_object();
		json_put(key, l->json);
	}
	depth++;
	return l;
}

void out_object(const char *key)
{
	const struct level *parent = top();
	struct level *l = push(key, false);

	if (parent && parent->cols && !parent->row) {
		l->cols = parent->cols;
		l->nr_cols = parent->nr_cols;
		l->row = true;
	}
}

void out_section(const char *key, const char *title)
{
	push(key, false)->indent++;
	if (!out_json)
		printf("%s:\n", title);
}

void out_array(const char *key)
{
	push(key, true);
}

void out_table(const char *key, const struct out_column *cols, size_t nr)
{
	struct level *l = push(key, true);
	size_t i;

	l->cols = cols;
	l->nr_cols = nr;
	if (out_json)
		return;
	for (i = 0; i < nr; i++)
		printf("%s%*s", i ? "  " : "", cols[i].width, cols[i].title);
	printf("\n");
}

void out_end(void)
{
	struct level *l = top();

	if (!l)
		return;
	if (l->row && !out_json)
		printf("\n");
	if (--depth || !out_json)
		return;
	printf("%s\n",
	       json_object_to_json_string_ext(l->json,
					      JSON_C_TO_STRING_PRETTY |
					      JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(l->json);
}

/* One value in text: a cell of a row, or a line. */
static void put_text(const char *label, const char *text)
{
	struct level *l = top();

	if (!label || !l)
		return;
	if (!l->row) {
		printf("%*s%-*s %s\n", 2 * l->indent, "",
		       LABEL_WIDTH - 2 * l->indent, label, text);
		return;
	}
	if (l->col < l->nr_cols)
		printf("%s%*s", l->col ? "  " : "", l->cols[l->col].width,
		       text);
	l->col++;
}

void out_str(const char *key, const char *label, const char *val)
{
	char *clean = text_clean(val, !out_json);

	if (out_json)
		json_put(key, json_object_new_string(clean));
	else
		put_text(label, clean);
	free(clean);
}

void out_bool(const char *key, const char *label, bool val)
{
	if (out_json)
		json_put(key, json_object_new_boolean(val));
	else
		put_text(label, val ? "yes" : "no");
}

/* In JSON a plain number, in text what @text says. */
static void put_number(const char *key, const char *label, uint64_t val,
		       const char *text)
{
	if (out_json)
		json_put(key, json_object_new_uint64(val));
	else
		put_text(label, text);
}

void out_u64(const char *key, const char *label, uint64_t val)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%" PRIu64, val);
	put_number(key, label, val, buf);
}

void out_hex(const char *key, const char *label, uint64_t val)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "0x%" PRIx64, val);
	put_number(key, label, val, buf);
}

const char *size_text(uint64_t bytes, char *buf, size_t len)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double val = (double)bytes;
	int i;

	if (bytes < 1024) {
		snprintf(buf, len, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (i = 0, val /= 1024; i < 3 && val >= 1024; i++)
		val /= 1024;
	snprintf(buf, len, "%.1f %s", val, units[i]);
	return buf;
}

void out_size(const char *key, const char *label, uint64_t bytes)
{
	char buf[32];

	put_number(key, label, bytes, size_text(bytes, buf, sizeof(buf)));
}

void out_ns(const char *key, const char *label, uint64_t ns)
{
	char buf[32];

	if (ns < 1000000)
		snprintf(buf, sizeof(buf), "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, sizeof(buf), "%.1f ms", (double)ns / 1e6);
	else
		snprintf(buf, sizeof(buf), "%.2f s", (double)ns / 1e9);
	put_number(key, label, ns, buf);
}

const char *percent_text(double percent, char *buf, size_t len)
{
	if (percent < 0)
		snprintf(buf, len, "?");
	else
		snprintf(buf, len, "%.2f", percent);
	return buf;
}

void out_percent(const char *key, const char *label, double percent)
{
	char buf[32];

	percent_text(percent, buf, sizeof(buf));
	if (!out_json)
		put_text(label, buf);
	else
		json_put(key, percent < 0 ? NULL :
			 json_object_new_double_s(percent, buf));
}

void out_note(const char *fmt, ...)
{
	va_list ap;

	if (out_json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}
