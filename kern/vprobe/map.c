// SPDX-License-Identifier: GPL-2.0-only
/* What is free and what is taken, without changing any of it. */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "vprobe.h"

struct map {
	struct vprobe_block *blocks;
	u32 room;
	u32 nr;
	gfn_t done;	/* up to here, exclusive */
};

static void map_add(struct map *map, gfn_t gfn, gfn_t watch_gfn, u32 order,
		    u32 state)
{
	if (map->nr < map->room)
		map->blocks[map->nr] = (struct vprobe_block) {
			.gpa = gfn_to_gpa(gfn),
			.watch_gpa = gfn_to_gpa(watch_gfn),
			.order = order,
			.state = state,
		};
	map->nr++;
}

static void map_add_blk(struct map *map, struct vprobe_blk *blk)
{
	static const u32 uapi_state[] = {
		[VPROBE_ARMING] = VPROBE_BLOCK_WATCHED,
		[VPROBE_WATCHED] = VPROBE_BLOCK_WATCHED,
		[VPROBE_RECLAIMING] = VPROBE_BLOCK_RECLAIMING,
		[VPROBE_HOLE] = VPROBE_BLOCK_HOLE,
		[VPROBE_FILLING] = VPROBE_BLOCK_FILLING,
		[VPROBE_GONE] = VPROBE_BLOCK_FREE,
	};

	map_add(map, blk->gfn, blk->watch_gfn, blk->order,
		uapi_state[READ_ONCE(blk->state)]);
}

/* List blocks up to @last, inclusive, from where the map is. */
static void map_blks(struct vprobe_vm *vm, struct map *map, gfn_t last)
{
	struct vprobe_blk *blk;

	while (map->done <= last) {
		blk = vprobe_blk_next(vm, &map->done, last);
		if (!blk)
			break;
		map_add_blk(map, blk);
		vprobe_blk_put(blk);
		cond_resched();
	}
}

typedef int (*report_fn)(struct vprobe_vm *vm, void *arg,
			 const struct vprobe_report *report);

static int ask_backing(struct vprobe_vm *vm, const struct vprobe_backing *b,
		       unsigned long deadline, report_fn fn, void *arg)
{
	gfn_t gfn = ALIGN(b->gfn, 1UL << (vm->granule_shift - PAGE_SHIFT));
	gfn_t end = b->gfn + b->npages;
	unsigned long runs = vprobe_max_runs(b->npages);
	unsigned int i, nr;
	int r = 0;

	while (!r && gfn < end) {
		if (signal_pending(current))
			return -EINTR;
		/* A vCPU tries the lock for the fail-safe, or somebody waits. */
		if (READ_ONCE(vm->failsafe) ||
		    (!deadline && atomic_read(&vm->waiters)))
			return -EBUSY;
		/* What is behind a memslot that goes away is let go of now. */
		if (READ_ONCE(vm->region_gen) != READ_ONCE(vm->pass_gen))
			return deadline ? -EINTR : -EBUSY;
		if (deadline && vprobe_policy_pass_is_over(vm, deadline))
			return -EINTR;
		if (!runs--) {
			vprobe_count(vm, VPROBE_C_HELPER_ERRORS);
			return -EPROTO;
		}
		cond_resched();
		r = vprobe_ask(vm, gfn, end, &gfn, vm->reports, &nr);
		for (i = 0; !r && i < nr; i++)
			r = fn(vm, arg, &vm->reports[i]);
	}
	return r;
}

/*
 * Ask the helper about all memory, and call @fn for each block it reports. With a
 * @deadline (jiffies) for a policy. Anybody else goes before: who waits for the lock
 * was promised that it is free soon.
 */
static int ask_all(struct vprobe_vm *vm, unsigned long deadline, report_fn fn,
		   void *arg)
{
	unsigned int i;
	int r;

	r = vprobe_refresh_backings(vm);
	for (i = 0; !r && i < vm->backings->nr; i++)
		r = ask_backing(vm, &vm->backings->b[i], deadline, fn, arg);
	vprobe_backings_drop(vm);
	return r;
}

