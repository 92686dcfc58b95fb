// SPDX-License-Identifier: GPL-2.0-only
/*
 * physmem ADDRESS LENGTH: a vCPU looks at guest-physical memory, also at
 * memory that nobody uses. Prints how many bytes are not zero.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KCORE "/proc/kcore"

static void fail(const char *what)
{
	fprintf(stderr, "physmem: cannot %s: %s\n", what, strerror(errno));
	exit(2);
}

/* Where in the file the address is: the kernel maps all RAM linearly. */
static off_t find(int fd, uint64_t addr, uint64_t len)
{
	Elf64_Phdr ph;
	Elf64_Ehdr eh;
	int i;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh))
		fail("read " KCORE);
	for (i = 0; i < eh.e_phnum; i++) {
		if (pread(fd, &ph, sizeof(ph),
			  (off_t)(eh.e_phoff + (uint64_t)i * sizeof(ph))) !=
		    sizeof(ph))
			fail("read " KCORE);
		/* Neither the kernel's image nor what has no fixed address. */
		if (ph.p_type != PT_LOAD || ph.p_paddr == (uint64_t)-1 ||
		    ph.p_vaddr >= 0xffffffff80000000ULL)
			continue;
		if (addr >= ph.p_paddr && len <= ph.p_memsz &&
		    addr - ph.p_paddr <= ph.p_memsz - len)
			return (off_t)(ph.p_offset + (addr - ph.p_paddr));
	}
	errno = ENXIO;
	fail("find that memory in " KCORE);
	return 0;
}

int main(int argc, char **argv)
{
	static uint8_t buf[1 << 16];
	uint64_t addr, len, nonzero = 0;
	off_t from;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: physmem ADDRESS LENGTH\n");
		return 2;
	}
	addr = strtoull(argv[1], NULL, 0);
	len = strtoull(argv[2], NULL, 0);
	fd = open(KCORE, O_RDONLY);
	if (fd < 0)
		fail("open " KCORE);
	from = find(fd, addr, len);
	while (len) {
		size_t want = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t n = pread(fd, buf, want, from), i;

		if (n <= 0)
			fail("read that memory from " KCORE);
		for (i = 0; i < n; i++)
			nonzero += buf[i] != 0;
		from += n;
		len -= (uint64_t)n;
	}
	printf("%llu\n", (unsigned long long)nonzero);
	return 0;
}
