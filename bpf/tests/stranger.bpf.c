// SPDX-License-Identifier: GPL-2.0-only
/*
 * Not a helper in a run of the module's, but a program that root runs by itself: the
 * kfuncs have no guest for it. Returns 0, or the number of one that did answer.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>

extern int vprobe_read(void *dst, __u32 dst__sz, __u64 gpa) __ksym;
extern const __u8 *vprobe_window(__u64 gpa, const __u32 rdonly_buf_size) __ksym;
extern const __u8 *vprobe_layout(const __u32 rdonly_buf_size) __ksym;
extern int vprobe_report(__u64 gpa, __u32 order, __u64 watch_gpa) __ksym;

SEC("syscall")
int stranger(void *ctx)
{
	__u64 word = 0;

	(void)ctx;
	if (vprobe_read(&word, sizeof(word), 0x100000) != -EPERM)
		return 1;
	if (vprobe_window(0x100000, sizeof(word)))
		return 2;
	if (vprobe_layout(sizeof(word)))
		return 3;
	if (vprobe_report(0x200000, 9, 0x1000) != -EPERM)
		return 4;
	return 0;
}

char _license[] SEC("license") = "GPL";
