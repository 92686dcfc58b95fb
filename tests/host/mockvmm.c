// SPDX-License-Identifier: GPL-2.0-only
/*
 * mockvmm: a process that has a KVM VM open, without a guest in it, for what
 * QEMU cannot be made to do.
 *
 *	mockvmm [-i COUNT] [-u] [-v COUNT] [BDF]
 *
 *	-i	open so many iommufds
 *	-u	an IOAS without a bound for its IOPTEs
 *	-v	create so many VMs
 *
 * Has 64 MiB of memory in a memfd. If BDF is given, which has to be bound to
 * vfio-pci, that device gets all of it mapped through the first iommufd. Prints
 * "ready" and waits for the end of its input.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM			(64UL << 20)
/* Of a patched kernel, so the header need not have it. */
#define OPTION_MAX_IOPTE	2

static void fail(const char *what)
{
	fprintf(stderr, "mockvmm: cannot %s: %s\n", what, strerror(errno));
	exit(2);
}

static void *make_ram(void)
{
	int fd = memfd_create("mock", 0);
	void *ram;

	if (fd < 0 || ftruncate(fd, RAM))
		fail("make a memfd");
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ram == MAP_FAILED)
		fail("map a memfd");
	return ram;
}

static void make_vm(int kvm, void *ram)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = RAM,
		.userspace_addr = (uintptr_t)ram,
	};
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0)
		fail("create a VM");
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("give a VM memory");
}

static int open_device(const char *bdf)
{
	char path[600];
	struct dirent *de;
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/vfio-dev",
		 bdf);
	dir = opendir(path);
	if (!dir)
		fail("find the VFIO device");
	while (fd < 0 && (de = readdir(dir))) {
		if (strncmp(de->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
			 de->d_name);
		fd = open(path, O_RDWR);
	}
	closedir(dir);
	if (fd < 0)
		fail("open the VFIO device");
	return fd;
}

static void map_device(int iommufd, const char *bdf, void *ram, bool unbounded)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
	};
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.user_va = (uintptr_t)ram,
		.length = RAM,
	};
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = OPTION_MAX_IOPTE,
		.op = IOMMU_OPTION_OP_SET,
	};
	int dev = open_device(bdf);

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
		fail("make an IOAS");
	option.object_id = alloc.out_ioas_id;
	if (unbounded && ioctl(iommufd, IOMMU_OPTION, &option))
		fail("unbound the IOPTEs of an IOAS");
	if (ioctl(dev, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		fail("bind the device to an iommufd");
	attach.pt_id = alloc.out_ioas_id;
	if (ioctl(dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		fail("attach the device to an IOAS");
	map.ioas_id = alloc.out_ioas_id;
	if (ioctl(iommufd, IOMMU_IOAS_MAP, &map))
		fail("map memory into an IOAS");
}

int main(int argc, char **argv)
{
	int iommufds = 0, vms = 1, opt, i, fd, first = -1, kvm;
	bool unbounded = false;
	void *ram;

	while ((opt = getopt(argc, argv, "i:uv:")) != -1) {
		if (opt == 'i')
			iommufds = atoi(optarg);
		else if (opt == 'u')
			unbounded = true;
		else if (opt == 'v')
			vms = atoi(optarg);
		else
			return 2;
	}
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("open /dev/kvm");
	ram = make_ram();
	for (i = 0; i < vms; i++)
		make_vm(kvm, ram);
	for (i = 0; i < iommufds; i++) {
		fd = open("/dev/iommu", O_RDWR);
		if (fd < 0)
			fail("open /dev/iommu");
		if (!i)
			first = fd;
	}
	if (optind < argc)
		map_device(first, argv[optind], ram, unbounded);
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
