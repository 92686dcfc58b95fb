// SPDX-License-Identifier: GPL-2.0-only
/*
 * The raw system calls: libcap may spread a change over all threads, and that
 * is just what must not happen here.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "caps.h"
#include "log.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/*
 * In use all the time: ioctls and BTF, looking at VMMs of other users and
 * duplicating their file descriptors, ending a talker, which is another user's
 * process.
 */
#define CAPS_NORMAL	(BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_PTRACE) | \
			 BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_KILL))
/* To make a talker without any. */
#define CAPS_TALKER	(BIT(CAP_SETUID) | BIT(CAP_SETGID) | \
			 BIT(CAP_SYS_CHROOT))
#define CAPS_NEEDED	(BIT(CAP_SYS_ADMIN) | BIT(CAP_BPF))

static int get_caps(uint64_t *effective, uint64_t *permitted)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &hdr, data))
		return -errno;
	*effective = data[0].effective | (uint64_t)data[1].effective << 32;
	*permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

static int set_caps(uint64_t effective, uint64_t permitted)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)effective,
		  .permitted = (uint32_t)permitted },
		{ .effective = (uint32_t)(effective >> 32),
		  .permitted = (uint32_t)(permitted >> 32) },
	};

	return syscall(SYS_capset, &hdr, data) ? -errno : 0;
}

int caps_limit(void)
{
	uint64_t effective = 0, permitted = 0;
	int ret;

	ret = get_caps(&effective, &permitted);
	if (!ret && (permitted & CAPS_NEEDED) != CAPS_NEEDED) {
		log_msg(LOG_ERR,
			"no permission: vprobed needs CAP_SYS_ADMIN (for /dev/vprobe) and CAP_BPF (to load helpers); run it as root");
		return -EPERM;
	}
	permitted &= CAPS_NORMAL | CAPS_TALKER | BIT(CAP_BPF);
	if (!ret)
		ret = set_caps(permitted & CAPS_NORMAL, permitted);
	if (ret)
		log_msg(LOG_ERR, "cannot limit capabilities: %s",
			strerror(-ret));
	return ret;
}

int caps_bpf_only(void)
{
	uint64_t effective = 0, permitted = 0;
	int ret;

	ret = get_caps(&effective, &permitted);
	if (!ret)
		ret = set_caps(BIT(CAP_BPF), permitted);
	if (!ret)
		ret = get_caps(&effective, &permitted);
	if (!ret && effective != BIT(CAP_BPF))
		ret = -EPERM;
	return ret;
}

int caps_normal(void)
{
	uint64_t effective = 0, permitted = 0;
	int ret;

	ret = get_caps(&effective, &permitted);
	if (ret)
		return ret;
	return set_caps(permitted & CAPS_NORMAL, permitted);
}
