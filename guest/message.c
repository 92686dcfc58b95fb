// SPDX-License-Identifier: GPL-2.0-only
/* The messages to the host, byte by byte as they go over the wire. */
#include <endian.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"
#include "vprobe_wire.h"
#include "linux_buddy.insns.h"

_Static_assert(sizeof(struct bpf_insn) == 8, "instructions go as they are");
_Static_assert(sizeof(vprobe_helper_insns) <= 8 * VPROBE_WIRE_MAX_INSNS,
	       "the helper is longer than the host takes");
_Static_assert(sizeof(struct linux_buddy_layout) <= VPROBE_WIRE_MAX_LAYOUT &&
	       sizeof(struct linux_buddy_layout) % 8 == 0,
	       "the layout does not fit the wire");

size_t helper_insn_cnt(void)
{
	return ARRAY_SIZE(vprobe_helper_insns);
}

const char *helper_name(void)
{
	return VPROBE_HELPER_NAME;
}

static void *begin(struct message *msg, uint16_t type, size_t len)
{
	struct vprobe_msg *h;

	msg->len = sizeof(*h) + len;
	msg->data = calloc(1, msg->len);
	if (!msg->data)
		return NULL;
	h = (void *)msg->data;
	h->magic = htole32(VPROBE_WIRE_MAGIC);
	h->version = htole16(VPROBE_WIRE_VERSION);
	h->type = htole16(type);
	h->len = htole32(len);
	return h + 1;
}

int message_register(struct message *msg, const struct guest_facts *facts)
{
	struct vprobe_register *reg;
	unsigned char *p;

	reg = begin(msg, VPROBE_MSG_REGISTER, sizeof(*reg) +
		    sizeof(facts->layout) + sizeof(vprobe_helper_insns));
	if (!reg)
		return refuse(EXIT_SYSTEM, "out of memory");
	reg->layout_len = htole32(sizeof(facts->layout));
	reg->insn_cnt = htole32(helper_insn_cnt());
	snprintf(reg->name, sizeof(reg->name), "%s", VPROBE_HELPER_NAME);
	snprintf(reg->release, sizeof(reg->release), "%s", facts->release);
	/* Little-endian as the guest is: x86 only. */
	p = (unsigned char *)(reg + 1);
	memcpy(p, &facts->layout, sizeof(facts->layout));
	p += sizeof(facts->layout);
	memcpy(p, vprobe_helper_insns, sizeof(vprobe_helper_insns));
	return EXIT_OK;
}

int message_goodbye(struct message *msg)
{
	struct vprobe_notice *notice;

	notice = begin(msg, VPROBE_MSG_NOTICE, sizeof(*notice));
	if (!notice)
		return refuse(EXIT_SYSTEM, "out of memory");
	notice->event = htole32(VPROBE_NOTICE_GOODBYE);
	return EXIT_OK;
}
