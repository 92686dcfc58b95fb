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
 * "ready" and waits for the end of its input. For each line of that it
 * closes the VM, creates another one in the same memory, and prints "again".
 */
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "iommufd.h"

#define RAM			(64UL << 20)
/* Of a patched kernel, so the header need not have it. */
#define OPTION_MAX_IOPTE	2

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

static int make_vm(int kvm, void *ram)
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
	return vm;
}

static void map_device(int iommufd, const char *bdf, void *ram, bool unbounded)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = OPTION_MAX_IOPTE,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = new_ioas(iommufd),
	};

	if (unbounded && ioctl(iommufd, IOMMU_OPTION, &option))
		fail("unbound the IOPTEs of an IOAS");
	attach_device(open_device(bdf), iommufd, option.object_id);
	if (map(iommufd, option.object_id, ram, RAM, 0))
		fail("map memory into an IOAS");
}

int main(int argc, char **argv)
{
	int iommufds = 0, vms = 1, opt, i, fd, first = -1, kvm, vm = -1, c;
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
		vm = make_vm(kvm, ram);
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
	while ((c = getchar()) != EOF) {
		if (c != '\n')
			continue;
		close(vm);
		vm = make_vm(kvm, ram);
		printf("again\n");
		fflush(stdout);
	}
	return 0;
}
