// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/kcore: kernel memory as an ELF core file. Its program headers say
 * which virtual addresses there are and, for the direct map and the kernel
 * image, at which physical address; its notes hold vmcoreinfo.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#include "inject.h"

#define KCORE		"/proc/kcore"
#define VMCOREINFO	"/sys/kernel/vmcoreinfo"
#define NOTES_MAX	(1U << 20)
#define NO_PADDR	(~0ULL)

struct kcore {
	int fd;
	size_t nr;
	Elf64_Phdr *ph;
};

static int read_at(int fd, uint64_t off, void *buf, size_t len)
{
	unsigned char *p = buf;
	ssize_t n;

	while (len) {
		n = pread(fd, p, len, off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

int refuse_lockdown(void)
{
	return refuse(EXIT_LOCKDOWN,
		      "the kernel is locked down for confidentiality, which closes " KCORE ": boot this guest with lockdown=integrity or without it");
}

static bool has_rawio(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !syscall(SYS_capget, &head, data) &&
	       data[0].effective & (1U << CAP_SYS_RAWIO);
}

static int open_error(int err)
{
	switch (err) {
	case ENOENT:
		return refuse(EXIT_NO_KCORE,
			      "there is no " KCORE ": mount /proc, or use a guest kernel with CONFIG_PROC_KCORE");
	case EPERM:
	case EACCES:
		/* In an initramfs there may be no securityfs that says so. */
		if (has_rawio())
			return refuse_lockdown();
		return refuse(EXIT_PERMISSION,
			      "may not open " KCORE " (%s): run as root with CAP_SYS_RAWIO",
			      strerror(err));
	default:
		return refuse(EXIT_NO_KCORE, "cannot open " KCORE ": %s",
			      strerror(err));
	}
}

int kcore_open(struct kcore **out)
{
	struct kcore *kc;
	Elf64_Ehdr eh;
	int code;

	kc = calloc(1, sizeof(*kc));
	if (!kc)
		return refuse(EXIT_SYSTEM, "out of memory");
	kc->fd = open(KCORE, O_RDONLY | O_CLOEXEC);
	if (kc->fd < 0) {
		code = open_error(errno);
		free(kc);
		return code;
	}
	if (read_at(kc->fd, 0, &eh, sizeof(eh)) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_phentsize != sizeof(*kc->ph) || !eh.e_phnum)
		goto bad;
	kc->nr = eh.e_phnum;
	kc->ph = calloc(kc->nr, sizeof(*kc->ph));
	if (!kc->ph ||
	    read_at(kc->fd, eh.e_phoff, kc->ph, kc->nr * sizeof(*kc->ph)))
		goto bad;
	*out = kc;
	return EXIT_OK;
bad:
	kcore_close(kc);
	return refuse(EXIT_NO_KCORE,
		      KCORE " is not the ELF core file of a 64-bit kernel");
}

void kcore_close(struct kcore *kc)
{
	if (!kc)
		return;
	close(kc->fd);
	free(kc->ph);
	free(kc);
}

int kcore_read_virt(struct kcore *kc, uint64_t va, void *buf, size_t len)
{
	size_t i;

	for (i = 0; i < kc->nr; i++) {
		const Elf64_Phdr *ph = &kc->ph[i];

		if (ph->p_type != PT_LOAD || va < ph->p_vaddr ||
		    va - ph->p_vaddr >= ph->p_memsz ||
		    len > ph->p_memsz - (va - ph->p_vaddr))
			continue;
		return read_at(kc->fd, ph->p_offset + (va - ph->p_vaddr), buf,
			       len);
	}
	return -1;
}

int kcore_read_phys(struct kcore *kc, uint64_t pa, void *buf, size_t len)
{
	size_t i;

	for (i = 0; i < kc->nr; i++) {
		const Elf64_Phdr *ph = &kc->ph[i];

		/* Vmalloc space and the memmap have no physical address. */
		if (ph->p_type != PT_LOAD || ph->p_paddr == NO_PADDR ||
		    pa < ph->p_paddr || pa - ph->p_paddr >= ph->p_memsz ||
		    len > ph->p_memsz - (pa - ph->p_paddr))
			continue;
		return read_at(kc->fd, ph->p_offset + (pa - ph->p_paddr), buf,
			       len);
	}
	return -1;
}

/* The description of the note named VMCOREINFO, as text. */
static char *find_note(const unsigned char *p, size_t len)
{
	const Elf64_Nhdr *nh;
	size_t name, desc;

	while (len >= sizeof(*nh)) {
		nh = (const void *)p;
		name = ((size_t)nh->n_namesz + 3) & ~3UL;
		desc = ((size_t)nh->n_descsz + 3) & ~3UL;
		p += sizeof(*nh);
		len -= sizeof(*nh);
		if (name > len || nh->n_descsz > len - name)
			break;
		if (nh->n_namesz == sizeof("VMCOREINFO") &&
		    !memcmp(p, "VMCOREINFO", sizeof("VMCOREINFO")))
			return strndup((const char *)p + name, nh->n_descsz);
		if (desc > len - name)
			break;
		p += name + desc;
		len -= name + desc;
	}
	return NULL;
}

static char *note_of_kcore(struct kcore *kc)
{
	unsigned char *notes;
	char *text = NULL;
	size_t i;

	for (i = 0; i < kc->nr && !text; i++) {
		const Elf64_Phdr *ph = &kc->ph[i];

		if (ph->p_type != PT_NOTE || ph->p_filesz > NOTES_MAX)
			continue;
		notes = malloc(ph->p_filesz);
		if (!notes)
			break;
		if (!read_at(kc->fd, ph->p_offset, notes, ph->p_filesz))
			text = find_note(notes, ph->p_filesz);
		free(notes);
	}
	return text;
}

/* Kernels before 4.19 say only where in memory the note is. */
static char *note_of_sysfs(struct kcore *kc)
{
	unsigned long long pa, len;
	unsigned char *note;
	char *line, *text = NULL;

	line = read_file(VMCOREINFO, NULL);
	if (!line)
		return NULL;
	if (sscanf(line, "%llx %llx", &pa, &len) == 2 && len <= NOTES_MAX) {
		note = malloc(len);
		if (note && !kcore_read_phys(kc, pa, note, len))
			text = find_note(note, len);
		free(note);
	}
	free(line);
	return text;
}

int kcore_vmcoreinfo(struct kcore *kc, char **text)
{
	*text = note_of_kcore(kc);
	if (!*text) {
		verbose(KCORE " has no vmcoreinfo note, trying " VMCOREINFO);
		*text = note_of_sysfs(kc);
	}
	if (!*text)
		return refuse(EXIT_NO_KCORE,
			      "found no vmcoreinfo, neither in " KCORE " nor through " VMCOREINFO ": use a guest kernel with CONFIG_CRASH_DUMP (CONFIG_KEXEC before 6.8)");
	return EXIT_OK;
}
