/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The interface of /dev/vprobe.
 *
 * Every call needs CAP_SYS_ADMIN. Every structure starts with its own size:
 * a caller sets it to sizeof() of what it was compiled with, the module
 * refuses a smaller structure than version 1 had and ignores what it does not
 * know only if that is zero (the rule of copy_struct_from_user()).
 *
 * A failing call returns an errno and, where the structure has a @reason,
 * sets it to an enum vprobe_reason: the errno is for programs, the reason is
 * for the sentence that user space prints.
 */
#ifndef _UAPI_LINUX_VPROBE_H
#define _UAPI_LINUX_VPROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VPROBE_API_VERSION	1
#define VPROBE_MAX_IOMMUFDS	8
#define VPROBE_NAME_LEN		32
/* Largest layout blob of a helper, in bytes. */
#define VPROBE_LAYOUT_MAX	4096
#define VPROBE_ORDER_MIN	4	/* 64 KiB with 4 KiB pages */
#define VPROBE_ORDER_MAX	13	/* 32 MiB */
#define VPROBE_FILL_BUCKETS	24
#define VPROBE_WHY_LEN		128

enum vprobe_reason {
	VPROBE_REASON_NONE = 0,
	/* attach */
	VPROBE_REASON_NOT_KVM,		/* kvm_fd is not a KVM virtual machine */
	VPROBE_REASON_NOT_IOMMUFD,	/* one of iommufds[] is not an iommufd */
	VPROBE_REASON_ATTACHED,		/* this VM is attached already */
	VPROBE_REASON_RAM_NOT_MEMFD,	/* no guest RAM in a shared memfd */
	VPROBE_REASON_IOPTE_UNBOUNDED,	/* IOPTEs may exceed the granule */
	VPROBE_REASON_CONFIDENTIAL,	/* SEV (not by KVM_SEV_INIT), SNP, TDX */
	VPROBE_REASON_GRANULE,		/* granule_shift out of range */
	VPROBE_REASON_DYING,		/* the VMM exits, or closed the VM */
	VPROBE_REASON_NO_MEMORY,
	/* one block, while reclaiming; with NO_MEMORY and BUSY, refused[] */
	VPROBE_REASON_PINNED,		/* somebody else holds a DMA pin */
	VPROBE_REASON_RACED,		/* no longer free when asked again */
	VPROBE_REASON_BAD_REPORT,	/* misaligned, overlaps, or watch in it */
	VPROBE_REASON_NOT_BACKED,	/* no (single) memfd behind the block */
	VPROBE_REASON_IOMMU,		/* iommufd refused the punch */
	VPROBE_REASON_WATCH,		/* the watch could not be armed */
	VPROBE_REASON_STRADDLE,		/* a large folio reaches out of it */
	/* helper, reclaim */
	VPROBE_REASON_NO_HELPER,	/* the guest registered none */
	VPROBE_REASON_HELPER_BAD,	/* not a vprobe helper program */
	VPROBE_REASON_HELPER_FAILED,	/* it returned an error or looped */
	VPROBE_REASON_STOPPED,		/* a fill hit its limit */
	VPROBE_REASON_BUSY,		/* a fail-safe runs, or the VMM maps */
	VPROBE_REASON_NO_VM,		/* no attached VM has this id */
	VPROBE_REASON_QUARANTINED,	/* no helper: see quarantine_why */
	VPROBE_REASON_RESET,		/* the helper was lost since as_of_ns */
	__VPROBE_REASON_MAX,
};

enum vprobe_block_state {
	VPROBE_BLOCK_FREE = 0,		/* reported free, not taken */
	VPROBE_BLOCK_WATCHED,
	VPROBE_BLOCK_RECLAIMING,
	VPROBE_BLOCK_HOLE,
	VPROBE_BLOCK_FILLING,
};

