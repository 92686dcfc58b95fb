/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Admission: what a guest may hand to the kernel's verifier at all.
 *
 * Pure functions over a byte buffer: no allocation, no system call, no state.
 * The kernel's verifier judges what an admitted program does; admission makes
 * sure that it is asked only about programs that can name nothing outside
 * themselves: no maps, no kernel helpers, no file descriptors, no BTF ids.
 */
#ifndef VPROBED_ADMIT_H
#define VPROBED_ADMIT_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vprobe_wire.h"

enum admit_reason {
	ADMIT_OK = 0,
	/* framing */
	ADMIT_TRUNCATED,
	ADMIT_MAGIC,
	ADMIT_VERSION,
	ADMIT_TYPE,
	ADMIT_TOO_LONG,
	ADMIT_LENGTH,
	ADMIT_RESERVED,
	/* register */
	ADMIT_TEXT,
	ADMIT_LAYOUT_LEN,
	ADMIT_INSN_CNT,
	/* notice */
	ADMIT_EVENT,
	/* instructions */
	ADMIT_INSN_OP,
	ADMIT_INSN_FIELDS,
	ADMIT_REGISTER,
	ADMIT_WRITE_FP,
	ADMIT_ATOMIC,
	ADMIT_PACKET,
	ADMIT_MAP,
	ADMIT_MAY_GOTO,
	ADMIT_HELPER_CALL,
	ADMIT_LOCAL_CALL,
	ADMIT_UNKNOWN_CALL,
	ADMIT_JUMP_RANGE,
	ADMIT_JUMP_MIDDLE,
	ADMIT_LD64_CUT,
	ADMIT_LAST_INSN,
	__ADMIT_MAX,
};

#define ADMIT_NO_INSN UINT32_MAX

/**
 * struct admit_verdict - the answer
 * @reason: ADMIT_OK, or the first thing that is wrong
 * @insn: index of the instruction that is refused, or ADMIT_NO_INSN
 */
struct admit_verdict {
	enum admit_reason reason;
	uint32_t insn;
};

/**
 * struct admit_message - one message, taken apart
 * @type: enum vprobe_msg_type
 * @event: of a notice
 * @reg: of a registration; points into the buffer
 * @layout: likewise, @layout_len bytes
 * @insns: likewise, @insn_cnt instructions, not aligned
 */
struct admit_message {
	uint16_t type;
	uint32_t event;
	const struct vprobe_register *reg;
	const uint8_t *layout;
	uint32_t layout_len;
	const uint8_t *insns;
	uint32_t insn_cnt;
};

/* Largest message, header included. */
#define ADMIT_MAX_BYTES (sizeof(struct vprobe_msg) + VPROBE_WIRE_MAX_LEN)

/**
 * admit_header() - judge the first bytes of a message
 * @buf: sizeof(struct vprobe_msg) bytes
 * @len: out: bytes that follow, within the limits of the type
 */
struct admit_verdict admit_header(const void *buf, uint32_t *len);

/**
 * admit_message() - judge one whole message
 * @buf: header and what follows it
 * @len: bytes in @buf; must be exactly what the header announces
 * @msg: out: valid when the verdict is ADMIT_OK
 */
struct admit_verdict admit_message(const void *buf, size_t len,
				   struct admit_message *msg);

/**
 * admit_insns() - judge a program
 * @insns: @cnt instructions of 8 bytes, little-endian, of any alignment
 * @cnt: how many
 */
struct admit_verdict admit_insns(const uint8_t *insns, uint32_t cnt);

/**
 * admit_text() - whether a text field is printable ASCII and NUL-padded
 * @text: field
 * @size: its size; the last byte must be a NUL
 */
bool admit_text(const char *text, size_t size);

/* A short name for scripts, and the sentence without its subject. */
const char *admit_reason_name(enum admit_reason reason);
const char *admit_reason_text(enum admit_reason reason);

/**
 * admit_explain() - the whole sentence
 * @v: a verdict
 * @buf: out
 * @size: room in @buf
 */
void admit_explain(struct admit_verdict v, char *buf, size_t size);

#endif
