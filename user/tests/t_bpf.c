// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading: the rewriting of calls, what is shown of a verifier's log, and, if
 * this kernel lets us, that the verifier runs in its hardened mode.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpfload.h"
#include "caps.h"
#include "msg.h"
#include "tap.h"

static struct bpf_host host = {
	.btf_fd = 42,
	.load_ms = 60000,
	.ids = { 0, 101, 102, 103, 104 },
};

static void test_rewrite(void)
{
	struct bpf_insn prog[] = {
		CALL_HOST(VPROBE_CALL_READ),
		LD64_LO(1, 0, 1), LD64_HI(2),
		CALL(BPF_PSEUDO_CALL, 1),
		CALL_HOST(VPROBE_CALL_REPORT),
		EXIT(),
	};
	struct bpf_insn before[NR(prog)];
	struct bpf_insn bad[] = { CALL_HOST(5), EXIT() };

	memcpy(before, prog, sizeof(prog));
	ok(!bpf_rewrite_calls(&host, prog, NR(prog)), "calls are rewritten");
	ok(prog[0].imm == 101 && prog[0].off == 1 &&
	   prog[0].src_reg == BPF_PSEUDO_KFUNC_CALL, "the first one");
	ok(prog[4].imm == 104 && prog[4].off == 1, "the last one");
	ok(!memcmp(prog + 1, before + 1, 3 * sizeof(prog[0])),
	   "and nothing else");
	ok(bpf_rewrite_calls(&host, bad, NR(bad)) == -EINVAL,
	   "a number that is no call is not");
}

static void tail_is(const char *log, const char *want)
{
	char out[64];

	bpf_log_tail(log, out, sizeof(out));
	if (!ok(!strcmp(out, want), "log ends in: %s", want))
		tap_note("got \"%s\"", out);
}

static void test_tail(void)
{
	tail_is("", "");
	tail_is("\n", "");
	tail_is("one\n", "one");
	tail_is("one", "one");
	tail_is("one\ntwo\nthree\n", "two;three");
	tail_is("R1 bad\nprocessed 5 insns (limit 1000000)\n", "R1 bad");
	tail_is("a\nR1 bad\nverification time 9 usec\nstack depth 0\nprocessed 5 insns\n",
		"a;R1 bad");
	tail_is("loops\ncur state: R1\nold state: R1\nprocessed 5\n", "loops");
	tail_is("processed 5 insns\n", "");
	tail_is("a\tb\033c\n", "a b c");
	tail_is("0123456789012345678901234567890123456789012345678901234567890123456789",
		"012345678901234567890123456789012345678901234567890123456789012");
}

static uint64_t effective(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { 0 } };

	syscall(SYS_capget, &hdr, data);
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static int load(const struct bpf_insn *insns, size_t cnt, char *why, size_t n)
{
	int fd = bpf_host_load(&host, (const uint8_t *)insns, (uint32_t)cnt,
			       "test-helper", why, n);

	if (fd >= 0)
		close(fd);
	return fd;
}

/* A loop of jumps to the next instruction, with a state for each time around. */
static void test_slow(void)
{
	struct bpf_insn slow[100];
	char why[512] = "";
	size_t i;
	int ret;

	for (i = 0; i < NR(slow); i++)
		slow[i] = JA(0);
	slow[0] = MOV_IMM(6, 0);
	slow[1] = ADD_IMM(6, 1);
	slow[NR(slow) - 3] = JNE_IMM(6, 1000000, 3 - (int)NR(slow));
	slow[NR(slow) - 2] = MOV_IMM(0, 0);
	slow[NR(slow) - 1] = EXIT();
	host.load_ms = 20;
	ret = load(slow, NR(slow), why, sizeof(why));
	ok(ret == -EAGAIN && strstr(why, "longer than 20 ms"),
	   "a program that takes the verifier long: %s", why);
	host.load_ms = 60000;
	ret = load(slow, NR(slow), why, sizeof(why));
	ok(ret < 0 && ret != -EAGAIN, "given time: %s", why);
}

static void test_load(void)
{
	const struct bpf_insn good[] = {
		LDX_DW(2, 1, 8), STX_DW(1, 2, 16), MOV_IMM(0, 0), EXIT(),
	};
	const struct bpf_insn stack[] = {
		LDX_DW(2, 10, -8), STX_DW(1, 2, 16), MOV_IMM(0, 0), EXIT(),
	};
	const struct bpf_insn leak[] = {
		STX_DW(1, 10, 16), MOV_IMM(0, 0), EXIT(),
	};
	const struct bpf_insn loop[] = {
		LDX_DW(7, 1, 0), ADD_IMM(7, 1), JNE_IMM(7, 0, -2),
		MOV_IMM(0, 0), EXIT(),
	};
	char why[512] = "";

	ok(effective() && !(effective() & 1ULL << CAP_BPF),
	   "CAP_BPF is not effective all the time");
	if (load(good, NR(good), why, sizeof(why)) < 0) {
		tap_skip("loading", why);
		return;
	}
	ok(true, "an honest program loads with CAP_BPF alone");
	ok(effective() & 1ULL << CAP_SYS_ADMIN &&
	   !(effective() & 1ULL << CAP_BPF), "capabilities are back after it");
	ok(load(stack, NR(stack), why, sizeof(why)) < 0 &&
	   strstr(why, "invalid read from stack"),
	   "uninitialised stack: %s", why);
	ok(load(leak, NR(leak), why, sizeof(why)) < 0,
	   "a leaked pointer: %s", why);
	ok(load(loop, NR(loop), why, sizeof(why)) < 0 &&
	   strstr(why, "infinite loop"), "a loop without a bound: %s", why);
	test_slow();
}

int main(void)
{
	test_rewrite();
	test_tail();
	if (geteuid() || !(effective() & 1ULL << CAP_SYS_ADMIN) ||
	    caps_limit())
		tap_skip("loading", "not root");
	else
		test_load();
	return tap_end();
}