enum vprobe_vm_state {
	VPROBE_VM_NO_HELPER = 0,	/* attached, nothing to ask */
	VPROBE_VM_READY,
	VPROBE_VM_STOPPED,		/* a fill hit its limit; vCPUs stopped */
	VPROBE_VM_DYING,		/* the VMM is exiting */
	VPROBE_VM_QUARANTINED,		/* it may not have a helper */
};

struct vprobe_info {
	__u32 size;
	__u32 version;			/* VPROBE_API_VERSION */
	__u32 nr_vms;
	__u32 reserved;
};

#define VPROBE_ATTACH_STRAY_FAULT	(1U << 0) /* default: absorb */

/* A pass may keep a vCPU waiting for a good part of that; ms */
#define VPROBE_FILL_TIMEOUT_MIN	1000

/**
 * struct vprobe_attach - attach a virtual machine
 * @kvm_fd: file descriptor of the VM, in the caller
 * @nr_iommufds: how many of @iommufds are used
 * @iommufds: every iommufd that maps this VM's memory
 * @pid: process id of the VMM as the caller sees it, kept as a label; stat says how
 *	its caller sees it
 * @cid: the VM's vsock context id, kept as a label; 0 if it has none
 * @granule_shift: log2 of the reclaim granule in bytes; 0 means 21
 * @fill_timeout_ms: how long a vCPU may wait for a block, at least
 *	VPROBE_FILL_TIMEOUT_MIN; 0 means 10000. Ten times as long if it is the
 *	VMM that keeps it from coming
 * @name: label, NUL-terminated
 * @id: out: the id that the other calls take
 * @reason: out: enum vprobe_reason
 */
struct vprobe_attach {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__u32 nr_iommufds;
	__s32 iommufds[VPROBE_MAX_IOMMUFDS];
	__u32 pid;
	__u32 cid;
	__u32 granule_shift;
	__u32 fill_timeout_ms;
	char  name[VPROBE_NAME_LEN];
	__u64 id;
	__u32 reason;
	__u32 reserved;
};

/*
 * Fills every hole, drops every watch, forgets the VM. ENOENT: no such VM; ENOMEM,
 * EFAULT (the VMM has something else mapped) or EBUSY if a block did not come back
 * in time: the VM stays attached; EINTR on a fatal signal.
 */
struct vprobe_detach {
	__u32 size;
	__u32 reason;
	__u64 id;
};

struct vprobe_list {
	__u32 size;
	__u32 nr;	/* in: room in @ids, at most 4096; out: how many VMs */
	__u64 ids;	/* pointer to __u64[] */
};

/**
 * struct vprobe_set_helper - replace a VM's helper and layout as a whole
 * @prog_fd: a BPF_PROG_TYPE_SYSCALL program, or -1 to remove the helper (every
 *	hole is filled first)
 * @layout: pointer to the layout blob, opaque to the host
 * @layout_len: its length in bytes, at most VPROBE_LAYOUT_MAX
 * @as_of_ns: CLOCK_BOOTTIME when the guest's kernel that registered it was alive:
 *	refused with ESTALE if the guest was reset, or its helper taken away, since,
 *	in this attachment or an earlier one; 0: whenever
 */
struct vprobe_set_helper {
	__u32 size;
	__u32 reason;
	__u64 id;
	__s32 prog_fd;
	__u32 layout_len;
	__u64 layout;
	__u64 as_of_ns;
};

/**
 * struct vprobe_reclaim - take free memory back, now
 * @target: bytes wanted; ~0 means all that is free
 * @taken: out: bytes taken by this call
 * @blocks: out: blocks taken by this call
 * @reported: out: bytes that the helper reported free, holes excluded
 * @ns: out: how long it took
 *
 * The out fields are set in any case. Interruptible: a signal ends the pass after
 * the current batch, with -EINTR. Who wants memory back ends it, too, and so does a
 * VMM that changes its memory slots: then this succeeds, with @taken less than
 * @target and @reason BUSY.
 */
struct vprobe_reclaim {
	__u32 size;
	__u32 reason;
	__u64 id;
	__u64 target;
	__u64 taken;
	__u64 blocks;
	__u64 reported;
	__u64 ns;
};

