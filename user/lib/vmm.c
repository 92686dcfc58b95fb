// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VMM has open. Everything is read from /proc and duplicated with
 * pidfd_getfd(), so an unmodified VMM will do. The pidfd is opened first: what
 * is read after that is about the process that it refers to, or the
 * duplication fails with ESRCH.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "libvprobe.h"

/* More of a command line is not looked at. */
#define CMDLINE_MAX (128 * 1024)
/*
 * How long the search for a VMM may take. Anybody may have many processes share a table
 * of half a million files, each of which has to be looked at.
 */
#define SCAN_MS 10000

/* Of a link in /proc/PID/fd; the file itself may have been removed since. */
static bool ends_with(const char *link, const char *tail)
{
	static const char gone[] = " (deleted)";
	size_t n = strlen(link), t = strlen(tail), g = sizeof(gone) - 1;

	if (n >= g && !strcmp(link + n - g, gone))
		n -= g;
	return n >= t && !memcmp(link + n - t, tail, t);
}

enum fd_kind fd_classify(const char *link, bool chardev)
{
	if (!strcmp(link, "anon_inode:kvm-vm"))
		return FD_KVM_VM;
	/*
	 * Only the end is compared: seen from outside the mount namespace that
	 * libvirt gives a VMM, the path may lack its "/dev".
	 */
	if (!chardev)
		return FD_OTHER;
	if (ends_with(link, "/vfio/vfio"))
		return FD_VFIO_LEGACY;
	if (ends_with(link, "/iommu"))
		return FD_IOMMUFD;
	if (ends_with(link, "/vhost-vsock"))
		return FD_VHOST_VSOCK;
	return FD_OTHER;
}

/* Returns 0 with *kind, or a negative errno if it may not be looked at. */
static int fd_kind_at(int dir, const char *name, enum fd_kind *kind)
{
	char link[256];
	struct statx st = { 0 };
	ssize_t n;

	*kind = FD_OTHER;
	n = readlinkat(dir, name, link, sizeof(link) - 1);
	if (n < 0)
		return errno == EACCES || errno == EPERM ? -errno : 0;
	link[n] = '\0';
	/*
	 * Only what has the right name is looked at, and its file system is not
	 * asked: another file may be on one that does not answer.
	 */
	if (link[0] == '/' && fd_classify(link, true) != FD_OTHER &&
	    statx(dir, name, AT_STATX_DONT_SYNC, STATX_TYPE, &st))
		return 0;
	*kind = fd_classify(link, link[0] == '/' && S_ISCHR(st.stx_mode));
	return 0;
}

/*
 * Two descriptors for the same open file are one VM. Without kcmp() in the
 * kernel they cannot be told apart, and count as two.
 */
static bool same_file(int a, int b)
{
	pid_t self = getpid();

	return !syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
}

static DIR *open_fd_dir(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return opendir(path);
}

