// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failure injection, for tests.
 *
 * Each step that can fail, allocations included, has a point with a file in
 * debugfs, vprobe/fail/NAME. Writing N makes the N-th pass through the point
 * from now on fail, once; 0 disarms it. Reading gives what is left. From
 * FAIL_ALWAYS on every pass fails until something else is written. A static
 * key keeps the points out of the way until the first write.
 */
#include <linux/debugfs.h>
#include <linux/jump_label.h>

#include "vprobe.h"

#define FAIL_ALWAYS	((int)BIT(30))

static DEFINE_STATIC_KEY_FALSE(inject_used);
static atomic_t countdown[__VPROBE_P_MAX];
static struct dentry *debugfs_dir;

static const char * const point_name[__VPROBE_P_MAX] = {
	[VPROBE_P_ALLOC_VM]	 = "alloc_vm",
	[VPROBE_P_ALLOC_BLOCK]	 = "alloc_block",
	[VPROBE_P_ALLOC_INDEX]	 = "alloc_index",
	[VPROBE_P_ALLOC_HELPER]	 = "alloc_helper",
	[VPROBE_P_ALLOC_BACKING] = "alloc_backing",
	[VPROBE_P_PUNCHER]	 = "puncher",
	[VPROBE_P_REGISTER]	 = "register",
	[VPROBE_P_ARM]		 = "arm",
	[VPROBE_P_ASK_AGAIN]	 = "ask_again",
	[VPROBE_P_PUNCH]	 = "punch",
	[VPROBE_P_PIN_CHECK]	 = "pin_check",
	[VPROBE_P_DROP]		 = "drop",
	[VPROBE_P_POPULATE]	 = "populate",
	[VPROBE_P_FILL_IOMMU]	 = "fill_iommu",
};

/* Context: any. */
bool vprobe_should_fail(enum vprobe_point point)
{
	if (!static_branch_unlikely(&inject_used))
		return false;
	if (atomic_read(&countdown[point]) >= FAIL_ALWAYS)
		return true;
	return atomic_read(&countdown[point]) > 0 &&
	       atomic_dec_and_test(&countdown[point]);
}

static int countdown_get(void *data, u64 *val)
{
	*val = max(atomic_read(data), 0);
	return 0;
}

static int countdown_set(void *data, u64 val)
{
	if (val > INT_MAX)
		return -ERANGE;
	static_branch_enable(&inject_used);
	atomic_set(data, val);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(countdown_fops, countdown_get, countdown_set,
			 "%llu\n");

void vprobe_inject_init(void)
{
	struct dentry *dir;
	int i;

	debugfs_dir = debugfs_create_dir("vprobe", NULL);
	dir = debugfs_create_dir("fail", debugfs_dir);
	for (i = 0; i < __VPROBE_P_MAX; i++)
		debugfs_create_file_unsafe(point_name[i], 0600, dir,
					   &countdown[i], &countdown_fops);
}

void vprobe_inject_exit(void)
{
	debugfs_remove(debugfs_dir);
}
