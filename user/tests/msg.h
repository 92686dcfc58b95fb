/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages as an injector makes them, and as it never should. */
#ifndef VPROBE_TEST_MSG_H
#define VPROBE_TEST_MSG_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "vprobe_helper.h"
#include "vprobe_wire.h"

#define MSG_ROOM 65536

struct msg {
	size_t len;
	uint8_t buf[MSG_ROOM];
};

/* Layout: @layout_len bytes 0, 1, 2... */
void msg_register(struct msg *m, size_t layout_len,
		  const struct bpf_insn *insns, uint32_t cnt);
void msg_goodbye(struct msg *m);

#define INSN(c, d, s, o, i) ((struct bpf_insn){		\
	.code = (c), .dst_reg = (d), .src_reg = (s),	\
	.off = (o), .imm = (i) })
#define MOV_IMM(d, i)	INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOV_REG(d, s)	INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD_IMM(d, i)	INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LDX_DW(d, s, o)	INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define STX_DW(d, s, o)	INSN(BPF_STX | BPF_MEM | BPF_DW, d, s, o, 0)
#define ST_DW(d, o, i)	INSN(BPF_ST | BPF_MEM | BPF_DW, d, 0, o, i)
#define JEQ_IMM(d, i, o) INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define JNE_IMM(d, i, o) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define JA(o)		INSN(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(s, i)	INSN(BPF_JMP | BPF_CALL, 0, s, 0, i)
#define CALL_HOST(i)	CALL(BPF_PSEUDO_KFUNC_CALL, i)
#define LD64_LO(d, s, i) INSN(BPF_LD | BPF_IMM | BPF_DW, d, s, 0, i)
#define LD64_HI(i)	INSN(0, 0, 0, 0, i)
#define EXIT()		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

#define NR(a) (sizeof(a) / sizeof((a)[0]))

#endif