static char *read_cmdline(pid_t pid, size_t *len)
{
	char path[32];
	size_t have = 0;
	char *buf;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	buf = malloc(CMDLINE_MAX);
	while (buf && have < CMDLINE_MAX) {
		ssize_t n = read(fd, buf + have, CMDLINE_MAX - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(fd);
	*len = have;
	return buf;
}

static int no_permission(struct vprobe_error *err, int e, pid_t pid)
{
	return vprobe_error_set(err, -e,
		"cannot look into process %d: no permission; run as root or with CAP_SYS_PTRACE, and not with kernel.yama.ptrace_scope=3",
		pid);
}

static int take_kvm(struct vprobe_vmm *vmm, int fd, struct vprobe_error *err)
{
	bool same;

	if (vmm->kvm_fd < 0) {
		vmm->kvm_fd = fd;
		return 0;
	}
	same = same_file(vmm->kvm_fd, fd);
	close(fd);
	if (same)
		return 0;
	return vprobe_error_set(err, -EMFILE,
		"process %d runs more than one virtual machine, it is not clear which one is meant; use one VMM process per VM",
		vmm->pid);
}

static int take_iommufd(struct vprobe_vmm *vmm, int fd,
			struct vprobe_error *err)
{
	unsigned int i;

	for (i = 0; i < vmm->nr_iommufds; i++) {
		if (same_file(vmm->iommufds[i], fd)) {
			close(fd);
			return 0;
		}
	}
	if (vmm->nr_iommufds == VPROBE_MAX_IOMMUFDS) {
		close(fd);
		return vprobe_error_set(err, -E2BIG,
			"process %d has more than %d iommufds open; let its devices share one",
			vmm->pid, VPROBE_MAX_IOMMUFDS);
	}
	vmm->iommufds[vmm->nr_iommufds++] = fd;
	return 0;
}

/* One link of /proc/PID/fd. */
static int take_fd(struct vprobe_vmm *vmm, int pidfd, int dir,
		   const char *name, struct vprobe_error *err)
{
	enum fd_kind kind;
	int fd, ret;

	ret = fd_kind_at(dir, name, &kind);
	if (ret)
		return no_permission(err, -ret, vmm->pid);
	if (kind == FD_VFIO_LEGACY)
		return vprobe_error_set(err, -EBUSY,
			"process %d has a legacy VFIO container (/dev/vfio/vfio) open, which pins all guest memory for good; give its devices an iommufd instead (QEMU: -object iommufd,id=iommufd0 and -device vfio-pci,...,iommufd=iommufd0) and start it again",
			vmm->pid);
	if (kind != FD_KVM_VM && kind != FD_IOMMUFD)
		return 0;

	fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(name), 0);
	if (fd < 0) {
		int e = errno;

		if (e == EBADF)
			return 0;	/* closed since it was listed */
		if (e == EPERM || e == EACCES)
			return no_permission(err, e, vmm->pid);
		return vprobe_error_set(err, -e,
			"cannot duplicate file descriptor %s of process %d: %s",
			name, vmm->pid, strerror(e));
	}
	if (kind == FD_KVM_VM)
		return take_kvm(vmm, fd, err);
	return take_iommufd(vmm, fd, err);
}

static int take_fds(struct vprobe_vmm *vmm, int pidfd,
		    struct vprobe_error *err)
{
	struct dirent *de;
	int ret = 0;
	DIR *dir;

	dir = open_fd_dir(vmm->pid);
	if (!dir) {
		int e = errno;

		if (e == ENOENT)
			return vprobe_error_set(err, -ESRCH,
				"there is no process %d", vmm->pid);
		return no_permission(err, e, vmm->pid);
	}
	while (!ret && (de = readdir(dir))) {
		if (de->d_name[0] != '.')
			ret = take_fd(vmm, pidfd, dirfd(dir), de->d_name, err);
	}
	closedir(dir);
	return ret;
}

int vprobe_vmm_open(pid_t pid, struct vprobe_vmm *vmm,
		    struct vprobe_error *err)
{
	size_t len = 0;
	int pidfd, ret;
	char *args;

	memset(vmm, 0, sizeof(*vmm));
	vmm->pid = pid;
	vmm->kvm_fd = -1;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		int e = errno;

		/* EINVAL: a number that cannot be one; ENOENT: a thread. */
		if (e == ESRCH || e == EINVAL || e == ENOENT)
			return vprobe_error_set(err, -ESRCH,
				"there is no process %d", pid);
		return vprobe_error_set(err, -e, "cannot open process %d: %s",
					pid, strerror(e));
	}
	ret = take_fds(vmm, pidfd, err);
	if (!ret && vmm->kvm_fd < 0)
		ret = vprobe_error_set(err, -ENOTTY,
				       "process %d is not a VMM: it has no KVM virtual machine open; give the process id of QEMU itself, not of a wrapper, and run it with -accel kvm",
				       pid);
	if (!ret) {
		args = read_cmdline(pid, &len);
		if (args) {
			vmm->cid = vprobe_cmdline_cid(args, len);
			vprobe_cmdline_name(args, len, vmm->name);
			free(args);
		}
	}
	close(pidfd);
	if (ret)
		vprobe_vmm_close(vmm);
	return ret;
}

