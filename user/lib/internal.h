/* SPDX-License-Identifier: GPL-2.0-only */
/* Shared between the files of libvprobe, and with its tests. */
#ifndef VPROBE_INTERNAL_H
#define VPROBE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* What a link in /proc/PID/fd leads to. */
enum fd_kind {
	FD_OTHER,
	FD_KVM_VM,
	FD_IOMMUFD,
	FD_VFIO_LEGACY,
	FD_VHOST_VSOCK,
};

/**
 * fd_classify() - what an open file is
 * @link: text of the link
 * @chardev: whether the file is a character device
 */
enum fd_kind fd_classify(const char *link, bool chardev);

#pragma GCC visibility pop

#endif
