// SPDX-License-Identifier: GPL-2.0-only
/* Admission: every refusal by its reason, and what must be let in. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "admit.h"
#include "msg.h"
#include "tap.h"

#ifndef BPF_MEMSX
#define BPF_MEMSX 0x80
#endif

#define OK ADMIT_OK

/* Which reasons were seen: all must be, by the end. */
static bool seen[__ADMIT_MAX];

static void verdict_is(const char *what, struct admit_verdict v,
		       enum admit_reason reason, uint32_t insn)
{
	seen[v.reason] = true;
	if (!ok(v.reason == reason && v.insn == insn, "%s: %s", what,
		admit_reason_name(reason)))
		tap_note("got %s at %d, want %s at %d",
			 admit_reason_name(v.reason), (int)v.insn,
			 admit_reason_name(reason), (int)insn);
}

/* A program of one instruction, MOV r0 and EXIT; refused at that one. */
static void one(const char *what, struct bpf_insn in, enum admit_reason reason)
{
	const struct bpf_insn prog[] = { in, MOV_IMM(0, 0), EXIT() };

	verdict_is(what, admit_insns((const uint8_t *)prog, NR(prog)), reason,
		   reason ? 0 : ADMIT_NO_INSN);
}

static void prog(const char *what, const struct bpf_insn *insns, size_t cnt,
		 enum admit_reason reason, uint32_t insn)
{
	verdict_is(what, admit_insns((const uint8_t *)insns, (uint32_t)cnt),
		   reason, insn);
}

static void test_alu(void)
{
	one("mov r1, r2", MOV_REG(1, 2), OK);
	one("mov r1, (s8)r2",
	    INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 2, 8, 0), OK);
	one("mov w1, (s32)w2",
	    INSN(BPF_ALU | BPF_MOV | BPF_X, 1, 2, 32, 0), ADMIT_INSN_FIELDS);
	one("address space cast",
	    INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 2, 1, 1), ADMIT_INSN_FIELDS);
	one("mov r10, 0", MOV_IMM(10, 0), ADMIT_WRITE_FP);
	one("mov r11, 0", MOV_IMM(11, 0), ADMIT_REGISTER);
	one("mov r1, r11", MOV_REG(1, 11), ADMIT_REGISTER);
	one("mov imm with source", INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 1, 0, 0),
	    ADMIT_INSN_FIELDS);
	one("mov reg with imm", INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 1, 0, 7),
	    ADMIT_INSN_FIELDS);
	one("add with offset", INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 1, 0),
	    ADMIT_INSN_FIELDS);
	one("sdiv", INSN(BPF_ALU64 | BPF_DIV | BPF_X, 1, 2, 1, 0), OK);
	one("neg", INSN(BPF_ALU64 | BPF_NEG, 1, 0, 0, 0), OK);
	one("neg with a source", INSN(BPF_ALU64 | BPF_NEG, 1, 2, 0, 0),
	    ADMIT_INSN_FIELDS);
	one("be32", INSN(BPF_ALU | BPF_END | BPF_TO_BE, 1, 0, 0, 32), OK);
	one("bswap64", INSN(BPF_ALU64 | BPF_END, 1, 0, 0, 64), OK);
	one("bswap24", INSN(BPF_ALU64 | BPF_END, 1, 0, 0, 24),
	    ADMIT_INSN_FIELDS);
	one("no such ALU operation", INSN(BPF_ALU64 | 0xe0, 1, 0, 0, 0),
	    ADMIT_INSN_OP);
}

