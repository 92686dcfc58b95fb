// SPDX-License-Identifier: GPL-2.0-only
/*
 * remap: has a VMM do to its own memory what nobody can keep it from doing, by
 * making system calls in its place (ptrace).
 *
 *	remap PID ADDRESS LENGTH anon	map other memory, private to the VMM, over
 *					the guest's
 *	remap PID ADDRESS LENGTH minor	have whoever touches the guest's memory wait
 *					for userfaultfd, which nobody serves
 *
 * ADDRESS is the VMM's. Prints "ready" when it is done, and undoes it at the end
 * of its input.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "memfd.h"

#define INSN_SYSCALL	0x050f

static void step(pid_t pid, struct user_regs_struct *regs)
{
	int status;

	if (ptrace(PTRACE_SETREGS, pid, NULL, regs) ||
	    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) ||
	    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_GETREGS, pid, NULL, regs))
		fail("make a system call in", "the process");
}

/* The process's main thread, which mostly sleeps in a system call. */
static void stop_in_call(pid_t pid, struct user_regs_struct *regs)
{
	int status, tries;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		fail("stop", "the process");
	for (tries = 0; tries < 3000; tries++) {
		if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
		    waitpid(pid, &status, 0) != pid ||
		    ptrace(PTRACE_GETREGS, pid, NULL, regs))
			fail("stop", "the process");
		if ((ptrace(PTRACE_PEEKTEXT, pid, regs->rip - 2, NULL) &
		     0xffff) == INSN_SYSCALL)
			return;
		if (ptrace(PTRACE_CONT, pid, NULL, NULL))
			fail("let go of", "the process");
		usleep(10000);
	}
	fail("find a system call of", "the process");
}

static long call(pid_t pid, long nr, const unsigned long args[6])
{
	struct user_regs_struct saved, regs;

	stop_in_call(pid, &saved);
	regs = saved;
	regs.rip -= 2;
	regs.rax = (unsigned long)nr;
	regs.orig_rax = -1UL;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	step(pid, &regs);
	if (ptrace(PTRACE_SETREGS, pid, NULL, &saved) ||
	    ptrace(PTRACE_DETACH, pid, NULL, NULL))
		fail("let go of", "the process");
	if ((long)regs.rax < 0 && (long)regs.rax > -4096) {
		errno = (int)-regs.rax;
		fail("have a system call made by", "the process");
	}
	return (long)regs.rax;
}

static void map_at(pid_t pid, unsigned long address, unsigned long length,
		   unsigned long flags, unsigned long fd, unsigned long offset)
{
	const unsigned long args[6] = {
		address, length, PROT_READ | PROT_WRITE, MAP_FIXED | flags, fd,
		offset,
	};

	call(pid, SYS_mmap, args);
}

/* Which part of which file is mapped at @address. */
static unsigned long file_at(const char *pid, unsigned long address,
			     unsigned long *inode)
{
	unsigned long start, end, offset;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "r");
	if (!f)
		fail("open", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %*s %lx %*s %lu", &start, &end,
			   &offset, inode) == 4 && start <= address &&
		    address < end) {
			fclose(f);
			return offset + (address - start);
		}
	}
	errno = ENOENT;
	fail("find the memory in", path);
	return 0;
}

static unsigned long fd_of(const char *pid, unsigned long inode)
{
	char path[64];
	struct stat st;
	unsigned long fd;

	for (fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%lu", pid, fd);
		if (!stat(path, &st) && st.st_ino == inode &&
		    S_ISREG(st.st_mode))
			return fd;
	}
	errno = ENOENT;
	fail("find the file descriptor of the memory of process", pid);
	return 0;
}

static void wait_for_end(void)
{
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static void do_anon(const char *pid, unsigned long address,
		    unsigned long length)
{
	unsigned long inode, offset, fd;

	offset = file_at(pid, address, &inode);
	fd = fd_of(pid, inode);
	map_at(atoi(pid), address, length, MAP_PRIVATE | MAP_ANONYMOUS, -1UL, 0);
	wait_for_end();
	map_at(atoi(pid), address, length, MAP_SHARED, fd, offset);
}

static void do_minor(pid_t pid, unsigned long address, unsigned long length)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { .start = address, .len = length },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};
	unsigned long args[6] = { O_CLOEXEC };
	long there = call(pid, SYS_userfaultfd, args);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, there, 0);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		fail("use the userfaultfd of", "the process");
	args[0] = (unsigned long)there;
	call(pid, SYS_close, args);
	wait_for_end();
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned long address, length;

	if (argc != 5) {
		fprintf(stderr, "usage: remap PID ADDRESS LENGTH anon|minor\n");
		return 2;
	}
	address = strtoul(argv[2], NULL, 0);
	length = strtoul(argv[3], NULL, 0);
	if (!strcmp(argv[4], "anon"))
		do_anon(argv[1], address, length);
	else
		do_minor(atoi(argv[1]), address, length);
	return 0;
}
