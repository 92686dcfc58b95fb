// SPDX-License-Identifier: GPL-2.0-only
/*
 * The talker parses what guests send. When this is done it has an empty root
 * directory that is already deleted, no capability and no way to get one, a
 * user of its own, and the system calls that its loop needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "array.h"
#include "log.h"
#include "sandbox.h"

/* Connections, and a few for the talker itself. */
#define NR_FILES 96

static int failed(const char *what)
{
	int e = errno;

	log_msg(LOG_ERR, "cannot confine the talker: %s: %s", what,
		strerror(e));
	return e ? -e : -EPERM;
}

static int enter_empty_root(const char *dir)
{
	char path[PATH_MAX];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/vprobed.XXXXXX", dir);
	if (!mkdtemp(path))
		return failed(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rmdir(path) || fd < 0 || fchdir(fd) || chroot(".") || chdir("/"))
		ret = failed("chroot");
	if (fd >= 0)
		close(fd);
	return ret;
}

static int limit(int resource, rlim_t max)
{
	const struct rlimit lim = { .rlim_cur = max, .rlim_max = max };

	return setrlimit((__rlimit_resource_t)resource, &lim);
}

static int drop_user(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) ||
	    setresuid(uid, uid, uid))
		return failed("setresuid");
	if (!setresuid(0, 0, 0))
		return failed("root did not go away");
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capset, &hdr, data))
		return failed("capset");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return failed("PR_CAP_AMBIENT");
	return 0;
}

static int add_rules(scmp_filter_ctx ctx)
{
	static const int allowed[] = {
		SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close),
		SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
		SCMP_SYS(sendto), SCMP_SYS(sendmsg),
		SCMP_SYS(accept4), SCMP_SYS(getsockname), SCMP_SYS(shutdown),
		SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
		SCMP_SYS(epoll_ctl), SCMP_SYS(clock_gettime),
		SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(madvise),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
		SCMP_SYS(exit), SCMP_SYS(exit_group),
	};
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(allowed); i++) {
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
		if (ret)
			return ret;
	}
	/* Memory for malloc(): anonymous, never executable. */
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
}

static int confine_syscalls(void)
{
	const uint32_t kill = SECCOMP_RET_KILL_PROCESS;
	scmp_filter_ctx ctx;
	int ret;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill)) {
		log_msg(LOG_ERR,
			"cannot confine the talker: this kernel does not filter system calls; build it with CONFIG_SECCOMP_FILTER, or do without that part of the confinement (--no-seccomp)");
		return -EOPNOTSUPP;
	}
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!ctx) {
		errno = ENOMEM;
		return failed("seccomp");
	}
	ret = add_rules(ctx);
	if (!ret)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	if (ret) {
		errno = -ret;
		return failed("seccomp");
	}
	return 0;
}

int sandbox_enter(const char *dir, uid_t uid, gid_t gid, bool filter)
{
	int ret;

	if (!geteuid()) {
		ret = enter_empty_root(dir);
		if (!ret)
			ret = drop_user(uid, gid);
		if (ret)
			return ret;
	}
	ret = drop_capabilities();
	if (ret)
		return ret;
	/* Changing the user cleared it: with the loader goes the talker. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return failed("PR_SET_PDEATHSIG");
	/* Not RLIMIT_FSIZE: the log may be a file, and is the only one. */
	if (limit(RLIMIT_CORE, 0) || limit(RLIMIT_NPROC, 0) ||
	    limit(RLIMIT_NOFILE, NR_FILES))
		return failed("setrlimit");
	if (prctl(PR_SET_DUMPABLE, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return failed("prctl");
	return filter ? confine_syscalls() : 0;
}
