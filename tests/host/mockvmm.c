// SPDX-License-Identifier: GPL-2.0-only
/*
 * mockvmm: a process that has a KVM VM open, without a guest in it, for what
 * QEMU cannot be made to do.
 *
 *	mockvmm [-1] [-b BYTES] [-c] [-i COUNT] [-m] [-v COUNT] [BDF|mock]
 *
 *	-1	an IOAS like that of VFIO's type 1, with "mock"
 *	-b	an IOAS whose IOPTEs are no larger; 0: without a bound
 *	-c	a VM whose memory is private, as that of confidential ones
 *	-i	open so many iommufds
 *	-m	has another 64 MiB in a memfd and a memslot of their own
 *	-v	create so many VMs
 *
 * Has 64 MiB of memory in a memfd. If BDF is given, which has to be bound to
 * vfio-pci, that device gets all of it mapped through the first iommufd; "mock" is
 * one of the mock IOMMU (mockdev.h). Prints "ready" and waits for the end of its
 * input. For each line of that it closes the VM, creates another one in the same
 * memory, and prints "again"; or, if the line is "unplug", takes that other memory
 * away, and prints "unplugged". What the mock device can be told is at
 * mock_command().
 */
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "mockdev.h"

#define RAM			(64UL << 20)
/* Of a patched kernel, so the header need not have it. */
#define OPTION_MAX_IOPTE	2

static struct options {
	const char *bound;
	int iommufds, vms;
	bool more, private, type1;
} options = { .vms = 1 };

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

static int make_vm(int kvm, void *ram)
{
	int vm = ioctl(kvm, KVM_CREATE_VM,
		       options.private ? KVM_X86_SW_PROTECTED_VM : 0);

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

static void map_device(int iommufd, const char *bdf, void *ram)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = OPTION_MAX_IOPTE,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = new_ioas(iommufd),
	};
	uint64_t iova = 0;

	if (options.bound) {
		option.val64 = strtoull(options.bound, NULL, 0);
		if (ioctl(iommufd, IOMMU_OPTION, &option))
			fail("bound the IOPTEs of an IOAS");
	}
	if (!strcmp(bdf, "mock")) {
		if (options.type1)
			mock_like_type1(iommufd, option.object_id);
		mock_attach(iommufd, option.object_id, RAM);
		iova = MOCK_APERTURE_START;
	} else {
		attach_device(open_device(bdf), iommufd, option.object_id);
	}
	if (map(iommufd, option.object_id, ram, RAM, iova))
		fail("map memory into an IOAS");
	if (options.bound)
		check_bound(iommufd, &option);
}

static bool parse(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "1b:ci:mv:")) != -1) {
		if (opt == '1')
			options.type1 = true;
		else if (opt == 'b')
			options.bound = optarg;
		else if (opt == 'c')
			options.private = true;
		else if (opt == 'i')
			options.iommufds = atoi(optarg);
		else if (opt == 'm')
			options.more = true;
		else if (opt == 'v')
			options.vms = atoi(optarg);
		else
			return false;
	}
	return true;
}

/* The first of them. */
static int open_iommufds(void)
{
	int first = -1, fd, i;

	for (i = 0; i < options.iommufds; i++) {
		fd = open("/dev/iommu", O_RDWR);
		if (fd < 0)
			fail("open /dev/iommu");
		if (!i)
			first = fd;
	}
	return first;
}

int main(int argc, char **argv)
{
	int i, first, kvm, vm = -1, dimm_fd = -1;
	void *ram, *dimm = NULL;
	char line[32];

	if (!parse(argc, argv))
		return 2;
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("open /dev/kvm");
	ram = make_ram(NULL);
	for (i = 0; i < options.vms; i++)
		vm = make_vm(kvm, ram);
	if (options.more) {
		dimm = make_ram(&dimm_fd);
		set_slot(vm, 1, dimm, RAM);
	}
	first = open_iommufds();
	if (optind < argc)
		map_device(first, argv[optind], ram);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (mock_command(line)) {
			/* It has answered. */
		} else if (!strcmp(line, "unplug\n")) {
			set_slot(vm, 1, dimm, 0);
			munmap(dimm, RAM);
			close(dimm_fd);
			printf("unplugged\n");
		} else {
			close(vm);
			vm = make_vm(kvm, ram);
			printf("again\n");
		}
		fflush(stdout);
	}
	return 0;
}
