// SPDX-License-Identifier: GPL-2.0-only
/*
 * mkhostile DIR: writes the hostile messages, one file each, an honest one to
 * compare with, and the file "expected" with one line per message:
 *
 *   FILE STAGE TEXT
 *
 * STAGE says who has to refuse it: admission, verifier, module, or nobody;
 * TEXT must be part of the reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

#define CTX_NEXT	((int)offsetof(struct vprobe_helper_ctx, next))
#define CTX_END		((int)offsetof(struct vprobe_helper_ctx, end))
#define CTX_SIZE	((int)sizeof(struct vprobe_helper_ctx))

/* next = end, return 0, after a look at the layout and at guest memory. */
static const struct bpf_insn honest[] = {
	MOV_REG(6, 1),
	MOV_IMM(1, 8),
	CALL_HOST(VPROBE_CALL_LAYOUT),
	JEQ_IMM(0, 0, 9),
	LDX_DW(7, 0, 0),
	LDX_DW(1, 6, 0),
	MOV_IMM(2, 8),
	CALL_HOST(VPROBE_CALL_WINDOW),
	JEQ_IMM(0, 0, 1),
	LDX_DW(7, 0, 0),
	LDX_DW(1, 6, CTX_END),
	STX_DW(6, 1, CTX_NEXT),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn unknown_call[] = {
	MOV_IMM(1, 0), CALL_HOST(99), MOV_IMM(0, 0), EXIT(),
};

static const struct bpf_insn helper_call[] = {
	CALL(0, BPF_FUNC_ktime_get_ns), MOV_IMM(0, 0), EXIT(),
};

static const struct bpf_insn local_call[] = {
	CALL(BPF_PSEUDO_CALL, 1), EXIT(), MOV_IMM(0, 0), EXIT(),
};

static const struct bpf_insn map_reference[] = {
	LD64_LO(1, BPF_PSEUDO_MAP_FD, 3), LD64_HI(0), MOV_IMM(0, 0), EXIT(),
};

/* Ends when a number that nobody knows wraps around: not to be proven. */
static const struct bpf_insn unbounded_loop[] = {
	LDX_DW(7, 1, 0),
	ADD_IMM(7, 1),
	JNE_IMM(7, 0, -2),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn uninit_stack[] = {
	LDX_DW(2, 10, -8), STX_DW(1, 2, CTX_NEXT), MOV_IMM(0, 0), EXIT(),
};

static const struct bpf_insn past_window[] = {
	LDX_DW(1, 1, 0),
	MOV_IMM(2, 8),
	CALL_HOST(VPROBE_CALL_WINDOW),
	JEQ_IMM(0, 0, 1),
	LDX_DW(1, 0, 8),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn write_window[] = {
	LDX_DW(1, 1, 0),
	MOV_IMM(2, 8),
	CALL_HOST(VPROBE_CALL_WINDOW),
	JEQ_IMM(0, 0, 1),
	ST_DW(0, 0, 1),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn write_past_ctx[] = {
	ST_DW(1, CTX_SIZE, 1), MOV_IMM(0, 0), EXIT(),
};

static const char *dir;
static FILE *expected;

static FILE *create(const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

static void save(const char *name, const struct msg *m, const char *stage,
		 const char *text)
{
	FILE *f = create(name);

	if (fwrite(m->buf, 1, m->len, f) != m->len || fclose(f)) {
		perror(name);
		exit(1);
	}
	fprintf(expected, "%s %s %s\n", name, stage, text);
}

static void save_prog(const char *name, const struct bpf_insn *insns,
		      size_t cnt, const char *stage, const char *text)
{
	struct msg m;

	msg_register(&m, 64, insns, (uint32_t)cnt);
	save(name, &m, stage, text);
}

static void save_broken(void)
{
	static struct bpf_insn many[VPROBE_WIRE_MAX_INSNS + 1];
	struct msg m;
	size_t i;

	for (i = 0; i < NR(many); i++)
		many[i] = MOV_IMM(0, 0);
	many[i - 1] = EXIT();
	msg_register(&m, VPROBE_WIRE_MAX_LAYOUT, many, NR(many));
	save("too-long.msg", &m, "admission",
	     "longer than the largest registration");
	msg_register(&m, 64, many, NR(many));
	save("too-many-instructions.msg", &m, "admission",
	     "longer than 4096 instructions");

	msg_register(&m, 64, honest, NR(honest));
	m.buf[0] ^= 0xff;
	save("bad-header.msg", &m, "admission", "magic number");

	msg_register(&m, 64, honest, NR(honest));
	m.len -= 12;
	save("truncated.msg", &m, "admission", "ends before the length");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: mkhostile DIR\n");
		return 2;
	}
	dir = argv[1];
	expected = create("expected");
	save_prog("honest.msg", honest, NR(honest), "nobody", "helper");
	save_broken();
	save_prog("unknown-call.msg", unknown_call, NR(unknown_call),
		  "admission", "a function that vprobe_helper.h does not have");
	save_prog("kernel-helper-call.msg", helper_call, NR(helper_call),
		  "admission", "calls a kernel helper");
	save_prog("local-call.msg", local_call, NR(local_call),
		  "admission", "calls a function of its own");
	save_prog("map-reference.msg", map_reference, NR(map_reference),
		  "admission", "refers to a map");
	save_prog("unbounded-loop.msg", unbounded_loop, NR(unbounded_loop),
		  "verifier", "infinite loop");
	save_prog("uninitialised-stack.msg", uninit_stack, NR(uninit_stack),
		  "verifier", "invalid read from stack");
	save_prog("past-window.msg", past_window, NR(past_window),
		  "verifier", "invalid access to memory");
	save_prog("write-window.msg", write_window, NR(write_window),
		  "verifier", "write into");
	save_prog("write-past-context.msg", write_past_ctx,
		  NR(write_past_ctx), "module", "beyond its context");
	return fclose(expected) ? 1 : 0;
}
