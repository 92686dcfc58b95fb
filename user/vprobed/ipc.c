// SPDX-License-Identifier: GPL-2.0-only
/* The loader's own look at what the talker sends. */
#include <errno.h>
#include <linux/vm_sockets.h>

#include "admit.h"
#include "ipc.h"

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

static int check_register(const struct vpd_request *req, size_t len,
			  const char **why)
{
	if (req->layout_len > VPROBE_WIRE_MAX_LAYOUT || req->layout_len % 8)
		return bad(why, "layout length out of range");
	if (!req->insn_cnt || req->insn_cnt > VPROBE_WIRE_MAX_INSNS)
		return bad(why, "instruction count out of range");
	if (len != sizeof(*req) + req->layout_len + 8UL * req->insn_cnt)
		return bad(why, "lengths do not add up");
	if (!admit_text(req->name, sizeof(req->name)) ||
	    !admit_text(req->release, sizeof(req->release)))
		return bad(why, "text not printable");
	if (admit_insns(vpd_insns(req), req->insn_cnt).reason)
		return bad(why, "instructions not admissible");
	return 0;
}

int vpd_request_check(const void *buf, size_t len, const char **why)
{
	const struct vpd_request *req = buf;

	if (len < sizeof(*req))
		return bad(why, "record too short");
	if (req->magic != VPD_MAGIC || req->reserved)
		return bad(why, "bad header");
	if (req->type != VPD_REGISTER &&
	    (len != sizeof(*req) || req->layout_len || req->insn_cnt))
		return bad(why, "record too long");
	if (req->type == VPD_READY)
		return 0;
	if (req->cid <= VMADDR_CID_HOST || req->cid == VMADDR_CID_ANY)
		return bad(why, "not a guest's context id");
	switch (req->type) {
	case VPD_REGISTER:
		return check_register(req, len, why);
	case VPD_GOODBYE:
	case VPD_CLOSED:
		return 0;
	default:
		return bad(why, "unknown type");
	}
}
