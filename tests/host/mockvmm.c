// SPDX-License-Identifier: GPL-2.0-only
/*
 * mockvmm: a process that has a KVM VM open, without a guest in it, for what
 * QEMU cannot be made to do.
 *
 *	mockvmm [-b BYTES] [-c] [-i COUNT] [-m] [-v COUNT] [BDF]
 *
 *	-b	an IOAS whose IOPTEs are no larger; 0: without a bound
 *	-c	a VM whose memory is private, as that of confidential ones
 *	-i	open so many iommufds
 *	-m	has another 64 MiB in a memfd and a memslot of their own
 *	-v	create so many VMs
 *
 * Has 64 MiB of memory in a memfd. If BDF is given, which has to be bound to
 * vfio-pci, that device gets all of it mapped through the first iommufd. Prints
 * "ready" and waits for the end of its input. For each line of that it
 * closes the VM, creates another one in the same memory, and prints "again"; or, if
 * the line is "unplug", takes that other memory away, and prints "unplugged".
 */
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "iommufd.h"

#define RAM			(64UL << 20)
/* Of a patched kernel, so the header need not have it. */
#define OPTION_MAX_IOPTE	2

static void *make_ram(int *memfd)
{
	int fd = memfd_create("mock", 0);
	void *ram;

	if (fd < 0 || ftruncate(fd, RAM))
		fail("make a memfd");
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		   fd, 0);
	if (ram == MAP_FAILED)
		fail("map a memfd");
	if (memfd)
		*memfd = fd;
	return ram;
}

static void set_slot(int vm, unsigned int slot, void *ram, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = slot * RAM,
		.memory_size = size,
		.userspace_addr = (uintptr_t)ram,
	};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("set a memslot");
}

static int make_vm(int kvm, void *ram, bool private)
{
	int vm = ioctl(kvm, KVM_CREATE_VM,
		       private ? KVM_X86_SW_PROTECTED_VM : 0);

	if (vm < 0)
		fail("create a VM");
	set_slot(vm, 0, ram, RAM);
	return vm;
}

/* It is what was set, and cannot be changed any more with something mapped. */
static void check_bound(int iommufd, struct iommu_option *option)
{
	uint64_t want = option->val64;

	option->val64 = 1;
	option->op = IOMMU_OPTION_OP_GET;
	if (ioctl(iommufd, IOMMU_OPTION, option) || option->val64 != want)
		fail("read the bound of an IOAS");
	option->op = IOMMU_OPTION_OP_SET;
	if (!ioctl(iommufd, IOMMU_OPTION, option) || errno != EINVAL)
		fail("be refused another bound");
}

static void map_device(int iommufd, const char *bdf, void *ram, const char *bound)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = OPTION_MAX_IOPTE,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = new_ioas(iommufd),
	};

	if (bound) {
		option.val64 = strtoull(bound, NULL, 0);
		if (ioctl(iommufd, IOMMU_OPTION, &option))
			fail("bound the IOPTEs of an IOAS");
	}
	attach_device(open_device(bdf), iommufd, option.object_id);
	if (map(iommufd, option.object_id, ram, RAM, 0))
		fail("map memory into an IOAS");
	if (bound)
		check_bound(iommufd, &option);
}

int main(int argc, char **argv)
{
	int iommufds = 0, vms = 1, opt, i, fd, first = -1, kvm, vm = -1;
	bool more = false, private = false;
	const char *bound = NULL;
	void *ram, *dimm = NULL;
	int dimm_fd = -1;
	char line[16];

	while ((opt = getopt(argc, argv, "b:ci:mv:")) != -1) {
		if (opt == 'b')
			bound = optarg;
		else if (opt == 'c')
			private = true;
		else if (opt == 'i')
			iommufds = atoi(optarg);
		else if (opt == 'm')
			more = true;
		else if (opt == 'v')
			vms = atoi(optarg);
		else
			return 2;
	}
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("open /dev/kvm");
	ram = make_ram(NULL);
	for (i = 0; i < vms; i++)
		vm = make_vm(kvm, ram, private);
	if (more) {
		dimm = make_ram(&dimm_fd);
		set_slot(vm, 1, dimm, RAM);
	}
	for (i = 0; i < iommufds; i++) {
		fd = open("/dev/iommu", O_RDWR);
		if (fd < 0)
			fail("open /dev/iommu");
		if (!i)
			first = fd;
	}
	if (optind < argc)
		map_device(first, argv[optind], ram, bound);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "unplug\n")) {
			set_slot(vm, 1, dimm, 0);
			munmap(dimm, RAM);
			close(dimm_fd);
			printf("unplugged\n");
		} else {
			close(vm);
			vm = make_vm(kvm, ram, private);
			printf("again\n");
		}
		fflush(stdout);
	}
	return 0;
}
