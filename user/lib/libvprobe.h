/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvprobe: talk to /dev/vprobe, and find what it wants to know about a
 * virtual machine monitor.
 *
 * No function keeps state between calls, prints, or exits. Every function
 * that can fail returns 0 (or a file descriptor) or a negative errno, and
 * fills @err, which may be NULL, with a sentence for a person: what failed, on
 * what, and what to change.
 */
#ifndef LIBVPROBE_H
#define LIBVPROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vprobe.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VPROBE_DEVICE	"/dev/vprobe"
#define VPROBE_ALL	UINT64_MAX

/**
 * struct vprobe_error - why a call failed
 * @code: negative errno, what the call returned
 * @reason: enum vprobe_reason, VPROBE_REASON_NONE if the module gave none
 * @text: the sentence, without a full stop or a newline at its end
 */
struct vprobe_error {
	int code;
	unsigned int reason;
	char text[512];
};

/**
 * vprobe_error_set() - fill an error by hand
 * @err: may be NULL
 * @code: negative errno
 * @fmt: printf format of the sentence
 *
 * Return: @code
 */
int vprobe_error_set(struct vprobe_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * vprobe_open() - open /dev/vprobe
 * @err: why not
 *
 * Checks that the module speaks this library's version of the interface.
 *
 * Return: a close-on-exec file descriptor, -ENOENT if the module is not
 * loaded, -EACCES or -EPERM without the right, -EPROTO for another version.
 */
int vprobe_open(struct vprobe_error *err);

/*
 * One wrapper per ioctl. The caller fills the structure's input fields; the
 * wrappers set @size themselves. @dev is what vprobe_open() returned.
 */
int vprobe_dev_info(int dev, struct vprobe_info *info,
		    struct vprobe_error *err);
int vprobe_dev_attach(int dev, struct vprobe_attach *req,
		      struct vprobe_error *err);
int vprobe_dev_detach(int dev, uint64_t id, struct vprobe_error *err);
int vprobe_dev_set_helper(int dev, uint64_t id, int prog_fd,
			  const void *layout, size_t layout_len,
			  uint64_t as_of_ns, struct vprobe_error *err);
/* On -EINTR the out fields of @req are valid. */
int vprobe_dev_reclaim(int dev, struct vprobe_reclaim *req,
		       struct vprobe_error *err);
int vprobe_dev_fill(int dev, struct vprobe_fill *req,
		    struct vprobe_error *err);
int vprobe_dev_stat(int dev, uint64_t id, struct vprobe_stat *stat,
		    struct vprobe_error *err);

/**
 * vprobe_dev_quarantine() - take a VM's helper away and accept no other
 * @dev: device
 * @id: VM
 * @why: a sentence of less than VPROBE_WHY_LEN bytes; NULL ends the quarantine
 * @err: why not
 *
 * Return: 0; a negative errno. With -ENOMEM, -EFAULT and -EBUSY the quarantine is
 * on, but not everything was given back.
 */
int vprobe_dev_quarantine(int dev, uint64_t id, const char *why,
			  struct vprobe_error *err);

/**
 * vprobe_dev_list() - ids of all attached VMs
 * @dev: device
 * @ids: out: allocated array, to be freed by the caller; NULL if there is none
 * @nr: out: its length
 * @err: why not
 *
 * Return: 0 or a negative errno
 */
int vprobe_dev_list(int dev, uint64_t **ids, size_t *nr,
		    struct vprobe_error *err);

/**
 * vprobe_dev_stat_all() - the counters of all attached VMs
 * @dev: device
 * @stats: out: allocated array, to be freed by the caller
 * @nr: out: its length; a VM that goes meanwhile is left out
 * @err: why not
 *
 * Return: 0 or a negative errno
 */
int vprobe_dev_stat_all(int dev, struct vprobe_stat **stats, size_t *nr,
			struct vprobe_error *err);

/**
 * vprobe_dev_policies() - the registered policies, and evicted ones
 * @dev: device
 * @policies: out: allocated array, to be freed by the caller
 * @nr: out: its length
 * @err: why not
 *
 * Return: 0 or a negative errno
 */
int vprobe_dev_policies(int dev, struct vprobe_policy_info **policies,
			size_t *nr, struct vprobe_error *err);

/* Tell policies of memory pressure: see struct vprobe_pressure. */
int vprobe_dev_pressure(int dev, unsigned int pressure,
			struct vprobe_error *err);

/**
 * vprobe_dev_map() - the blocks of a VM, sorted by address
 * @dev: device
 * @id: VM
 * @flags: VPROBE_MAP_ASK or 0
 * @blocks: out: allocated array, to be freed by the caller
 * @nr: out: its length
 * @err: why not
 *
 * Return: 0 or a negative errno
 */
int vprobe_dev_map(int dev, uint64_t id, unsigned int flags,
		   struct vprobe_block **blocks, size_t *nr,
		   struct vprobe_error *err);

/**
 * vprobe_is_name() - whether an operator can mean a VM by this name
 * @text: the name
 *
 * Return: false if it is empty, "all", or what is taken for an id or a process.
 */
bool vprobe_is_name(const char *text);

/**
 * vprobe_find_vm() - the attached VM that an operator means
 * @dev: device
 * @spec: "3" or "id:3" (id), "pid:1234", or a name
 * @stat: out: its counters; may be NULL
 * @err: why not
 *
 * Return: 0; -ENOENT if there is none, -EEXIST if a name is ambiguous,
 * -EINVAL if @spec does not parse.
 */
int vprobe_find_vm(int dev, const char *spec, struct vprobe_stat *stat,
		   struct vprobe_error *err);

/**
 * vprobe_reason_name() - a short name for scripts, "pinned"
 * @reason: enum vprobe_reason
 *
 * Return: never NULL; "unknown" for a reason of a newer module
 */
const char *vprobe_reason_name(unsigned int reason);

/**
 * vprobe_reason_text() - what is wrong, and what to change
 * @reason: enum vprobe_reason
 *
 * Return: never NULL
 */
const char *vprobe_reason_text(unsigned int reason);

const char *vprobe_vm_state_name(unsigned int state);
const char *vprobe_block_state_name(unsigned int state);

/**
 * vprobe_parse_size() - "512M", "1.5G", "4096" (bytes) or "all"
 * @text: what the operator wrote; suffixes K, M, G, T, powers of 1024, may be
 *	followed by "iB"
 * @bytes: out: bytes, or VPROBE_ALL
 *
 * Return: 0, -EINVAL if @text is no size, -ERANGE if it is zero or too large
 */
int vprobe_parse_size(const char *text, uint64_t *bytes);

/**
 * vprobe_parse_granule() - a power of two from 64K to 32M
 * @text: as for vprobe_parse_size()
 * @shift: out: log2 of it
 *
 * Return: 0, -EINVAL if @text is something else
 */
int vprobe_parse_granule(const char *text, unsigned int *shift);

/**
 * struct vprobe_vmm - a virtual machine monitor's file descriptors, duplicated
 * @pid: its process id
 * @kvm_fd: its VM, or -1
 * @nr_iommufds: how many of @iommufds are used
 * @iommufds: every iommufd that it has open
 * @cid: vsock context id from its command line, 0 if there is none
 * @name: name from its command line, "" if there is none
 */
struct vprobe_vmm {
	pid_t pid;
	int kvm_fd;
	unsigned int nr_iommufds;
	int iommufds[VPROBE_MAX_IOMMUFDS];
	uint32_t cid;
	char name[VPROBE_NAME_LEN];
};

/**
 * vprobe_vmm_open() - duplicate the file descriptors of a VMM
 * @pid: process id
 * @vmm: out: to be closed with vprobe_vmm_close()
 * @err: why not
 *
 * The VMM is not stopped, traced or changed. Needs the right to ptrace it.
 *
 * Return: 0; -ESRCH if there is no such process, -ENOTTY if it has no VM,
 * -EMFILE if it has more than one, -E2BIG if it has more than
 * VPROBE_MAX_IOMMUFDS iommufds, -EBUSY if it has a legacy VFIO container,
 * -EACCES or -EPERM without the right to look.
 */
int vprobe_vmm_open(pid_t pid, struct vprobe_vmm *vmm,
		    struct vprobe_error *err);
void vprobe_vmm_close(struct vprobe_vmm *vmm);

/**
 * struct vprobe_attach_options - how to attach; zeroed: as is usual
 * @stray_fault: what a device meets in a hole is an IOMMU fault, not scrap memory
 * @granule_shift: see struct vprobe_attach
 * @fill_timeout_ms: likewise
 * @cid: the VM's vsock context id; 0: that of the command line
 * @name: what to call it; NULL: as on the command line, or "vm-PID"
 */
struct vprobe_attach_options {
	bool stray_fault;
	unsigned int granule_shift;
	uint32_t fill_timeout_ms;
	uint32_t cid;
	const char *name;
};

/**
 * vprobe_attach_process() - attach the VM that a process runs
 * @dev: device
 * @pid: process id
 * @pidfd: refers to the process that is meant, or -1: whichever has @pid
 * @opt: how
 * @req: out: what the module was asked for, with the id of the VM
 * @err: why not
 *
 * vprobe_vmm_open() and vprobe_dev_attach().
 *
 * Return: 0; -ESRCH also if the process of @pidfd has exited, -EINVAL also if
 * @opt->cid is not the one on the command line; what those two return
 */
int vprobe_attach_process(int dev, pid_t pid, int pidfd,
			  const struct vprobe_attach_options *opt,
			  struct vprobe_attach *req, struct vprobe_error *err);

/**
 * vprobe_vmm_by_cid() - the running VMM that owns a vsock context id
 * @cid: greater than 2
 * @pidfd: out: refers to the VMM, becomes readable when it exits
 * @start_ns: out: when it was started, CLOCK_BOOTTIME, rounded up to a tick
 * @err: why not
 *
 * Looks at the command line of every process that has a KVM VM and a vhost-vsock device
 * open; for 10 s at most.
 *
 * Return: its pid; -ESRCH if there is none, -EEXIST if several claim it, -EAGAIN if there
 * was too much to look at
 */
pid_t vprobe_vmm_by_cid(uint32_t cid, int *pidfd, uint64_t *start_ns,
			struct vprobe_error *err);

/**
 * vprobe_process_open() - a process, and when it was started
 * @pid: process id
 * @start_ns: out: CLOCK_BOOTTIME, rounded up to a tick
 * @err: why not
 *
 * Return: a pidfd, or a negative errno
 */
int vprobe_process_open(pid_t pid, uint64_t *start_ns,
			struct vprobe_error *err);

/**
 * vprobe_cmdline_cid() - the vsock context id in a QEMU command line
 * @args: as in /proc/PID/cmdline: strings, each with its NUL
 * @len: bytes
 *
 * Return: the id, 0 if there is none or more than one
 */
uint32_t vprobe_cmdline_cid(const char *args, size_t len);

/**
 * vprobe_cmdline_name() - the VM's name in a QEMU command line
 * @args: as in /proc/PID/cmdline
 * @len: bytes
 * @name: out: VPROBE_NAME_LEN bytes, cut if longer, "" if there is none
 */
void vprobe_cmdline_name(const char *args, size_t len, char *name);

#ifdef __cplusplus
}
#endif

#endif