/* What the helper reports, with what is known already in between. */
static int map_report(struct vprobe_vm *vm, void *arg,
		      const struct vprobe_report *p)
{
	struct map *map = arg;

	if (p->gfn < map->done)
		return 0;
	map_blks(vm, map, p->gfn + (1UL << p->order) - 1);
	if (p->gfn < map->done)
		return 0;
	map_add(map, p->gfn, p->watch_gfn, p->order, VPROBE_BLOCK_FREE);
	map->done = p->gfn + (1UL << p->order);
	return 0;
}

static int count_report(struct vprobe_vm *vm, void *arg,
			const struct vprobe_report *p)
{
	struct vprobe_blk *blk = vprobe_blk_at(vm, p->gfn);
	u64 *bytes = arg;

	if (!blk && p->order >= vm->granule_shift - PAGE_SHIFT)
		*bytes += PAGE_SIZE << p->order;
	vprobe_blk_put(blk);
	return 0;
}

/**
 * vprobe_count_free() - how much a pass could take
 * @vm: the VM
 * @deadline: jiffies; it ends before if somebody wants pass_lock
 * @bytes: out; what the guest's helper says, at most all of the guest's memory
 *
 * Context: process, pass_lock.
 * Return: 0, or what a pass returns.
 */
int vprobe_count_free(struct vprobe_vm *vm, unsigned long deadline, u64 *bytes)
{
	u32 reason;
	int r;

	lockdep_assert_held(&vm->pass_lock);

	*bytes = 0;
	r = vprobe_may_pass(vm, &reason);
	if (!r)
		r = ask_all(vm, deadline, count_report, bytes);
	*bytes = min(*bytes, vm->ram_bytes);
	WRITE_ONCE(vm->free_bytes, r ? 0 : *bytes);
	return r;
}

static int map_all(struct vprobe_vm *vm, struct vprobe_map *arg, struct map *map)
{
	int r;

	r = vprobe_ask_pass(vm);
	if (r)
		return r;
	if (arg->flags & VPROBE_MAP_ASK) {
		r = vprobe_may_pass(vm, &arg->reason);
		if (!r) {
			r = ask_all(vm, 0, map_report, map);
			arg->reason = vprobe_pass_reason(r);
		}
	}
	if (!r)
		map_blks(vm, map, ULONG_MAX);
	mutex_unlock(&vm->pass_lock);
	return r;
}

/**
 * vprobe_do_map() - VPROBE_IOC_MAP
 * @vm: the VM
 * @arg: see struct vprobe_map
 *
 * User memory may be long in coming, so it is not touched under a lock that vCPUs
 * may want.
 *
 * Context: process. Waits for a pass to end.
 */
int vprobe_do_map(struct vprobe_vm *vm, struct vprobe_map *arg)
{
	/* There cannot be more, whatever room there is. */
	u64 most = READ_ONCE(vm->ram_bytes) >> PAGE_SHIFT;
	struct map map = { .room = min_t(u64, arg->nr, most) };
	int r;

	if (arg->flags & ~VPROBE_MAP_ASK)
		return -EINVAL;
	map.blocks = kvmalloc_array(map.room, sizeof(*map.blocks),
				    GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
				    __GFP_RETRY_MAYFAIL);
	if (!map.blocks) {
		arg->reason = VPROBE_REASON_NO_MEMORY;
		return -ENOMEM;
	}
	r = map_all(vm, arg, &map);
	/* It has got more meanwhile. */
	if (!r && map.nr > map.room && map.room < arg->nr) {
		arg->reason = VPROBE_REASON_BUSY;
		r = -EBUSY;
	}
	if (copy_to_user(u64_to_user_ptr(arg->blocks), map.blocks,
			 min(map.nr, map.room) * sizeof(*map.blocks)))
		r = -EFAULT;
	kvfree(map.blocks);
	arg->nr = map.nr;
	return r;
}
