// SPDX-License-Identifier: GPL-2.0-only
/*
 * latedev: give a VM's IOAS a device more, with IO page tables of its own, which
 * IOMMUFD makes of what the IOAS has at that moment. (QEMU's other devices share
 * one, so a device that QEMU plugs brings none.)
 *
 *	latedev PID BDF OWN
 *
 * BDF is an `edu' that is bound to vfio-pci, OWN an IOVA where the VM has nothing;
 * a page of ours is mapped there. Prints "ready", then does what lines of its input
 * say, and answers each with one:
 *
 *	read IOVA LENGTH	prints the bytes as hex
 *	write IOVA BYTE LENGTH	prints "written"
 *
 * At the end of its input the device leaves again.
 */
#include <linux/pci_regs.h>
#include <sys/mman.h>

#include "../guest/edu.h"
#include "iommufd.h"

static uint8_t *page;

/* BAR 0, of a device that may do DMA. */
static volatile uint64_t *map_bar(int device)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	void *mem;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar))
		fail("find the regions of the device");
	if (pwrite(device, &command, sizeof(command),
		   (off_t)config.offset + PCI_COMMAND) != sizeof(command))
		fail("make the device a bus master");
	mem = mmap(NULL, EDU_BAR_LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
		   device, (off_t)bar.offset);
	if (mem == MAP_FAILED)
		fail("map BAR 0 of the device");
	return mem;
}

static void obey(volatile uint64_t *bar, uint64_t own, const char *line)
{
	uint64_t iova, len;
	int byte;

	if (sscanf(line, "read %lu %lu", &iova, &len) == 2 &&
	    len <= EDU_BUFFER_LEN) {
		edu_read(bar, page, own, iova, len);
		hex(page, len);
	} else if (sscanf(line, "write %lu %i %lu", &iova, &byte, &len) == 3 &&
		   len <= EDU_BUFFER_LEN) {
		edu_write(bar, page, own, iova, byte, len);
		printf("written\n");
	} else {
		printf("not understood\n");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t own, length = PAGE;
	volatile uint64_t *bar;
	int iommufd, device;
	char line[100];
	uint32_t ioas;

	if (argc != 4) {
		fprintf(stderr, "usage: latedev PID BDF OWN\n");
		return 2;
	}
	own = strtoull(argv[3], NULL, 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		fail("map a page");
	iommufd = iommufd_of(atoi(argv[1]));
	ioas = ioas_of_guest(iommufd);
	device = open_device(argv[2]);
	attach_device(device, iommufd, ioas);
	if (map(iommufd, ioas, page, PAGE, own))
		fail("map a page into the IOAS");
	bar = map_bar(device);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(bar, own, line);
	close(device);
	if (unmap(iommufd, ioas, own, &length))
		fail("unmap the page");
	return 0;
}