void vprobe_vmm_close(struct vprobe_vmm *vmm)
{
	unsigned int i;

	if (vmm->kvm_fd >= 0)
		close(vmm->kvm_fd);
	for (i = 0; i < vmm->nr_iommufds; i++)
		close(vmm->iommufds[i]);
	vmm->kvm_fd = -1;
	vmm->nr_iommufds = 0;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Whether the process has both a VM and a vhost-vsock device open; not if it is late. */
static bool has_vm_and_vsock(pid_t pid, uint64_t deadline_ms)
{
	bool vm = false, vsock = false;
	enum fd_kind kind;
	struct dirent *de;
	DIR *dir;

	dir = open_fd_dir(pid);
	if (!dir)
		return false;
	while (!(vm && vsock) && (de = readdir(dir))) {
		if (now_ms() > deadline_ms ||
		    fd_kind_at(dirfd(dir), de->d_name, &kind))
			break;
		vm |= kind == FD_KVM_VM;
		vsock |= kind == FD_VHOST_VSOCK;
	}
	closedir(dir);
	return vm && vsock;
}

static bool claims_cid(pid_t pid, uint32_t cid, uint64_t deadline_ms)
{
	size_t len = 0;
	bool claims;
	char *args;

	/*
	 * First: a command line is memory of the process, and read under its
	 * mmap_lock, which one that is stuck may hold for ever.
	 */
	if (!has_vm_and_vsock(pid, deadline_ms))
		return false;
	args = read_cmdline(pid, &len);
	if (!args)
		return false;
	claims = vprobe_cmdline_cid(args, len) == cid;
	free(args);
	return claims;
}

/*
 * Field 22 of /proc/PID/stat; the name before it may hold anything. It counts whole
 * ticks: when that one ended, as whoever asks wants to know what came later.
 */
static int read_start_ns(pid_t pid, uint64_t *start_ns)
{
	unsigned long long ticks = 0;
	long hz = sysconf(_SC_CLK_TCK);
	char path[32], buf[1024];
	int fd, field;
	char *p, *save = NULL;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	buf[n] = '\0';
	p = strrchr(buf, ')');
	if (!p || hz <= 0)
		return -EPROTO;
	p = strtok_r(p + 1, " ", &save);
	for (field = 3; p && field < 22; field++)
		p = strtok_r(NULL, " ", &save);
	if (!p)
		return -EPROTO;
	ticks = strtoull(p, NULL, 10);
	*start_ns = (ticks + 1) * (1000000000ULL / (unsigned long long)hz);
	return 0;
}

/* The only process that claims @cid, or a negative errno. */
static pid_t scan_for_cid(uint32_t cid)
{
	uint64_t deadline_ms = now_ms() + SCAN_MS;
	struct dirent *de;
	pid_t found = 0;
	DIR *proc;

	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (now_ms() <= deadline_ms && (de = readdir(proc))) {
		pid_t pid = atoi(de->d_name);

		if (pid <= 0 || !claims_cid(pid, cid, deadline_ms))
			continue;
		if (found) {
			closedir(proc);
			return -EEXIST;
		}
		found = pid;
	}
	closedir(proc);
	if (now_ms() > deadline_ms)
		return -EAGAIN;
	return found ? found : -ESRCH;
}

int vprobe_process_open(pid_t pid, uint64_t *start_ns,
			struct vprobe_error *err)
{
	struct pollfd pfd = { .events = POLLIN };

	pfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pfd.fd < 0)
		return vprobe_error_set(err, -errno,
					"there is no process %d", pid);
	/* Still there after its file was read: the file is its own. */
	if (read_start_ns(pid, start_ns) || poll(&pfd, 1, 0)) {
		close(pfd.fd);
		return vprobe_error_set(err, -ESRCH,
					"process %d has just exited", pid);
	}
	return pfd.fd;
}

pid_t vprobe_vmm_by_cid(uint32_t cid, int *pidfd, uint64_t *start_ns,
			struct vprobe_error *err)
{
	pid_t pid = scan_for_cid(cid);

	if (pid == -EEXIST)
		return vprobe_error_set(err, pid,
			"more than one VMM claims the vsock context id %u on its command line",
			cid);
	if (pid == -EAGAIN)
		return vprobe_error_set(err, pid,
			"the processes of this host have too many files open to find the VMM with the vsock context id %u in %d s",
			cid, SCAN_MS / 1000);
	if (pid < 0)
		return vprobe_error_set(err, pid,
			"no VMM has the vsock context id %u on its command line",
			cid);

	*pidfd = vprobe_process_open(pid, start_ns, err);
	if (*pidfd < 0)
		return *pidfd;
	/*
	 * The pid may have been given to another process between the scan and
	 * the pidfd. From here on it cannot be, so look once more.
	 */
	if (!claims_cid(pid, cid, now_ms() + SCAN_MS)) {
		close(*pidfd);
		*pidfd = -1;
		return vprobe_error_set(err, -ESRCH,
			"the VMM with the vsock context id %u has just exited",
			cid);
	}
	return pid;
}
