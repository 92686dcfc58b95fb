/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only printer: what a command shows goes through here once, and comes out
 * as text for people or, with --json, as one JSON document.
 *
 * A field has a key (JSON) and a label (text); one without a label is JSON
 * only. JSON has plain numbers: bytes, nanoseconds, counts. Strings may be anybody's:
 * in text what cannot be printed is "?", in JSON what is no UTF-8 is U+FFFD.
 */
#ifndef VPROBE_OUT_H
#define VPROBE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out_column {
	const char *title;
	int width;	/* negative: left-aligned */
};

extern bool out_json;

/* Objects and arrays; @key is NULL at the top and in an array. */
void out_object(const char *key);
/* A section: the same, with a headline in text. */
void out_section(const char *key, const char *title);
void out_array(const char *key);
/* An array of objects, as a table in text: each object is a row. */
void out_table(const char *key, const struct out_column *cols, size_t nr);
/* Ends the innermost of them; the outermost prints the document. */
void out_end(void);

void out_str(const char *key, const char *label, const char *val);
void out_u64(const char *key, const char *label, uint64_t val);
void out_bool(const char *key, const char *label, bool val);
/* Bytes: "1.5 GiB" in text */
void out_size(const char *key, const char *label, uint64_t bytes);
/* Nanoseconds: "1.5 ms" in text */
void out_ns(const char *key, const char *label, uint64_t ns);
/* A number that text shows as 0x... */
void out_hex(const char *key, const char *label, uint64_t val);
/* Percent, less than 0 if that is not known: "0.37", or null and "?" */
void out_percent(const char *key, const char *label, double percent);
/* A line of text only. */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Formats as out_size() does. */
const char *size_text(uint64_t bytes, char *buf, size_t len);
/* Formats as out_percent() does. */
const char *percent_text(double percent, char *buf, size_t len);

/* Whether it is UTF-8 without control characters. */
bool text_is_printable(const char *text);
/* A copy as the printer shows it, to be freed. */
char *text_clean(const char *text, bool terminal);

#endif
