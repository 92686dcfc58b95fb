/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a helper program and the host agree on.
 *
 * A helper is a BPF_PROG_TYPE_SYSCALL program that a guest ships. The host
 * runs it over a range of guest-physical memory; it reports the free blocks
 * that start in the range. It runs in a sleepable context, with migration
 * disabled, on no particular CPU. It can read its own guest's memory and its
 * own layout blob, and nothing else. It is one function: what it calls of its own
 * has to be inlined, the host admits no such calls.
 *
 * On the wire a call to the host is a BPF_PSEUDO_KFUNC_CALL instruction whose
 * immediate is one of enum vprobe_call and whose offset is zero; the host
 * rewrites it to the BTF id of the kfunc of the same name.
 */
#ifndef VPROBE_HELPER_H
#define VPROBE_HELPER_H

/*
 * int vprobe_read(void *dst, __u32 dst__sz, __u64 gpa);
 *	Copies dst__sz bytes (at most 4096, within one 4 KiB page) of guest
 *	memory. 0, or -EFAULT if there is no such memory or it is not resident
 *	(holes are not), -EINVAL if it crosses a page.
 *
 * const __u8 *vprobe_window(__u64 gpa, const __u32 rdonly_buf_size);
 *	A read-only window on guest memory, within one 4 KiB page, valid until
 *	the program returns. NULL where vprobe_read() would fail, and after
 *	VPROBE_WINDOWS_MAX windows.
 *
 * const __u8 *vprobe_layout(const __u32 rdonly_buf_size);
 *	The layout blob; NULL if it is shorter than the constant asked for.
 *
 * int vprobe_report(__u64 gpa, __u32 order, __u64 watch_gpa);
 *	Block of 2^order 4 KiB pages at gpa is free, and any use of it starts
 *	with a write to the 4 KiB page that holds watch_gpa. 0; -EINVAL if
 *	misaligned, out of order, not within the range asked for, or of an
 *	order above 13 (32 MiB), which counts as a bad report; -ENOSPC if
 *	the run's results are full (return then, with ctx->next = gpa).
 */
enum vprobe_call {
	VPROBE_CALL_READ	= 1,
	VPROBE_CALL_WINDOW	= 2,
	VPROBE_CALL_LAYOUT	= 3,
	VPROBE_CALL_REPORT	= 4,
	__VPROBE_CALL_MAX,
};

#define VPROBE_WINDOWS_MAX	1024
/* Results of one run. */
#define VPROBE_REPORTS_MAX	1024

/**
 * struct vprobe_helper_ctx - what one run is asked
 * @start: first guest-physical address of the range, block aligned
 * @end: first address behind it
 * @next: out: where the next run shall start; greater than @start (a helper
 *	may stop early to keep its loops short), or @end when done
 * @min_order: blocks of a smaller order need not be reported
 *
 * The program returns 0, or a negative errno. The host gives up on a helper
 * that returns an error or does not advance.
 */
struct vprobe_helper_ctx {
	__u64 start;
	__u64 end;
	__u64 next;
	__u32 min_order;
	__u32 reserved;
};

#endif
