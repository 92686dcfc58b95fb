// SPDX-License-Identifier: GPL-2.0-only
/* libvprobe without a module: sizes, command lines, reasons, processes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "libvprobe.h"
#include "tap.h"

static void size_is(const char *text, int want_ret, uint64_t want)
{
	uint64_t got = 0;
	int ret = vprobe_parse_size(text, &got);

	if (!ok(ret == want_ret && got == want, "size \"%s\"", text))
		tap_note("got %d, %" PRIu64 ", want %d, %" PRIu64, ret, got,
			 want_ret, want);
}

static void test_sizes(void)
{
	size_is("1", 0, 1);
	size_is("4096", 0, 4096);
	size_is("512M", 0, 512ULL << 20);
	size_is("512m", 0, 512ULL << 20);
	size_is("512MiB", 0, 512ULL << 20);
	size_is("1.5G", 0, 3ULL << 29);
	size_is("0.25K", 0, 256);
	size_is("2T", 0, 2ULL << 40);
	size_is("all", 0, VPROBE_ALL);
	size_is("16777215T", 0, 16777215ULL << 40);
	size_is("16777216T", -ERANGE, 0);
	size_is("18446744073709551614", 0, UINT64_MAX - 1);
	size_is("18446744073709551615", -ERANGE, 0);
	size_is("18446744073709551616", -ERANGE, 0);
	size_is("99999999999999999999999999", -ERANGE, 0);
	size_is("0", -ERANGE, 0);
	size_is("0.0000001K", -ERANGE, 0);
	size_is("", -EINVAL, 0);
	size_is("-1", -EINVAL, 0);
	size_is("+1", -EINVAL, 0);
	size_is(" 1", -EINVAL, 0);
	size_is("1 ", -EINVAL, 0);
	size_is("1.5", -EINVAL, 0);
	size_is("1.G", -EINVAL, 0);
	size_is(".5G", -EINVAL, 0);
	size_is("1.0000000000000000001G", -EINVAL, 0);
	size_is("1GB", -EINVAL, 0);
	size_is("1Gi", -EINVAL, 0);
	size_is("1X", -EINVAL, 0);
	size_is("0x10", -EINVAL, 0);
	size_is("ALL", -EINVAL, 0);
	size_is("1,5G", -EINVAL, 0);
}

static void granule_is(const char *text, int want_ret, unsigned int want)
{
	unsigned int got = 0;
	int ret = vprobe_parse_granule(text, &got);

	if (!ok(ret == want_ret && got == want, "granule \"%s\"", text))
		tap_note("got %d, %u, want %d, %u", ret, got, want_ret, want);
}

static void test_granules(void)
{
	granule_is("64K", 0, 16);
	granule_is("2M", 0, 21);
	granule_is("33554432", 0, 25);
	granule_is("32K", -EINVAL, 0);
	granule_is("64M", -EINVAL, 0);
	granule_is("3M", -EINVAL, 0);
	granule_is("all", -EINVAL, 0);
	granule_is("0", -EINVAL, 0);
	granule_is("", -EINVAL, 0);
}

/* @args: strings separated by '|' */
static void cid_is(const char *args, uint32_t want)
{
	char buf[512];
	uint32_t got;
	size_t i, n = strlen(args);

	for (i = 0; i <= n; i++)
		buf[i] = args[i] == '|' ? '\0' : args[i];
	got = vprobe_cmdline_cid(buf, n + 1);
	if (!ok(got == want, "cid of %s", args))
		tap_note("got %u, want %u", got, want);
}

