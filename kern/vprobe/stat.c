// SPDX-License-Identifier: GPL-2.0-only
/* Counters of a VM. */
#include <linux/log2.h>

#include "vprobe.h"

/**
 * vprobe_count_fill() - account how long one fill took
 * @vm: the VM
 * @ns: from the start of the fill to its end, waiting for memory excluded
 *
 * Context: any.
 */
void vprobe_count_fill(struct vprobe_vm *vm, u64 ns)
{
	u64 us = div_u64(ns, NSEC_PER_USEC);
	unsigned int i = us ? ilog2(us) : 0;

	atomic64_inc(&vm->fill_us[min(i, VPROBE_FILL_BUCKETS - 1U)]);
}

static u64 counter(struct vprobe_vm *vm, enum vprobe_counter c)
{
	return atomic64_read(&vm->counter[c]);
}

static void copy_counters(struct vprobe_vm *vm, struct vprobe_stat *stat)
{
	stat->taken_bytes = counter(vm, VPROBE_C_TAKEN_BYTES);
	stat->taken_blocks = counter(vm, VPROBE_C_TAKEN_BLOCKS);
	stat->armed = counter(vm, VPROBE_C_ARMED);
	stat->fired = counter(vm, VPROBE_C_FIRED);
	stat->fired_idle = counter(vm, VPROBE_C_FIRED_IDLE);
	stat->fills = counter(vm, VPROBE_C_FILLS);
	stat->fill_bytes = counter(vm, VPROBE_C_FILL_BYTES);
	stat->fills_vcpu = counter(vm, VPROBE_C_FILLS_VCPU);
	stat->fills_read = counter(vm, VPROBE_C_FILLS_READ);
	stat->fills_undo = counter(vm, VPROBE_C_FILLS_UNDO);
	stat->fill_waits = counter(vm, VPROBE_C_FILL_WAITS);
	stat->fill_timeouts = counter(vm, VPROBE_C_FILL_TIMEOUTS);
	stat->failsafes = counter(vm, VPROBE_C_FAILSAFES);
	stat->failsafe_writes = counter(vm, VPROBE_C_FAILSAFE_WRITES);
	stat->repopulated = counter(vm, VPROBE_C_REPOPULATED);
	stat->emulated = counter(vm, VPROBE_C_EMULATED);
	stat->passes = counter(vm, VPROBE_C_PASSES);
	stat->helper_runs = counter(vm, VPROBE_C_HELPER_RUNS);
	stat->helper_ns = counter(vm, VPROBE_C_HELPER_NS);
	stat->helper_errors = counter(vm, VPROBE_C_HELPER_ERRORS);
	stat->demand_bytes = counter(vm, VPROBE_C_DEMAND_BYTES);
	stat->tlb_flushes = counter(vm, VPROBE_C_TLB_FLUSHES);
}

/**
 * vprobe_get_stat() - a snapshot of what is known of a VM
 * @vm: the VM
 * @stat: zeroed by the caller; @size, @reason and @id are left alone
 *
 * The values are read one by one while the VM runs: they may be off from each
 * other by what happened in between.
 *
 * Context: process. Takes vm->lock.
 */
void vprobe_get_stat(struct vprobe_vm *vm, struct vprobe_stat *stat)
{
	unsigned int i;

	stat->pid = pid_vnr(vm->pid);
	stat->cid = vm->cid;
	stat->flags = vm->flags;
	stat->granule_shift = vm->granule_shift;
	stat->nr_iommufds = vm->nr_iommufds;
	stat->fill_timeout_ms = vm->fill_timeout_ms;
	stat->stop_reason = READ_ONCE(vm->stop_errno);
	memcpy(stat->name, vm->name, sizeof(stat->name));
	stat->ram_bytes = READ_ONCE(vm->ram_bytes);

	spin_lock(&vm->lock);
	stat->holes = vm->nr_holes;
	stat->hole_bytes = vm->hole_bytes;
	stat->watches = vm->nr_watches;
	stat->longest_wait_ms = vm->longest_wait_ms;
	memcpy(stat->quarantine_why, vm->quarantine_why,
	       sizeof(stat->quarantine_why));
	spin_unlock(&vm->lock);

	if (READ_ONCE(vm->dying))
		stat->state = VPROBE_VM_DYING;
	else if (stat->stop_reason)
		stat->state = VPROBE_VM_STOPPED;
	else if (stat->quarantine_why[0])
		stat->state = VPROBE_VM_QUARANTINED;
	else if (READ_ONCE(vm->helper))
		stat->state = VPROBE_VM_READY;
	else
		stat->state = VPROBE_VM_NO_HELPER;

	copy_counters(vm, stat);
	stat->has_helper = !!READ_ONCE(vm->helper);
	stat->free_bytes = READ_ONCE(vm->free_bytes);
	stat->policy_id = READ_ONCE(vm->policy_id);
	for (i = 0; i < vm->nr_iommufds; i++)
		stat->iotlb_flushes += iommufd_puncher_flushes(vm->puncher[i]);

	BUILD_BUG_ON(ARRAY_SIZE(stat->refused) < __VPROBE_REASON_MAX);
	for (i = 0; i < __VPROBE_REASON_MAX; i++)
		stat->refused[i] = atomic64_read(&vm->refused[i]);
	for (i = 0; i < VPROBE_FILL_BUCKETS; i++)
		stat->fill_us[i] = atomic64_read(&vm->fill_us[i]);
}
