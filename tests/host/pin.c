// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin: somebody else who pins guest memory for DMA.
 *
 *	pin uring PID OFFSET LENGTH	as a fixed buffer of an io_uring
 *	pin vfio PID OFFSET LENGTH BDF	for a device in a legacy VFIO container
 *
 * Maps a range of the memfd of QEMU process PID, pins it, writes to each
 * page, prints "pinned", waits for the end of its input, and prints "intact" or
 * "lost", whatever became of what it wrote. So OFFSET is to be memory that the
 * guest does not use.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memfd.h"

#define PAGE	4096UL
/* No RAM of a guest, no reserved range of the IOMMU. */
#define IOVA	0x100000000ULL

static void pin_uring(void *mem, size_t len)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { .iov_base = mem, .iov_len = len };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (fd < 0)
		fail("set up", "an io_uring");
	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov,
		    1))
		fail("register", "a buffer with io_uring");
}

static int open_group(const char *bdf)
{
	char path[300], link[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/iommu_group",
		 bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		fail("find the IOMMU group of", bdf);
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fail("open", path);
	return fd;
}

static void pin_vfio(void *mem, size_t len, const char *bdf)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = IOVA,
		.size = len,
	};
	int container = open("/dev/vfio/vfio", O_RDWR);
	int group = open_group(bdf);

	if (container < 0)
		fail("open", "/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		fail("set the container of", bdf);
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		fail("set the IOMMU of", bdf);
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		fail("map memory for", bdf);
}

int main(int argc, char **argv)
{
	size_t len, i, lost = 0;
	volatile uint64_t *word;
	uint8_t *mem;
	int fd;

	if (!(argc == 5 && !strcmp(argv[1], "uring")) &&
	    !(argc == 6 && !strcmp(argv[1], "vfio"))) {
		fprintf(stderr, "usage: pin uring PID OFFSET LENGTH\n"
			"       pin vfio PID OFFSET LENGTH BDF\n");
		return 2;
	}
	len = strtoull(argv[4], NULL, 0);
	fd = open_memfd(argv[2], O_RDWR);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   strtoll(argv[3], NULL, 0));
	if (mem == MAP_FAILED)
		fail("map", "the memfd");
	if (argc == 5)
		pin_uring(mem, len);
	else
		pin_vfio(mem, len, argv[5]);
	/* Not before: what nobody has pinned yet may be taken. */
	for (i = 0; i < len; i += PAGE) {
		word = (uint64_t *)(mem + i);
		*word = 0x76b5a3d1e9f00000ULL + i;
	}
	printf("pinned\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	for (i = 0; i < len; i += PAGE) {
		word = (uint64_t *)(mem + i);
		lost += *word != 0x76b5a3d1e9f00000ULL + i;
	}
	printf("%s\n", lost ? "lost" : "intact");
	return lost != 0;
}
