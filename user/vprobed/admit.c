// SPDX-License-Identifier: GPL-2.0-only
/*
 * The framing of a message. Nothing here may believe a length before it was
 * compared with what there is.
 */
#include <endian.h>
#include <string.h>

#include "admit.h"

static struct admit_verdict verdict(enum admit_reason reason)
{
	return (struct admit_verdict){ reason, ADMIT_NO_INSN };
}

bool admit_text(const char *text, size_t size)
{
	size_t i, n = strnlen(text, size);

	if (n == size)
		return false;
	for (i = 0; i < n; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	for (; i < size; i++) {
		if (text[i])
			return false;
	}
	return true;
}

struct admit_verdict admit_header(const void *buf, uint32_t *len)
{
	struct vprobe_msg h;

	memcpy(&h, buf, sizeof(h));
	if (le32toh(h.magic) != VPROBE_WIRE_MAGIC)
		return verdict(ADMIT_MAGIC);
	if (le16toh(h.version) != VPROBE_WIRE_VERSION)
		return verdict(ADMIT_VERSION);
	if (h.reserved)
		return verdict(ADMIT_RESERVED);
	*len = le32toh(h.len);
	switch (le16toh(h.type)) {
	case VPROBE_MSG_REGISTER:
		if (*len > VPROBE_WIRE_MAX_LEN)
			return verdict(ADMIT_TOO_LONG);
		if (*len < sizeof(struct vprobe_register))
			return verdict(ADMIT_LENGTH);
		return verdict(ADMIT_OK);
	case VPROBE_MSG_NOTICE:
		if (*len != sizeof(struct vprobe_notice))
			return verdict(ADMIT_LENGTH);
		return verdict(ADMIT_OK);
	default:
		return verdict(ADMIT_TYPE);
	}
}

static struct admit_verdict admit_notice(const uint8_t *body,
					 struct admit_message *msg)
{
	struct vprobe_notice n;

	memcpy(&n, body, sizeof(n));
	if (n.reserved)
		return verdict(ADMIT_RESERVED);
	msg->event = le32toh(n.event);
	if (msg->event != VPROBE_NOTICE_GOODBYE)
		return verdict(ADMIT_EVENT);
	return verdict(ADMIT_OK);
}

static struct admit_verdict admit_register(const uint8_t *body, uint32_t len,
					   struct admit_message *msg)
{
	struct vprobe_register r;
	uint32_t layout_len, cnt;

	memcpy(&r, body, sizeof(r));
	if (r.reserved[0] || r.reserved[1])
		return verdict(ADMIT_RESERVED);
	if (!admit_text(r.name, sizeof(r.name)) ||
	    !admit_text(r.release, sizeof(r.release)))
		return verdict(ADMIT_TEXT);
	layout_len = le32toh(r.layout_len);
	cnt = le32toh(r.insn_cnt);
	if (layout_len > VPROBE_WIRE_MAX_LAYOUT || layout_len % 8)
		return verdict(ADMIT_LAYOUT_LEN);
	if (!cnt || cnt > VPROBE_WIRE_MAX_INSNS)
		return verdict(ADMIT_INSN_CNT);
	/* Both are bounded now, this cannot wrap. */
	if (len != sizeof(r) + layout_len + cnt * sizeof(struct bpf_insn))
		return verdict(ADMIT_LENGTH);

	msg->reg = (const struct vprobe_register *)(const void *)body;
	msg->layout = body + sizeof(r);
	msg->layout_len = layout_len;
	msg->insns = msg->layout + layout_len;
	msg->insn_cnt = cnt;
	return admit_insns(msg->insns, cnt);
}

struct admit_verdict admit_message(const void *buf, size_t len,
				   struct admit_message *msg)
{
	const uint8_t *body = (const uint8_t *)buf + sizeof(struct vprobe_msg);
	struct admit_verdict v;
	struct vprobe_msg h;
	uint32_t body_len;

	memset(msg, 0, sizeof(*msg));
	if (len < sizeof(h))
		return verdict(ADMIT_TRUNCATED);
	v = admit_header(buf, &body_len);
	if (v.reason)
		return v;
	if (len - sizeof(h) < body_len)
		return verdict(ADMIT_TRUNCATED);
	if (len - sizeof(h) > body_len)
		return verdict(ADMIT_LENGTH);
	memcpy(&h, buf, sizeof(h));
	msg->type = le16toh(h.type);
	if (msg->type == VPROBE_MSG_NOTICE)
		return admit_notice(body, msg);
	return admit_register(body, body_len, msg);
}