static void test_memory(void)
{
	one("load", LDX_DW(1, 2, 8), OK);
	one("load to r10", LDX_DW(10, 1, 0), ADMIT_WRITE_FP);
	one("load from r10", LDX_DW(1, 10, -8), OK);
	one("signed load", INSN(BPF_LDX | BPF_MEMSX | BPF_W, 1, 2, 0, 0), OK);
	one("signed load of 64 bits",
	    INSN(BPF_LDX | BPF_MEMSX | BPF_DW, 1, 2, 0, 0), ADMIT_INSN_OP);
	one("probing load", INSN(BPF_LDX | 0x20 | BPF_DW, 1, 2, 0, 0),
	    ADMIT_INSN_OP);
	one("load with imm", INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 2, 0, 1),
	    ADMIT_INSN_FIELDS);
	one("store to the stack", ST_DW(10, -8, 5), OK);
	one("store a register", STX_DW(10, 1, -8), OK);
	one("store through r12", STX_DW(12, 1, 0), ADMIT_REGISTER);
	one("store with imm", INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, 0, 1),
	    ADMIT_INSN_FIELDS);
	one("store imm with source", INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 1, 0, 1),
	    ADMIT_INSN_FIELDS);
	one("atomic add", INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 10, 1, -8, BPF_ADD),
	    ADMIT_ATOMIC);
	one("atomic with ST", INSN(BPF_ST | BPF_ATOMIC | BPF_DW, 10, 0, -8, 0),
	    ADMIT_INSN_OP);
	one("LD_ABS", INSN(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0), ADMIT_PACKET);
	one("LD_IND", INSN(BPF_LD | BPF_IND | BPF_W, 0, 1, 0, 0), ADMIT_PACKET);
	one("LD_IMM of 32 bits", INSN(BPF_LD | BPF_IMM | BPF_W, 0, 0, 0, 0),
	    ADMIT_INSN_OP);
}

static void test_ld64(void)
{
	const struct bpf_insn good[] = {
		LD64_LO(1, 0, 1), LD64_HI(2), EXIT(),
	};
	const struct bpf_insn cut[] = { MOV_IMM(0, 0), LD64_LO(1, 0, 1) };
	const struct bpf_insn at_end[] = { LD64_LO(1, 0, 1), LD64_HI(2) };
	const struct bpf_insn dirty[] = {
		LD64_LO(1, 0, 1), MOV_IMM(0, 0), EXIT(),
	};
	struct bpf_insn pseudo[] = { LD64_LO(1, 0, 1), LD64_HI(0), EXIT() };
	uint8_t src;

	prog("a 64-bit constant", good, NR(good), OK, ADMIT_NO_INSN);
	prog("half a 64-bit constant", cut, NR(cut), ADMIT_LD64_CUT, 1);
	prog("a 64-bit constant at the end", at_end, NR(at_end),
	     ADMIT_LAST_INSN, 1);
	prog("an instruction as second half", dirty, NR(dirty),
	     ADMIT_INSN_FIELDS, 0);
	for (src = 1; src < 16; src++) {
		pseudo[0].src_reg = src & 0xf;
		prog("a pseudo source", pseudo, NR(pseudo), ADMIT_MAP, 0);
	}
}

static void test_jumps(void)
{
	const struct bpf_insn middle[] = {
		JA(1), LD64_LO(1, 0, 1), LD64_HI(2), EXIT(),
	};
	const struct bpf_insn back[] = { MOV_IMM(0, 0), JA(-2) };
	const struct bpf_insn falls[] = { EXIT(), MOV_IMM(0, 0) };

	one("jump forward", JA(1), OK);
	one("jump over the end", JA(2), ADMIT_JUMP_RANGE);
	one("jump before the start", JA(-2), ADMIT_JUMP_RANGE);
	one("branch over the end", JEQ_IMM(1, 0, 32767), ADMIT_JUMP_RANGE);
	one("branch on r11", JEQ_IMM(11, 0, 0), ADMIT_REGISTER);
	one("branch with dirty source", INSN(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0, 0),
	    ADMIT_INSN_FIELDS);
	one("long jump", INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, 1), OK);
	one("long jump over the end", INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, 9),
	    ADMIT_JUMP_RANGE);
	one("long jump with offset", INSN(BPF_JMP32 | BPF_JA, 0, 0, 1, 0),
	    ADMIT_INSN_FIELDS);
	one("jump through a register", INSN(BPF_JMP | BPF_JA | BPF_X, 1, 0, 0, 0),
	    ADMIT_INSN_FIELDS);
	one("may_goto", INSN(BPF_JMP | 0xe0, 0, 0, 0, 0), ADMIT_MAY_GOTO);
	one("no such jump", INSN(BPF_JMP | 0xf0, 0, 0, 0, 0), ADMIT_INSN_OP);
	prog("jump into a constant", middle, NR(middle), ADMIT_JUMP_MIDDLE, 0);
	prog("a loop at the end", back, NR(back), OK, ADMIT_NO_INSN);
	prog("running over the end", falls, NR(falls), ADMIT_LAST_INSN, 1);
}

