// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instructions that a helper may consist of. This is an allow-list: what a
 * later kernel adds to the instruction set is refused until someone adds it
 * here.
 */
#include <endian.h>
#include <string.h>

#include "admit.h"
#include "vprobe_helper.h"

/* Of kernel headers that are newer than some that this is built with. */
#ifndef BPF_MEMSX
#define BPF_MEMSX 0x80
#endif
#ifndef BPF_JCOND
#define BPF_JCOND 0xe0
#endif

#define NR_REGS 11

struct insn {
	uint8_t code;
	uint8_t dst;
	uint8_t src;
	int16_t off;
	int32_t imm;
};

struct prog {
	const uint8_t *insns;
	uint32_t cnt;
	/* One bit per instruction: the second half of an ld_imm64. */
	uint8_t middle[(VPROBE_WIRE_MAX_INSNS + 7) / 8];
};

static struct insn get_insn(const struct prog *p, uint32_t i)
{
	const uint8_t *b = p->insns + (size_t)i * sizeof(struct bpf_insn);
	struct insn in = {
		.code = b[0],
		.dst = b[1] & 0xf,
		.src = b[1] >> 4,
	};
	uint16_t off;
	uint32_t imm;

	memcpy(&off, b + 2, sizeof(off));
	memcpy(&imm, b + 4, sizeof(imm));
	in.off = (int16_t)le16toh(off);
	in.imm = (int32_t)le32toh(imm);
	return in;
}

