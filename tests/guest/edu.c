// SPDX-License-Identifier: GPL-2.0-only
/*
 * edu: make QEMU's `edu' device (1234:11e8) do DMA to any bus address. To be
 * run in a guest that owns the device.
 *
 *	edu [-d INDEX] read ADDRESS LENGTH	into the device, printed as hex
 *	edu [-d INDEX] write ADDRESS BYTE LENGTH	device fills memory with BYTE
 *	edu [-d INDEX] page			a page of its own: prints its bus
 *						address, waits for a line on
 *						stdin, prints the page as hex
 *
 * Addresses and numbers may be hex (0x...). LENGTH is at most 4096 bytes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "edu.h"

#define PCI		"/sys/bus/pci/devices"
#define PCI_COMMAND	4
#define PCI_MASTER_MEM	6

static volatile uint64_t *bar;

static void fail(const char *what, const char *on)
{
	fprintf(stderr, "edu: cannot %s %s: %s\n", what, on, strerror(errno));
	exit(2);
}

static unsigned long sysfs_number(const char *dev, const char *name)
{
	char path[300], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), PCI "/%s/%s", dev, name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	return strtoul(text, NULL, 0);
}

static void open_device(int index)
{
	char path[300], found[256] = "";
	struct dirent **list;
	uint16_t command = PCI_MASTER_MEM;
	int nr, i, fd;

	nr = scandir(PCI, &list, NULL, alphasort);
	for (i = 0; i < nr; i++)
		if (sysfs_number(list[i]->d_name, "vendor") == 0x1234 &&
		    sysfs_number(list[i]->d_name, "device") == 0x11e8 &&
		    index-- == 0)
			snprintf(found, sizeof(found), "%s", list[i]->d_name);
	if (!found[0]) {
		fprintf(stderr, "edu: this machine has no such edu device\n");
		exit(2);
	}
	snprintf(path, sizeof(path), PCI "/%s/enable", found);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		fail("enable", path);
	close(fd);
	snprintf(path, sizeof(path), PCI "/%s/config", found);
	fd = open(path, O_RDWR);
	if (fd < 0 || pwrite(fd, &command, 2, PCI_COMMAND) != 2)
		fail("make a bus master through", path);
	close(fd);
	snprintf(path, sizeof(path), PCI "/%s/resource0", found);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fail("open", path);
	bar = mmap(NULL, 0x100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED)
		fail("map", path);
	close(fd);
}

/* The guest-physical address of a page of this process. */
static uint64_t physical(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)p / 4096 * 8) != 8)
		fail("read", "/proc/self/pagemap");
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * 4096;
}

static uint8_t *own_page(void)
{
	uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);

	if (page == MAP_FAILED)
		fail("map", "a page");
	memset(page, 0, 4096);
	return page;
}

int main(int argc, char **argv)
{
	uint64_t addr, len;
	uint8_t *page;
	int opt, index = 0;

	while ((opt = getopt(argc, argv, "+d:")) != -1) {
		if (opt != 'd')
			return 2;
		index = atoi(optarg);
	}
	argc -= optind;
	argv += optind;
	page = own_page();
	if (argc == 1 && !strcmp(argv[0], "page")) {
		printf("0x%llx\n", (unsigned long long)physical(page));
		fflush(stdout);
		getchar();
		hex(page, 4096);
		return 0;
	}
	if (!(argc == 3 && !strcmp(argv[0], "read")) &&
	    !(argc == 4 && !strcmp(argv[0], "write"))) {
		fprintf(stderr, "usage: edu [-d INDEX] read ADDRESS LENGTH | "
			"write ADDRESS BYTE LENGTH | page\n");
		return 2;
	}
	addr = strtoull(argv[1], NULL, 0);
	len = strtoull(argv[argc - 1], NULL, 0);
	if (!len || len > EDU_BUFFER_LEN) {
		fprintf(stderr, "edu: the length must be 1 to 4096\n");
		return 2;
	}
	open_device(index);
	if (argc == 3) {
		edu_read(bar, page, physical(page), addr, len);
		hex(page, len);
	} else {
		edu_write(bar, page, physical(page), addr,
			  strtoul(argv[2], NULL, 0), len);
	}
	return 0;
}