static void test_calls(void)
{
	const struct bpf_insn sub[] = {
		CALL(BPF_PSEUDO_CALL, 1), EXIT(), MOV_IMM(0, 0), EXIT(),
	};
	int i;

	for (i = 1; i < __VPROBE_CALL_MAX; i++)
		one("call of the host", CALL_HOST(i), OK);
	one("call 0 of the host", CALL_HOST(0), ADMIT_UNKNOWN_CALL);
	one("call of the host, too large", CALL_HOST(__VPROBE_CALL_MAX),
	    ADMIT_UNKNOWN_CALL);
	one("call of the host, negative", CALL_HOST(-1), ADMIT_UNKNOWN_CALL);
	one("call of the host with offset",
	    INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 1, 1),
	    ADMIT_INSN_FIELDS);
	one("call of a kernel helper", CALL(0, 5), ADMIT_HELPER_CALL);
	prog("call of a function", sub, NR(sub), ADMIT_LOCAL_CALL, 0);
	one("call of itself", CALL(BPF_PSEUDO_CALL, -1), ADMIT_LOCAL_CALL);
	one("call far away", CALL(BPF_PSEUDO_CALL, 0x7fffffff),
	    ADMIT_LOCAL_CALL);
	one("call of another kind", CALL(3, 1), ADMIT_UNKNOWN_CALL);
	one("call through a register", INSN(BPF_JMP | BPF_CALL | BPF_X, 1, 0, 0, 0),
	    ADMIT_INSN_OP);
	one("call in JMP32", INSN(BPF_JMP32 | BPF_CALL, 0, 2, 0, 1),
	    ADMIT_INSN_OP);
	one("exit in JMP32", INSN(BPF_JMP32 | BPF_EXIT, 0, 0, 0, 0),
	    ADMIT_INSN_OP);
	one("exit with a value", INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 1),
	    ADMIT_INSN_FIELDS);
}

static const struct bpf_insn tiny[] = { MOV_IMM(0, 0), EXIT() };

static void message_is(const char *what, const struct msg *m,
		       enum admit_reason reason)
{
	struct admit_message out;
	/* Exactly as long as it is: a read past it is seen by ASan. */
	uint8_t *copy = malloc(m->len ? m->len : 1);

	memcpy(copy, m->buf, m->len);
	verdict_is(what, admit_message(copy, m->len, &out), reason,
		   ADMIT_NO_INSN);
	free(copy);
}

static void fresh(struct msg *m)
{
	msg_register(m, 64, tiny, NR(tiny));
}

#define FIELD(m, type, field) \
	((m)->buf + sizeof(struct vprobe_msg) + offsetof(type, field))

static void put32(uint8_t *at, uint32_t val)
{
	val = htole32(val);
	memcpy(at, &val, sizeof(val));
}

static void test_headers(void)
{
	struct msg m;
	size_t full, i;
	unsigned int bad = 0;

	fresh(&m);
	message_is("a registration", &m, OK);
	m.buf[0]++;
	message_is("magic", &m, ADMIT_MAGIC);
	fresh(&m);
	m.buf[4]++;
	message_is("version", &m, ADMIT_VERSION);
	fresh(&m);
	m.buf[6] = VPROBE_MSG_REPLY;
	message_is("a reply from a guest", &m, ADMIT_TYPE);
	fresh(&m);
	m.buf[12] = 1;
	message_is("reserved in the header", &m, ADMIT_RESERVED);
	fresh(&m);
	put32(m.buf + 8, UINT32_MAX);
	message_is("the longest length", &m, ADMIT_TOO_LONG);
	fresh(&m);
	put32(m.buf + 8, VPROBE_WIRE_MAX_LEN + 1);
	message_is("a length just too long", &m, ADMIT_TOO_LONG);
	fresh(&m);
	put32(m.buf + 8, 4);
	message_is("a length just too short", &m, ADMIT_LENGTH);
	fresh(&m);
	m.buf[m.len++] = 0;
	message_is("a byte too many", &m, ADMIT_LENGTH);

	fresh(&m);
	full = m.len;
	for (i = 0; i < full; i++) {
		struct admit_message out;

		bad += admit_message(m.buf, i, &out).reason != ADMIT_TRUNCATED;
	}
	ok(!bad, "every one of %zu truncations is refused as such", full);
	m.len = full - 1;
	message_is("cut by one", &m, ADMIT_TRUNCATED);
}