/*
 * Give memory back to the guest now: @target bytes at least, ~0 for all. Ends at the
 * first block that does not come, with @filled set: ENOENT, ENOMEM, EFAULT, EBUSY, EINTR
 * as for a detach.
 */
struct vprobe_fill {
	__u32 size;
	__u32 reason;
	__u64 id;
	__u64 target;
	__u64 filled;	/* out: bytes */
};

struct vprobe_block {
	__u64 gpa;
	__u64 watch_gpa;
	__u32 order;	/* log2 of its size in 4 KiB pages */
	__u32 state;	/* enum vprobe_block_state */
};

/**
 * struct vprobe_map - the blocks of a VM, sorted by address
 * @blocks: pointer to struct vprobe_block[]
 * @nr: in: room in @blocks; out: how many there are, even if more than room
 * @flags: VPROBE_MAP_ASK also runs the helper and lists what it reports free
 *
 * ENOENT: no such VM; EBUSY: somebody else wants to take memory, or gives it back, so
 * the list ended early; with VPROBE_MAP_ASK as for a reclaim; ENOMEM, EINTR.
 */
#define VPROBE_MAP_ASK	(1U << 0)
struct vprobe_map {
	__u32 size;
	__u32 reason;
	__u64 id;
	__u64 blocks;
	__u32 nr;
	__u32 flags;
};

/* All counters count from the attach on. */
struct vprobe_stat {
	__u32 size;
	__u32 reason;
	__u64 id;		/* in */
	__u32 pid;
	__u32 cid;
	__u32 state;		/* enum vprobe_vm_state */
	__u32 flags;		/* VPROBE_ATTACH_* */
	__u32 granule_shift;
	__u32 nr_iommufds;
	__u32 fill_timeout_ms;
	__u32 stop_reason;	/* errno of the fill that stopped the VM */
	char  name[VPROBE_NAME_LEN];
	__u64 ram_bytes;	/* guest memory that could be reclaimed */
	__u64 holes;		/* blocks that are holes now */
	__u64 hole_bytes;
	__u64 watches;		/* watches armed now */
	__u64 taken_bytes;
	__u64 taken_blocks;
	__u64 armed;		/* watches armed, ever */
	__u64 fired;		/* ... that a guest write fired */
	__u64 fired_idle;	/* ... fired and found free again on a later pass */
	__u64 fills;		/* blocks filled, whoever asked */
	__u64 fill_bytes;
	__u64 fills_vcpu;	/* ... inside a vCPU's fault */
	__u64 fills_read;	/* ... because of a mere read of a hole */
	__u64 fills_undo;	/* ... because a punch was abandoned */
	__u64 fill_waits;	/* a fill had to wait, for memory or EFAULT */
	__u64 fill_timeouts;
	__u64 failsafes;	/* all holes filled: the guest kernel is gone */
	__u64 repopulated;	/* holes that somebody else put a page into */
	__u64 emulated;		/* writes to watched pages that KVM emulated */
	__u64 passes;
	__u64 helper_runs;
	__u64 helper_ns;
	__u64 helper_errors;
	__u64 tlb_flushes;	/* batches of watches, one EPT flush each */
	__u64 iotlb_flushes;
	__u64 has_helper;	/* 1: the guest has registered one */
	__u64 demand_bytes;	/* of fills_vcpu */
	__u64 free_bytes;	/* free but not taken, when last counted */
	__u64 policy_id;	/* that decides; 0: the built-in one */
	__u64 longest_wait_ms;	/* of a fill that did not time out */
	__u64 refused[32];	/* by enum vprobe_reason */
	/*
	 * [i] counts fills that took from 2^i to 2^(i+1)-1 microseconds; [0]
	 * also those below, the last also those above.
	 */
	__u64 fill_us[VPROBE_FILL_BUCKETS];
	__u64 failsafe_writes;	/* failsafes because of a write to a hole */
	char  quarantine_why[VPROBE_WHY_LEN];	/* "": not in quarantine */
};

