/* SPDX-License-Identifier: GPL-2.0-only */
/* Handing an admitted program to the kernel's verifier. */
#ifndef VPROBED_BPFLOAD_H
#define VPROBED_BPFLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "vprobe_helper.h"

/**
 * struct bpf_host - the host functions that helpers may call
 * @btf_fd: BTF of module vprobe
 * @ids: BTF id of each function, by enum vprobe_call
 * @load_ms: how long the verifier may take, for the caller to set
 */
struct bpf_host {
	int btf_fd;
	unsigned int load_ms;
	uint32_t ids[__VPROBE_CALL_MAX];
};

/**
 * bpf_host_resolve() - find the functions; needs CAP_SYS_ADMIN
 * @h: out
 *
 * Reads the BTF of the running kernel and of module vprobe, nothing else.
 * Logs what failed. The module must stay loaded while @h is in use: holding
 * /dev/vprobe open sees to that.
 *
 * Return: 0 or a negative errno
 */
int bpf_host_resolve(struct bpf_host *h);

/**
 * bpf_host_load() - load a helper with CAP_BPF as the only effective capability
 * @h: resolved
 * @insns: @cnt admitted instructions as they came over the wire
 * @cnt: how many
 * @name: of the helper
 * @why: out: if refused, what the verifier said last
 * @size: room in @why
 *
 * Changes the capabilities of the calling thread meanwhile, and sends it SIGALRM once
 * its time is over.
 *
 * Return: a program's file descriptor or a negative errno: -EAGAIN if it took too long
 */
int bpf_host_load(const struct bpf_host *h, const uint8_t *insns, uint32_t cnt,
		  const char *name, char *why, size_t size);

/**
 * bpf_log_tail() - the part of a verifier log that says why
 * @log: the log, NUL-terminated
 * @out: out: one line, printable
 * @size: room in @out
 */
void bpf_log_tail(const char *log, char *out, size_t size);

/**
 * bpf_rewrite_calls() - from reserved numbers to BTF ids
 * @h: resolved
 * @insns: in and out
 * @cnt: how many
 *
 * Return: 0, or -EINVAL if there is a number that is none
 */
struct bpf_insn;
int bpf_rewrite_calls(const struct bpf_host *h, struct bpf_insn *insns,
		      uint32_t cnt);

#endif
