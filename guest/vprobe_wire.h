/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an injector in a guest says to vprobed over vsock, and what it hears.
 *
 * A stream of messages, each a struct vprobe_msg and @len bytes. All numbers
 * are little-endian. A connection carries one or more requests; each is
 * answered by one VPROBE_MSG_REPLY. The host closes the connection on the
 * first malformed message, after a reply that says why. It also closes one on which a
 * message takes longer than 15 s, or that is idle for 60 s, has four of a guest at a
 * time, and takes 16 requests of a guest at once, then one every 5 s (talker.c).
 */
#ifndef VPROBE_WIRE_H
#define VPROBE_WIRE_H

#include <linux/types.h>

#define VPROBE_VSOCK_PORT	22096
/*
 * An injector connects from a port below this one, which takes
 * CAP_NET_BIND_SERVICE in the guest; the host refuses any other.
 */
#define VPROBE_VSOCK_RESERVED	1024U
#define VPROBE_WIRE_MAGIC	0x42525056	/* "VPRB" */
#define VPROBE_WIRE_VERSION	1
/* Limits that the host enforces. */
#define VPROBE_WIRE_MAX_INSNS	4096
#define VPROBE_WIRE_MAX_LAYOUT	4096		/* bytes */
#define VPROBE_WIRE_MAX_TEXT	512		/* bytes of a reply's sentence */
#define VPROBE_WIRE_MAX_LEN	(sizeof(struct vprobe_register) + \
				 VPROBE_WIRE_MAX_LAYOUT + \
				 8 * VPROBE_WIRE_MAX_INSNS)

enum vprobe_msg_type {
	/* guest: struct vprobe_register, layout, instructions */
	VPROBE_MSG_REGISTER	= 1,
	VPROBE_MSG_NOTICE	= 2,	/* guest: struct vprobe_notice */
	VPROBE_MSG_REPLY	= 3,	/* host: struct vprobe_reply, text */
};

struct vprobe_msg {
	__le32 magic;
	__le16 version;
	__le16 type;
	__le32 len;		/* bytes that follow this header */
	__le32 reserved;	/* 0 */
};

struct vprobe_register {
	__le32 layout_len;	/* bytes, a multiple of 8 */
	__le32 insn_cnt;	/* struct bpf_insn, 8 bytes each */
	char   name[32];	/* of the helper, printable, NUL-padded */
	char   release[64];	/* of the guest kernel, likewise */
	__le32 reserved[2];	/* 0 */
};

enum vprobe_notice_event {
	/*
	 * The kernel that registered is about to go away: fill, then forget
	 * its helper. The reply comes when that is done.
	 */
	VPROBE_NOTICE_GOODBYE	= 1,
};

struct vprobe_notice {
	__le32 event;
	__le32 reserved;	/* 0 */
};

struct vprobe_reply {
	/*
	 * 0, or a positive errno. Worth another try in a while: EBUSY (too many
	 * requests or connections), EAGAIN (the VMM or the host is busy), ESTALE
	 * (the VM was reset since), ENOMEM, ENOSPC; as soon as the operator has done
	 * something: ENOENT (no VM is attached), EEXIST (it is not clear which).
	 */
	__le32 status;
	__le32 text_len;	/* bytes of UTF-8 that follow, no NUL */
};

#endif