enum vprobe_policy_state {
	VPROBE_POLICY_STATE_READY = 0,	/* it may drive VMs */
	VPROBE_POLICY_STATE_EVICTED,	/* it may not any more, see @why */
	VPROBE_POLICY_STATE_GONE,	/* ... and is not registered any more */
};

/* One policy; @why is a sentence for the operator. */
struct vprobe_policy_info {
	__u64 id;		/* grows with each registration */
	__u64 vm_id;		/* the only VM that it is for, or 0 */
	__u32 state;		/* enum vprobe_policy_state */
	__u32 reserved;
	__u64 calls;		/* of its programs */
	__u64 ns;		/* that they took */
	char  name[VPROBE_NAME_LEN];
	char  why[128];
};

/* The registered ones, newest first, then the last ones that were evicted. */
struct vprobe_policies {
	__u32 size;
	__u32 nr;		/* in: room in @policies; out: how many there are */
	__u64 policies;		/* pointer to struct vprobe_policy_info[] */
};

/* Tell policies of memory pressure, and have all of them look now. */
struct vprobe_pressure {
	__u32 size;
	__u32 pressure;		/* part of the last 10 s, in 1/100 % */
};

#define VPROBE_QUARANTINE_ON	(1U << 0)

/**
 * struct vprobe_quarantine - take a VM's helper away and accept no other
 * @flags: VPROBE_QUARANTINE_ON; without it the quarantine ends, and the guest may
 *	register again
 * @why: a sentence for the operator, NUL-terminated, not empty; ignored without
 *	VPROBE_QUARANTINE_ON
 *
 * Every hole is filled. If that fails, the quarantine is on nevertheless, and the
 * guest gets what is left as it wants it. It ends with the attachment, too.
 */
struct vprobe_quarantine {
	__u32 size;
	__u32 reason;
	__u64 id;
	__u32 flags;
	__u32 reserved;
	char  why[VPROBE_WHY_LEN];
};

/*
 * poll() reports EPOLLIN when a VM was attached or detached since the last
 * read(), which returns a __u64 that grows with each such change.
 */

#define VPROBE_IOC_MAGIC	0xB7
#define VPROBE_IOC_INFO		_IOWR(VPROBE_IOC_MAGIC, 0x00, struct vprobe_info)
#define VPROBE_IOC_ATTACH	_IOWR(VPROBE_IOC_MAGIC, 0x01, struct vprobe_attach)
#define VPROBE_IOC_DETACH	_IOWR(VPROBE_IOC_MAGIC, 0x02, struct vprobe_detach)
#define VPROBE_IOC_LIST		_IOWR(VPROBE_IOC_MAGIC, 0x03, struct vprobe_list)
#define VPROBE_IOC_SET_HELPER	_IOWR(VPROBE_IOC_MAGIC, 0x04, struct vprobe_set_helper)
#define VPROBE_IOC_RECLAIM	_IOWR(VPROBE_IOC_MAGIC, 0x05, struct vprobe_reclaim)
#define VPROBE_IOC_FILL		_IOWR(VPROBE_IOC_MAGIC, 0x06, struct vprobe_fill)
#define VPROBE_IOC_MAP		_IOWR(VPROBE_IOC_MAGIC, 0x07, struct vprobe_map)
#define VPROBE_IOC_STAT		_IOWR(VPROBE_IOC_MAGIC, 0x08, struct vprobe_stat)
#define VPROBE_IOC_POLICIES	_IOWR(VPROBE_IOC_MAGIC, 0x09, struct vprobe_policies)
#define VPROBE_IOC_PRESSURE	_IOWR(VPROBE_IOC_MAGIC, 0x0a, struct vprobe_pressure)
#define VPROBE_IOC_QUARANTINE	_IOWR(VPROBE_IOC_MAGIC, 0x0b, struct vprobe_quarantine)

#endif
