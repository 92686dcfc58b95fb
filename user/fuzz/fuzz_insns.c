// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs alone, without a header that most mutations would break. What is
 * admitted is looked at again, in another way: by what it must not contain.
 */
#include <assert.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "admit.h"
#include "vprobe_helper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_call(const struct bpf_insn *in)
{
	assert(in->code == (BPF_JMP | BPF_CALL));
	assert(!in->off && !in->dst_reg);
	assert(in->src_reg == BPF_PSEUDO_KFUNC_CALL);
	assert(in->imm >= 1 && in->imm < __VPROBE_CALL_MAX);
}

static void check(const struct bpf_insn *insns, uint32_t cnt)
{
	uint32_t i;

	for (i = 0; i < cnt; i++) {
		const struct bpf_insn *in = &insns[i];
		uint8_t class = BPF_CLASS(in->code);

		assert(in->dst_reg <= 10 && in->src_reg <= 10);
		if (class == BPF_LD) {
			/* No map, no variable, no packet, and both halves. */
			assert(in->code == (BPF_LD | BPF_IMM | BPF_DW));
			assert(!in->src_reg && !in->off && i + 1 < cnt);
			assert(in->dst_reg != 10);
			i++;
			assert(!insns[i].code && !insns[i].off);
			assert(!insns[i].src_reg && !insns[i].dst_reg);
			continue;
		}
		if (class == BPF_STX || class == BPF_ST)
			assert(BPF_MODE(in->code) == BPF_MEM);
		if (class == BPF_LDX || class == BPF_ALU || class == BPF_ALU64)
			assert(in->dst_reg != 10);
		if (class == BPF_JMP || class == BPF_JMP32) {
			assert(BPF_OP(in->code) < 0xe0);
			if (BPF_OP(in->code) == BPF_CALL)
				check_call(in);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t cnt = (uint32_t)(size / sizeof(struct bpf_insn));
	struct bpf_insn *copy;

	if (admit_insns(data, cnt).reason)
		return 0;
	copy = malloc(cnt * sizeof(*copy));
	memcpy(copy, data, cnt * sizeof(*copy));
	check(copy, cnt);
	free(copy);
	return 0;
}
