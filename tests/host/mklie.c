// SPDX-License-Identifier: GPL-2.0-only
/*
 * mklie: writes the registration of a helper that passes every check and does
 * not tell the truth.
 *
 *	mklie FILE free FIRST COUNT ORDER WATCH
 *		COUNT blocks from guest-physical address FIRST on are free, each
 *		of 2^ORDER pages; a use of the n-th starts with a write to page
 *		n after WATCH
 *	mklie FILE blind FIRST COUNT ORDER WATCH
 *		the same, in whatever range the host is interested
 *	mklie FILE fickle FIRST COUNT ORDER WATCH
 *		the same, but for who asks from FIRST on, or further up, nothing is
 *	mklie FILE stuck
 *		there is nothing here, go on where you are
 *	mklie FILE crawl
 *		there is nothing here, go on at the next page
 *	mklie FILE slow
 *		takes long to find nothing
 *	mklie FILE angry
 *		returns an error
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

#define CTX(field)	((int)offsetof(struct vprobe_helper_ctx, field))
#define JLT_REG(d, s, o) INSN(BPF_JMP | BPF_JLT | BPF_X, d, s, o, 0)
#define JGE_REG(d, s, o) INSN(BPF_JMP | BPF_JGE | BPF_X, d, s, o, 0)
#define JLT_IMM(d, i, o) INSN(BPF_JMP | BPF_JLT | BPF_K, d, 0, o, i)
#define LOW(x)		((int32_t)(uint32_t)(x))
#define HIGH(x)		((int32_t)(uint32_t)((x) >> 32))

static const struct bpf_insn stuck[] = {
	LDX_DW(2, 1, CTX(start)),
	STX_DW(1, 2, CTX(next)),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn crawl[] = {
	LDX_DW(2, 1, CTX(start)),
	ADD_IMM(2, 4096),
	STX_DW(1, 2, CTX(next)),
	MOV_IMM(0, 0),
	EXIT(),
};

static const struct bpf_insn angry[] = {
	LDX_DW(2, 1, CTX(end)),
	STX_DW(1, 2, CTX(next)),
	MOV_IMM(0, -5),
	EXIT(),
};

/* Reads one word again and again. */
static const struct bpf_insn slow[] = {
	LDX_DW(2, 1, CTX(end)),
	STX_DW(1, 2, CTX(next)),
	MOV_IMM(6, 0),
	STX_DW(10, 6, -8),
	/* 4 */
	MOV_REG(1, 10),
	ADD_IMM(1, -8),
	MOV_IMM(2, 8),
	MOV_IMM(3, 1 << 20),
	CALL_HOST(VPROBE_CALL_READ),
	ADD_IMM(6, 1),
	JLT_IMM(6, 100000, -7),
	MOV_IMM(0, 0),
	EXIT(),
};

static void make_free(struct msg *m, const char *how, char **argv)
{
	bool blind = !strcmp(how, "blind"), fickle = !strcmp(how, "fickle");
	uint64_t first = strtoull(argv[0], NULL, 0);
	int32_t count = (int32_t)strtol(argv[1], NULL, 0);
	int32_t order = (int32_t)strtol(argv[2], NULL, 0);
	uint64_t watch = strtoull(argv[3], NULL, 0);
	const struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		LD64_LO(7, 0, LOW(first)), LD64_HI(HIGH(first)),
		LD64_LO(8, 0, LOW(watch)), LD64_HI(HIGH(watch)),
		MOV_IMM(9, 0),
		/* 6 */
		LDX_DW(2, 6, CTX(start)),
		JGE_REG(2, 7, fickle ? 12 : 0),
		/* 8: the next block; not in the range that is asked for? */
		LDX_DW(2, 6, CTX(start)),
		JLT_REG(7, 2, blind ? 0 : 6),
		LDX_DW(2, 6, CTX(end)),
		JGE_REG(7, 2, blind ? 0 : 4),
		MOV_REG(1, 7),
		MOV_IMM(2, order),
		MOV_REG(3, 8),
		CALL_HOST(VPROBE_CALL_REPORT),
		/* 16 */
		ADD_IMM(7, 4096 << order),
		ADD_IMM(8, 4096),
		ADD_IMM(9, 1),
		JLT_IMM(9, count, -12),
		/* 20 */
		LDX_DW(1, 6, CTX(end)),
		STX_DW(6, 1, CTX(next)),
		MOV_IMM(0, 0),
		EXIT(),
	};

	msg_register(m, 8, insns, NR(insns));
}

int main(int argc, char **argv)
{
	static struct msg m;
	FILE *f;

	if (argc == 7 && (!strcmp(argv[2], "free") ||
			  !strcmp(argv[2], "blind") ||
			  !strcmp(argv[2], "fickle")))
		make_free(&m, argv[2], argv + 3);
	else if (argc == 3 && !strcmp(argv[2], "stuck"))
		msg_register(&m, 8, stuck, NR(stuck));
	else if (argc == 3 && !strcmp(argv[2], "crawl"))
		msg_register(&m, 8, crawl, NR(crawl));
	else if (argc == 3 && !strcmp(argv[2], "slow"))
		msg_register(&m, 8, slow, NR(slow));
	else if (argc == 3 && !strcmp(argv[2], "angry"))
		msg_register(&m, 8, angry, NR(angry));
	if (!m.len) {
		fprintf(stderr, "usage: mklie FILE stuck|crawl|slow|angry\n"
			"       mklie FILE free|blind|fickle FIRST COUNT ORDER WATCH\n");
		return 2;
	}
	f = fopen(argv[1], "wb");
	if (!f || fwrite(m.buf, 1, m.len, f) != m.len || fclose(f)) {
		perror(argv[1]);
		return 2;
	}
	return 0;
}
