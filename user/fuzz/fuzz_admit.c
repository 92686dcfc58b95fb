// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whole messages. What is admitted must lie within the buffer and within the
 * limits; how it is taken apart must agree with the header.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "admit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admit_message m;
	struct admit_verdict v;
	char text[256];

	v = admit_message(data, size, &m);
	admit_explain(v, text, sizeof(text));
	if (v.reason)
		return 0;
	if (m.type == VPROBE_MSG_NOTICE) {
		assert(size == sizeof(struct vprobe_msg) +
			       sizeof(struct vprobe_notice));
		return 0;
	}
	assert(m.type == VPROBE_MSG_REGISTER);
	assert(m.layout_len <= VPROBE_WIRE_MAX_LAYOUT);
	assert(m.insn_cnt >= 1 && m.insn_cnt <= VPROBE_WIRE_MAX_INSNS);
	assert(m.layout == data + sizeof(struct vprobe_msg) +
			   sizeof(struct vprobe_register));
	assert(m.insns == m.layout + m.layout_len);
	assert(m.insns + 8UL * m.insn_cnt == data + size);
	assert(strnlen(m.reg->name, sizeof(m.reg->name)) <
	       sizeof(m.reg->name));
	return 0;
}
