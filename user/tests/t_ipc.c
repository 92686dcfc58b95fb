// SPDX-License-Identifier: GPL-2.0-only
/* What the loader takes from a talker, and what it does not. */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc.h"
#include "msg.h"
#include "tap.h"

static struct {
	struct vpd_request req;
	uint8_t data[64 + 16];
} r;

static size_t fresh(enum vpd_type type)
{
	const struct bpf_insn prog[] = { MOV_IMM(0, 0), EXIT() };

	memset(&r, 0, sizeof(r));
	r.req.magic = VPD_MAGIC;
	r.req.type = type;
	r.req.cid = 3;
	if (type != VPD_REGISTER)
		return sizeof(r.req);
	r.req.layout_len = 64;
	r.req.insn_cnt = 2;
	snprintf(r.req.name, sizeof(r.req.name), "test");
	memcpy(r.data + 64, prog, sizeof(prog));
	return sizeof(r);
}

static void is(const char *what, size_t len, bool good)
{
	/* Exactly as long as it is: a read past it is seen by ASan. */
	void *copy = malloc(len ? len : 1);
	const char *why = "";

	memcpy(copy, &r, len);
	ok(!vpd_request_check(copy, len, &why) == good, "%s: %s", what,
	   good ? "taken" : why);
	free(copy);
}

static void test_headers(void)
{
	size_t len;

	is("READY", fresh(VPD_READY), true);
	is("READY with more", fresh(VPD_READY) + 8, false);
	is("REGISTER", fresh(VPD_REGISTER), true);
	is("GOODBYE", fresh(VPD_GOODBYE), true);
	is("GOODBYE with more", fresh(VPD_GOODBYE) + 8, false);
	is("nothing", fresh(VPD_READY) * 0, false);
	is("half a header", fresh(VPD_READY) / 2, false);
	is("CLOSED", fresh(VPD_CLOSED), true);
	len = fresh(VPD_CLOSED + 1);
	is("an unknown type", len, false);
	len = fresh(VPD_REGISTER);
	r.req.magic++;
	is("another magic", len, false);
	len = fresh(VPD_REGISTER);
	r.req.reserved = 1;
	is("reserved", len, false);
	len = fresh(VPD_READY);
	r.req.layout_len = 8;
	is("READY with a layout", len, false);
	len = fresh(VPD_GOODBYE);
	r.req.insn_cnt = 1;
	is("GOODBYE with instructions", len, false);
}

static void test_cids(void)
{
	static const uint32_t bad[] = {
		0, VMADDR_CID_LOCAL, VMADDR_CID_HOST, VMADDR_CID_ANY,
	};
	size_t i, len;

	for (i = 0; i < NR(bad); i++) {
		len = fresh(VPD_GOODBYE);
		r.req.cid = bad[i];
		is("a context id that no guest has", len, false);
	}
}

static void test_register(void)
{
	size_t len;

	len = fresh(VPD_REGISTER);
	is("one byte less", len - 1, false);
	r.req.layout_len = 4104;
	is("too large a layout", len, false);
	len = fresh(VPD_REGISTER);
	r.req.layout_len = 63;
	is("an odd layout", len, false);
	len = fresh(VPD_REGISTER);
	r.req.layout_len = 0xfffffff8;
	is("a layout that wraps", len, false);
	len = fresh(VPD_REGISTER);
	r.req.insn_cnt = 0x20000002;
	is("a count that wraps", len, false);
	len = fresh(VPD_REGISTER);
	r.req.layout_len = 72;
	r.req.insn_cnt = 1;
	is("sums that add up, with an instruction that is none", len, true);
	len = fresh(VPD_REGISTER);
	memset(r.req.name, 'x', sizeof(r.req.name));
	is("a name without an end", len, false);
	len = fresh(VPD_REGISTER);
	r.req.release[0] = '\n';
	is("a newline", len, false);
	len = fresh(VPD_REGISTER);
	r.data[64 + 1] = 0x1a;
	is("a write to r10", len, false);
	len = fresh(VPD_REGISTER);
	r.data[64] = BPF_LD | BPF_IMM | BPF_DW;
	r.data[64 + 1] = BPF_PSEUDO_BTF_ID << 4;
	is("a kernel variable", len, false);
}

int main(void)
{
	test_headers();
	test_cids();
	test_register();
	return tap_end();
}
