/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device behind the IOMMU that CONFIG_IOMMUFD_TEST brings. It does what those of
 * the emulated machine cannot: its IOMMU tracks what is dirty, has no entries but
 * of 2 KiB, and warns if something is unmapped that was not mapped like that. There
 * is one for each process.
 *
 * Where nothing else is said, does not return on errors.
 */
#ifndef VPROBE_TESTS_MOCKDEV_H
#define VPROBE_TESTS_MOCKDEV_H

#include <iommufd_test.h>
#include <stdbool.h>

#include "iommufd.h"

#define MOCK_PAGE	(PAGE / 2)

static struct mock_device {
	int iommufd;
	uint32_t hwpt;
	uint64_t bytes;
} mock;

/* As VFIO's first version: what is mapped can be unmapped in part. */
static inline void mock_like_type1(int iommufd, uint32_t ioas)
{
	struct iommu_vfio_ioas cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.op = IOMMU_VFIO_IOAS_SET,
	};

	if (ioctl(iommufd, IOMMU_VFIO_IOAS, &cmd) ||
	    ioctl(iommufd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		fail("have an IOAS like VFIO's");
}

/* What it reaches are so many bytes from MOCK_APERTURE_START on, once they are mapped. */
static inline void mock_attach(int iommufd, uint32_t ioas, uint64_t bytes)
{
	struct iommu_test_cmd device = {
		.size = sizeof(device),
		.op = IOMMU_TEST_OP_MOCK_DOMAIN,
		.id = ioas,
	};
	struct iommu_test_cmd replace = {
		.size = sizeof(replace),
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.pt_id = ioas,
	};

	if (ioctl(iommufd, IOMMU_TEST_CMD, &device))
		fail("make a device of the mock IOMMU");
	alloc.dev_id = device.mock_domain.out_idev_id;
	if (ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc))
		fail("make page tables with dirty tracking");
	replace.id = device.mock_domain.out_stdev_id;
	replace.mock_domain_replace.pt_id = alloc.out_hwpt_id;
	if (ioctl(iommufd, IOMMU_TEST_CMD, &replace))
		fail("attach the device to page tables");
	mock = (struct mock_device){
		.iommufd = iommufd,
		.hwpt = alloc.out_hwpt_id,
		.bytes = bytes,
	};
}

static inline void mock_track(bool on)
{
	struct iommu_hwpt_set_dirty_tracking cmd = {
		.size = sizeof(cmd),
		.flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0,
		.hwpt_id = mock.hwpt,
	};

	if (ioctl(mock.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd))
		fail("switch dirty tracking");
}

/* The device writes everywhere: the bytes that it could. */
static inline uint64_t mock_write(void)
{
	size_t size = mock.bytes / MOCK_PAGE / 8;
	void *bits = malloc(size);
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_DIRTY,
		.id = mock.hwpt,
		.dirty = {
			.iova = MOCK_APERTURE_START,
			.length = mock.bytes,
			.page_size = MOCK_PAGE,
			.uptr = (uintptr_t)bits,
		},
	};

	if (!bits)
		fail("get memory");
	memset(bits, 0xff, size);
	if (ioctl(mock.iommufd, IOMMU_TEST_CMD, &cmd))
		fail("have the device write");
	free(bits);
	return cmd.dirty.out_nr_dirty * MOCK_PAGE;
}

/* Prints what is dirty, as ranges of pages "FIRST-LAST". Then it is no more. */
static inline void mock_print_dirty(void)
{
	size_t pages = mock.bytes / PAGE, first = 0, i;
	uint64_t *bits = calloc((pages + 63) / 64, sizeof(*bits));
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd),
		.hwpt_id = mock.hwpt,
		.iova = MOCK_APERTURE_START,
		.length = mock.bytes,
		.page_size = PAGE,
		.data = (uintptr_t)bits,
	};
	bool was = false, is;

	if (!bits)
		fail("get memory");
	if (ioctl(mock.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd))
		fail("read what is dirty");
	printf("dirty:");
	for (i = 0; i <= pages; i++) {
		is = i < pages && bits[i / 64] >> (i % 64) & 1;
		if (is && !was)
			first = i;
		else if (was && !is)
			printf(" %zu-%zu", first, i - 1);
		was = is;
	}
	printf("\n");
	free(bits);
}

/* Bytes that were unmapped; 0 and errno if none. */
static inline uint64_t mock_unmap(uint64_t first, uint64_t pages)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd),
		.iova = MOCK_APERTURE_START + first * PAGE,
		.size = pages * PAGE,
	};

	return ioctl(mock.iommufd, VFIO_IOMMU_UNMAP_DMA, &cmd) ? 0 : cmd.size;
}

/* What mockvmm was told; false if it is none of these. Prints one line. */
static inline bool mock_command(const char *line)
{
	unsigned long first, pages;

	if (!mock.hwpt)
		return false;
	if (!strcmp(line, "track\n") || !strcmp(line, "track no\n")) {
		mock_track(!strchr(line, ' '));
		printf("tracks\n");
	} else if (!strcmp(line, "write\n")) {
		printf("wrote %llu\n", (unsigned long long)mock_write());
	} else if (!strcmp(line, "dirty\n")) {
		mock_print_dirty();
	} else if (sscanf(line, "unmap %lu %lu", &first, &pages) == 2) {
		uint64_t bytes = mock_unmap(first, pages);

		if (bytes)
			printf("unmapped %llu\n", (unsigned long long)bytes);
		else
			printf("unmapped nothing: %s\n", strerror(errno));
	} else {
		return false;
	}
	return true;
}

#endif
