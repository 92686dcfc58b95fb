// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <string.h>

#include "msg.h"

static void put(struct msg *m, const void *data, size_t len)
{
	memcpy(m->buf + m->len, data, len);
	m->len += len;
}

static void put_header(struct msg *m, uint16_t type, size_t len)
{
	struct vprobe_msg h = {
		.magic = htole32(VPROBE_WIRE_MAGIC),
		.version = htole16(VPROBE_WIRE_VERSION),
		.type = htole16(type),
		.len = htole32((uint32_t)len),
	};

	m->len = 0;
	put(m, &h, sizeof(h));
}

void msg_register(struct msg *m, size_t layout_len,
		  const struct bpf_insn *insns, uint32_t cnt)
{
	struct vprobe_register r = {
		.layout_len = htole32((uint32_t)layout_len),
		.insn_cnt = htole32(cnt),
		.name = "test",
		.release = "6.12.0-test",
	};
	size_t i;

	put_header(m, VPROBE_MSG_REGISTER,
		   sizeof(r) + layout_len + 8UL * cnt);
	put(m, &r, sizeof(r));
	for (i = 0; i < layout_len; i++)
		m->buf[m->len++] = (uint8_t)i;
	put(m, insns, 8UL * cnt);
}

void msg_goodbye(struct msg *m)
{
	struct vprobe_notice n = { .event = htole32(VPROBE_NOTICE_GOODBYE) };

	put_header(m, VPROBE_MSG_NOTICE, sizeof(n));
	put(m, &n, sizeof(n));
}