static void test_cids(void)
{
	cid_is("qemu|-device|vhost-vsock-pci,guest-cid=3", 3);
	cid_is("qemu|-device|vhost-vsock-pci,id=v,guest-cid=0x10,x=y", 16);
	cid_is("qemu|--device|vhost-vsock-pci,guest-cid=4294967294",
	       4294967294U);
	cid_is("qemu|-device|{\"driver\":\"vhost-vsock-pci\",\"guest-cid\":7}",
	       7);
	cid_is("qemu|-device|{\"guest-cid\":\"8\"}", 8);
	cid_is("qemu|-device|{\"guest-cid\":-8}", 0);
	cid_is("qemu|-device|{\"guest-cid\":4294967296}", 0);
	cid_is("qemu|-device|{\"guest-cid\":", 0);
	cid_is("qemu|-device|{\"a\":{\"guest-cid\":3}}", 0);
	cid_is("qemu|-name|guest-cid=5", 0);
	cid_is("qemu|-device|e1000,mac=guest-cid=5", 0);
	cid_is("qemu|-device|x,id=a,,guest-cid=5", 0);
	cid_is("qemu|-device|x,guest-cid=4294967296", 0);
	cid_is("qemu|-device|x,guest-cid=", 0);
	cid_is("qemu|-device|x,guest-cid=-1", 0);
	cid_is("qemu|-device|x,guest-cid=5z", 0);
	cid_is("qemu|-device|x,guest-cid=5|-device|y,guest-cid=6", 0);
	cid_is("qemu|-device|x,guest-cid=5|-device|y,guest-cid=5", 5);
	cid_is("qemu|-device", 0);
	ok(vprobe_cmdline_cid("-device\0x,guest-cid=5", 20) == 0,
	   "an argument that was cut off is not believed");
	ok(vprobe_cmdline_cid("", 0) == 0, "an empty command line");
}

static void name_is(const char *value, const char *want)
{
	char buf[512], name[VPROBE_NAME_LEN];
	size_t n = strlen(value);

	memcpy(buf, "qemu\0-name", 11);
	memcpy(buf + 11, value, n + 1);
	vprobe_cmdline_name(buf, 11 + n + 1, name);
	if (!ok(!strcmp(name, want), "name of -name %s", value))
		tap_note("got \"%s\", want \"%s\"", name, want);
}

static void test_names(void)
{
	char name[VPROBE_NAME_LEN] = "x";

	name_is("web", "web");
	name_is("guest=web,debug-threads=on", "web");
	name_is("debug-threads=on,guest=web", "web");
	name_is("a,,b,process=x", "a,b");
	name_is("debug-threads=on", "");
	name_is("0123456789012345678901234567890123456789",
		"0123456789012345678901234567890");
	name_is("\033[31mred", "?[31mred");
	vprobe_cmdline_name("qemu", 5, name);
	ok(!*name, "no name at all");
}

static void test_reasons(void)
{
	unsigned int i, j;

	for (i = 0; i < __VPROBE_REASON_MAX; i++) {
		const char *name = vprobe_reason_name(i);

		ok(strcmp(name, "unknown") && strlen(vprobe_reason_text(i)) > 9,
		   "reason %u has a name and a sentence: %s", i, name);
		for (j = 0; j < i; j++) {
			if (!strcmp(name, vprobe_reason_name(j)))
				ok(false, "reasons %u and %u share a name", i,
				   j);
		}
	}
	ok(!strcmp(vprobe_reason_name(__VPROBE_REASON_MAX), "unknown"),
	   "a reason that does not exist is unknown");
	ok(!strcmp(vprobe_reason_name(UINT32_MAX), "unknown"),
	   "and so is the largest number");
	ok(!strcmp(vprobe_vm_state_name(VPROBE_VM_DYING), "dying") &&
	   !strcmp(vprobe_vm_state_name(VPROBE_VM_QUARANTINED + 1), "unknown"),
	   "VM states have names");
	ok(!strcmp(vprobe_block_state_name(VPROBE_BLOCK_FILLING), "filling") &&
	   !strcmp(vprobe_block_state_name(VPROBE_BLOCK_FILLING + 1),
		   "unknown"), "block states have names");
}

