/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the talker, which hears guests, and the loader, which may load: one
 * record per request and per reply over a SOCK_SEQPACKET socket pair.
 *
 * The loader takes nothing that the talker says on trust: vpd_request_check()
 * bounds every length and admits the instructions once more. A talker that was
 * taken over can register programs that the kernel's verifier accepts, under
 * any guest's name, and can do nothing else.
 */
#ifndef VPROBED_IPC_H
#define VPROBED_IPC_H

#include <stddef.h>
#include <stdint.h>

#include "vprobe_wire.h"

#define VPD_MAGIC	0x44505631
/* Stands for the file of --oneshot-file instead of a guest. */
#define VPD_CID_FILE	0xfffffffeU

enum vpd_type {
	VPD_READY	= 1,	/* the sandbox is up */
	VPD_REGISTER	= 2,
	VPD_GOODBYE	= 3,
	VPD_CLOSED	= 4,	/* who asked with that cookie is gone */
};

/**
 * struct vpd_request - talker to loader
 * @type: enum vpd_type
 * @cid: the guest
 * @layout_len: bytes of layout that follow this structure
 * @insn_cnt: instructions that follow the layout
 * @cookie: handed back in the reply; no two requests of a talker that have no reply
 *	yet have the same
 * @accepted_ns: when the guest's connection was accepted, CLOCK_BOOTTIME
 * @name: of the helper
 * @release: of the guest kernel
 */
struct vpd_request {
	uint32_t magic;
	uint32_t type;
	uint32_t cid;
	uint32_t layout_len;
	uint32_t insn_cnt;
	uint32_t reserved;
	uint64_t cookie;
	uint64_t accepted_ns;
	char name[32];
	char release[64];
};

#define VPD_REQUEST_MAX	(sizeof(struct vpd_request) + \
			 VPROBE_WIRE_MAX_LAYOUT + 8 * VPROBE_WIRE_MAX_INSNS)

/**
 * struct vpd_reply - loader to talker
 * @status: 0, or a positive errno
 * @cookie: of the request
 * @text: NUL-terminated sentence for the guest
 */
struct vpd_reply {
	uint32_t magic;
	uint32_t status;
	uint64_t cookie;
	char text[VPROBE_WIRE_MAX_TEXT];
};

/**
 * vpd_request_check() - judge a record from the talker
 * @buf: aligned for struct vpd_request
 * @len: bytes received
 * @why: out: what is wrong
 *
 * Return: 0, or -EBADMSG
 */
int vpd_request_check(const void *buf, size_t len, const char **why);

static inline const uint8_t *vpd_layout(const struct vpd_request *req)
{
	return (const uint8_t *)(req + 1);
}

static inline const uint8_t *vpd_insns(const struct vpd_request *req)
{
	return vpd_layout(req) + req->layout_len;
}

#endif