static bool is_ld_imm64(const struct insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_middle(const struct prog *p, uint32_t i)
{
	return p->middle[i / 8] & (1U << (i % 8));
}

/* A register that is written: r10 is the frame pointer. */
static enum admit_reason check_dst(uint8_t reg)
{
	if (reg >= NR_REGS)
		return ADMIT_REGISTER;
	return reg == BPF_REG_10 ? ADMIT_WRITE_FP : ADMIT_OK;
}

/* The second operand of ALU and JMP: a register, or an immediate. */
static enum admit_reason check_operand(const struct insn *in)
{
	if (BPF_SRC(in->code) == BPF_X) {
		if (in->imm)
			return ADMIT_INSN_FIELDS;
		return in->src >= NR_REGS ? ADMIT_REGISTER : ADMIT_OK;
	}
	return in->src ? ADMIT_INSN_FIELDS : ADMIT_OK;
}

static bool is_swap_width(int32_t imm)
{
	return imm == 16 || imm == 32 || imm == 64;
}

/* @off of an ALU instruction: sign extension of mov, signed div and mod. */
static bool alu_off_ok(const struct insn *in)
{
	bool x = BPF_SRC(in->code) == BPF_X;
	bool wide = BPF_CLASS(in->code) == BPF_ALU64;

	switch (BPF_OP(in->code)) {
	case BPF_MOV:
		return !in->off || (x && (in->off == 8 || in->off == 16 ||
					  (wide && in->off == 32)));
	case BPF_DIV:
	case BPF_MOD:
		return in->off == 0 || in->off == 1;
	default:
		return !in->off;
	}
}

static enum admit_reason check_alu(const struct insn *in)
{
	enum admit_reason r = check_dst(in->dst);

	if (r)
		return r;
	switch (BPF_OP(in->code)) {
	case BPF_NEG:
		if (BPF_SRC(in->code) != BPF_K || in->src || in->off ||
		    in->imm)
			return ADMIT_INSN_FIELDS;
		return ADMIT_OK;
	case BPF_END:
		/* ALU64: bswap, which has no source bit. */
		if (in->src || in->off || !is_swap_width(in->imm) ||
		    (BPF_CLASS(in->code) == BPF_ALU64 &&
		     BPF_SRC(in->code) != BPF_TO_LE))
			return ADMIT_INSN_FIELDS;
		return ADMIT_OK;
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_OR:
	case BPF_AND:
	case BPF_LSH:
	case BPF_RSH:
	case BPF_XOR:
	case BPF_ARSH:
	case BPF_MOV:
	case BPF_DIV:
	case BPF_MOD:
		if (!alu_off_ok(in))
			return ADMIT_INSN_FIELDS;
		return check_operand(in);
	default:
		return ADMIT_INSN_OP;
	}
}

/* @target counts from the start of the program. */
static enum admit_reason check_target(const struct prog *p, int64_t target)
{
	if (target < 0 || target >= p->cnt)
		return ADMIT_JUMP_RANGE;
	return is_middle(p, (uint32_t)target) ? ADMIT_JUMP_MIDDLE : ADMIT_OK;
}

/*
 * What the verifier remembers of a state is a frame of 512 bytes per function that has
 * not returned, up to eight: helpers are one function.
 */
static enum admit_reason check_call(const struct insn *in)
{
	if (BPF_CLASS(in->code) != BPF_JMP || BPF_SRC(in->code) != BPF_K)
		return ADMIT_INSN_OP;
	if (in->dst || in->off)
		return ADMIT_INSN_FIELDS;
	switch (in->src) {
	case 0:
		return ADMIT_HELPER_CALL;
	case BPF_PSEUDO_CALL:
		return ADMIT_LOCAL_CALL;
	case BPF_PSEUDO_KFUNC_CALL:
		if (in->imm < VPROBE_CALL_READ || in->imm >= __VPROBE_CALL_MAX)
			return ADMIT_UNKNOWN_CALL;
		return ADMIT_OK;
	default:
		return ADMIT_UNKNOWN_CALL;
	}
}

static enum admit_reason check_ja(const struct prog *p, uint32_t i,
				  const struct insn *in)
{
	if (BPF_SRC(in->code) != BPF_K || in->dst || in->src)
		return ADMIT_INSN_FIELDS;
	if (BPF_CLASS(in->code) == BPF_JMP32) {	/* gotol: a long jump */
		if (in->off)
			return ADMIT_INSN_FIELDS;
		return check_target(p, (int64_t)i + 1 + in->imm);
	}
	if (in->imm)
		return ADMIT_INSN_FIELDS;
	return check_target(p, (int64_t)i + 1 + in->off);
}

static enum admit_reason check_exit(const struct insn *in)
{
	if (BPF_CLASS(in->code) != BPF_JMP || BPF_SRC(in->code) != BPF_K)
		return ADMIT_INSN_OP;
	if (in->dst || in->src || in->off || in->imm)
		return ADMIT_INSN_FIELDS;
	return ADMIT_OK;
}

static enum admit_reason check_jmp(const struct prog *p, uint32_t i,
				   const struct insn *in)
{
	enum admit_reason r;

	switch (BPF_OP(in->code)) {
	case BPF_CALL:
		return check_call(in);
	case BPF_EXIT:
		return check_exit(in);
	case BPF_JA:
		return check_ja(p, i, in);
	case BPF_JCOND:
		return ADMIT_MAY_GOTO;
	case BPF_JEQ:
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSET:
	case BPF_JNE:
	case BPF_JSGT:
	case BPF_JSGE:
	case BPF_JLT:
	case BPF_JLE:
	case BPF_JSLT:
	case BPF_JSLE:
		if (in->dst >= NR_REGS)
			return ADMIT_REGISTER;
		r = check_operand(in);
		return r ? r : check_target(p, (int64_t)i + 1 + in->off);
	default:
		return ADMIT_INSN_OP;
	}
}

static enum admit_reason check_ldx(const struct insn *in)
{
	enum admit_reason r;

	if (BPF_MODE(in->code) == BPF_MEMSX) {
		if (BPF_SIZE(in->code) == BPF_DW)
			return ADMIT_INSN_OP;
	} else if (BPF_MODE(in->code) != BPF_MEM) {
		return ADMIT_INSN_OP;
	}
	if (in->imm)
		return ADMIT_INSN_FIELDS;
	r = check_dst(in->dst);
	if (r)
		return r;
	return in->src >= NR_REGS ? ADMIT_REGISTER : ADMIT_OK;
}

/* ST and STX: the destination is an address, r10 may be one. */
static enum admit_reason check_store(const struct insn *in)
{
	bool x = BPF_CLASS(in->code) == BPF_STX;

	if (BPF_MODE(in->code) == BPF_ATOMIC)
		return x ? ADMIT_ATOMIC : ADMIT_INSN_OP;
	if (BPF_MODE(in->code) != BPF_MEM)
		return ADMIT_INSN_OP;
	if (in->dst >= NR_REGS || in->src >= NR_REGS)
		return ADMIT_REGISTER;
	if (x ? in->imm : in->src)
		return ADMIT_INSN_FIELDS;
	return ADMIT_OK;
}

static enum admit_reason check_ld(const struct prog *p, uint32_t i,
				  const struct insn *in)
{
	struct insn second;
	enum admit_reason r;

	if (BPF_MODE(in->code) == BPF_ABS || BPF_MODE(in->code) == BPF_IND)
		return ADMIT_PACKET;
	if (!is_ld_imm64(in))
		return ADMIT_INSN_OP;
	if (i + 1 >= p->cnt)
		return ADMIT_LD64_CUT;
	/* A pseudo source makes the constant a map, a BTF id, a callback. */
	if (in->src)
		return ADMIT_MAP;
	r = check_dst(in->dst);
	if (r)
		return r;
	second = get_insn(p, i + 1);
	if (in->off || second.code || second.dst || second.src || second.off)
		return ADMIT_INSN_FIELDS;
	return ADMIT_OK;
}

static enum admit_reason check_insn(const struct prog *p, uint32_t i,
				    const struct insn *in)
{
	switch (BPF_CLASS(in->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return check_alu(in);
	case BPF_JMP:
	case BPF_JMP32:
		return check_jmp(p, i, in);
	case BPF_LDX:
		return check_ldx(in);
	case BPF_ST:
	case BPF_STX:
		return check_store(in);
	default:	/* BPF_LD: three bits, eight classes */
		return check_ld(p, i, in);
	}
}

static void find_middles(struct prog *p)
{
	uint32_t i;

	for (i = 0; i + 1 < p->cnt; i++) {
		struct insn in = get_insn(p, i);

		if (is_ld_imm64(&in)) {
			i++;
			p->middle[i / 8] |= (uint8_t)(1U << (i % 8));
		}
	}
}

/* Control must not run over the end of the program. */
static bool may_be_last(const struct insn *in)
{
	return in->code == (BPF_JMP | BPF_EXIT) ||
	       in->code == (BPF_JMP | BPF_JA) ||
	       in->code == (BPF_JMP32 | BPF_JA);
}

struct admit_verdict admit_insns(const uint8_t *insns, uint32_t cnt)
{
	struct prog p = { .insns = insns, .cnt = cnt };
	enum admit_reason r;
	struct insn in;
	uint32_t i;

	if (!cnt || cnt > VPROBE_WIRE_MAX_INSNS)
		return (struct admit_verdict){ ADMIT_INSN_CNT, ADMIT_NO_INSN };
	find_middles(&p);
	for (i = 0; i < cnt; i++) {
		if (is_middle(&p, i))
			continue;
		in = get_insn(&p, i);
		r = check_insn(&p, i, &in);
		if (r)
			return (struct admit_verdict){ r, i };
	}
	in = get_insn(&p, cnt - 1);
	if (is_middle(&p, cnt - 1) || !may_be_last(&in))
		return (struct admit_verdict){ ADMIT_LAST_INSN, cnt - 1 };
	return (struct admit_verdict){ ADMIT_OK, ADMIT_NO_INSN };
}