static void test_links(void)
{
	ok(fd_classify("anon_inode:kvm-vm", false) == FD_KVM_VM, "a VM");
	ok(fd_classify("anon_inode:kvm-vcpu:0", false) == FD_OTHER, "a vCPU");
	ok(fd_classify("/tmp/anon_inode:kvm-vm", false) == FD_OTHER,
	   "a file with a VM's name");
	ok(fd_classify("/dev/iommu", true) == FD_IOMMUFD, "an iommufd");
	ok(fd_classify("/iommu", true) == FD_IOMMUFD,
	   "an iommufd in another mount namespace");
	ok(fd_classify("/dev/iommu (deleted)", true) == FD_IOMMUFD,
	   "an iommufd whose node was removed");
	ok(fd_classify("/tmp/iommu", false) == FD_OTHER,
	   "a file that is called iommu");
	ok(fd_classify("/dev/vfio/vfio", true) == FD_VFIO_LEGACY,
	   "a legacy container");
	ok(fd_classify("/dev/vfio/devices/vfio0", true) == FD_OTHER,
	   "a VFIO device is no legacy container");
	ok(fd_classify("/dev/vhost-vsock", true) == FD_VHOST_VSOCK,
	   "a vhost-vsock device");
}

static void test_processes(void)
{
	struct vprobe_vmm vmm;
	struct vprobe_error err = { 0 };
	uint64_t start_ns = 0;
	int fd;

	ok(vprobe_vmm_open(getpid(), &vmm, &err) == -ENOTTY &&
	   strstr(err.text, "not a VMM"), "this test is not a VMM");
	ok(vprobe_vmm_open(0x7ffffff0, &vmm, &err) == -ESRCH &&
	   strstr(err.text, "no process"), "no such process");
	ok(vprobe_vmm_open(-1, &vmm, &err) == -ESRCH, "no process -1");
	ok(vprobe_vmm_open(0, &vmm, &err) == -ESRCH, "no process 0");
	ok(vprobe_vmm_by_cid(0xfffffff0, &fd, &start_ns, &err) == -ESRCH,
	   "no VMM has an odd context id");
	fd = vprobe_process_open(getpid(), &start_ns, &err);
	ok(fd >= 0 && start_ns > 0, "this process has a start time");
	close(fd);
	ok(vprobe_process_open(0x7ffffff0, &start_ns, &err) == -ESRCH,
	   "and one that is not there has none");
}

static void test_attach(void)
{
	const struct vprobe_attach_options opt = { .name = "x" };
	struct vprobe_error err = { 0 };
	struct vprobe_attach req;

	ok(vprobe_attach_process(-1, getpid(), -1, &opt, &req, &err) ==
	   -ENOTTY && strstr(err.text, "not a VMM"),
	   "only VMMs are attached");
	ok(vprobe_attach_process(-1, 0x7ffffff0, -1, &opt, &req, &err) ==
	   -ESRCH, "and only those that are there");
}

static void test_device(void)
{
	struct vprobe_error err = { 0 };
	struct vprobe_stat st;
	int fd;

	if (access(VPROBE_DEVICE, F_OK)) {
		fd = vprobe_open(&err);
		ok(fd == -ENOENT && strstr(err.text, "modprobe vprobe"),
		   "without the module the sentence says modprobe");
	}
	ok(vprobe_is_name("web") && vprobe_is_name("7a") &&
	   !vprobe_is_name("") && !vprobe_is_name("all") &&
	   !vprobe_is_name("7") && !vprobe_is_name("id:web") &&
	   !vprobe_is_name("pid:7"), "what can be meant as a name");
	ok(vprobe_find_vm(-1, "", &st, &err) == -EINVAL, "no VM is called \"\"");
	ok(vprobe_find_vm(-1, "pid:", &st, &err) == -EINVAL, "pid: what?");
	ok(vprobe_find_vm(-1, "pid:12x", &st, &err) == -EINVAL,
	   "pid:12x is no process id");
	ok(vprobe_find_vm(-1, "99999999999999999999999", &st, &err) == -EINVAL,
	   "a number without end is no id");
	ok(vprobe_dev_set_helper(-1, 1, -1, "", 5000, 0, &err) == -E2BIG,
	   "a layout that is too large does not reach the module");
}

int main(void)
{
	test_sizes();
	test_granules();
	test_cids();
	test_names();
	test_reasons();
	test_links();
	test_processes();
	test_attach();
	test_device();
	return tap_end();
}