static void test_registers(void)
{
	struct msg m;

	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, layout_len), 63);
	message_is("an odd layout", &m, ADMIT_LAYOUT_LEN);
	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, layout_len), 0xfffffff8);
	message_is("a huge layout", &m, ADMIT_LAYOUT_LEN);
	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, layout_len), 72);
	message_is("a layout longer than there is", &m, ADMIT_LENGTH);
	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, insn_cnt), 0);
	message_is("no instructions", &m, ADMIT_INSN_CNT);
	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, insn_cnt), 0x20000002);
	message_is("a count that wraps", &m, ADMIT_INSN_CNT);
	fresh(&m);
	put32(FIELD(&m, struct vprobe_register, insn_cnt), 1);
	message_is("fewer instructions than there are", &m, ADMIT_LENGTH);
	fresh(&m);
	*FIELD(&m, struct vprobe_register, reserved) = 1;
	message_is("reserved in the registration", &m, ADMIT_RESERVED);
	fresh(&m);
	*FIELD(&m, struct vprobe_register, name) = '\n';
	message_is("a newline in the name", &m, ADMIT_TEXT);
	fresh(&m);
	memset(FIELD(&m, struct vprobe_register, release), 'x', 64);
	message_is("a release without an end", &m, ADMIT_TEXT);
	fresh(&m);
	FIELD(&m, struct vprobe_register, name)[31] = 'x';
	message_is("something behind the name", &m, ADMIT_TEXT);
	msg_register(&m, 0, tiny, NR(tiny));
	message_is("no layout", &m, OK);
	msg_register(&m, VPROBE_WIRE_MAX_LAYOUT, tiny, NR(tiny));
	message_is("the largest layout", &m, OK);
}

static void test_sizes(void)
{
	static struct bpf_insn many[VPROBE_WIRE_MAX_INSNS + 1];
	static struct msg m;
	size_t i;

	for (i = 0; i < NR(many); i++)
		many[i] = MOV_IMM(0, 0);
	many[VPROBE_WIRE_MAX_INSNS - 1] = EXIT();
	msg_register(&m, VPROBE_WIRE_MAX_LAYOUT, many, VPROBE_WIRE_MAX_INSNS);
	message_is("the largest registration", &m, OK);
	prog("a program that is too long", many, NR(many), ADMIT_INSN_CNT,
	     ADMIT_NO_INSN);
	prog("no program", many, 0, ADMIT_INSN_CNT, ADMIT_NO_INSN);
}

static void test_notices(void)
{
	struct msg m;

	msg_goodbye(&m);
	message_is("goodbye", &m, OK);
	m.buf[sizeof(struct vprobe_msg)] = 2;
	message_is("a notice that does not exist", &m, ADMIT_EVENT);
	msg_goodbye(&m);
	m.buf[sizeof(struct vprobe_msg) + 4] = 1;
	message_is("reserved in the notice", &m, ADMIT_RESERVED);
	msg_goodbye(&m);
	put32(m.buf + 8, 16);
	message_is("a notice of another length", &m, ADMIT_LENGTH);
}

static void test_reasons(void)
{
	unsigned int i;

	for (i = 0; i < __ADMIT_MAX; i++)
		ok(seen[i] && strcmp(admit_reason_name(i), "unknown") &&
		   strcmp(admit_reason_text(i), "the reason is unknown"),
		   "reason %s was seen and has a sentence",
		   admit_reason_name(i));
}

int main(void)
{
	test_alu();
	test_memory();
	test_ld64();
	test_jumps();
	test_calls();
	test_headers();
	test_registers();
	test_sizes();
	test_notices();
	test_reasons();
	return tap_end();
}
