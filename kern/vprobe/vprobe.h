/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the vprobe module share.
 *
 * main.c     /dev/vprobe
 * vm.c       attach, detach, and what becomes of a VM when its VMM dies
 * block.c    the blocks of a VM and their states; the locks are described there
 * watch.c    what KVM calls: a guest touched something, a vCPU was reset
 * reclaim.c  one pass: ask the helper, arm, ask again, punch, drop
 * map.c      what is free, and what is taken
 * fill.c     give a block back
 * backing.c  the memfd behind guest memory
 * helper.c   the KVM BPF hook: runs helpers, has their kfuncs
 * squeeze.c  has VMs give what they do not use to who is short of memory
 * policy.c   who decides: policies, and the work that asks them
 * policy_bpf.c  what policies can call
 * inject.c   failure injection
 * stat.c     counters
 */
#ifndef _VPROBE_H
#define _VPROBE_H

#include <linux/iommufd.h>
#include <linux/kvm_host.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/vprobe_policy.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/kvm_page_track.h>

#include "vprobe_helper.h"
#include <vprobe.h>

struct bpf_prog;

/* Blocks that go through one TLB flush and one punch together. */
#define VPROBE_BATCH		32
/*
 * How long a vCPU sleeps at a time in a fault. KVM's SRCUs are held meanwhile,
 * so it goes back to the guest's fault, and past KVM's signal checks, after it.
 */
#define VPROBE_SLICE_MS		20
/* Times fill_timeout_ms: how long for a block that the VMM keeps from coming */
#define VPROBE_BUSY_FACTOR	10

/* Counters that only grow; the names are those of struct vprobe_stat. */
enum vprobe_counter {
	VPROBE_C_TAKEN_BYTES,
	VPROBE_C_TAKEN_BLOCKS,
	VPROBE_C_ARMED,
	VPROBE_C_FIRED,
	VPROBE_C_FIRED_IDLE,
	VPROBE_C_FILLS,
	VPROBE_C_FILL_BYTES,
	VPROBE_C_FILLS_VCPU,
	VPROBE_C_DEMAND_BYTES,
	VPROBE_C_FILLS_READ,
	VPROBE_C_FILLS_UNDO,
	VPROBE_C_FILL_WAITS,
	VPROBE_C_FILL_TIMEOUTS,
	VPROBE_C_FAILSAFES,
	VPROBE_C_FAILSAFE_WRITES,
	VPROBE_C_REPOPULATED,
	VPROBE_C_EMULATED,
	VPROBE_C_PASSES,
	VPROBE_C_HELPER_RUNS,
	VPROBE_C_HELPER_NS,
	VPROBE_C_HELPER_ERRORS,
	VPROBE_C_TLB_FLUSHES,
	__VPROBE_C_MAX,
};

/* A piece of guest-physical memory with one file behind it. */
struct vprobe_backing {
	gfn_t gfn;
	unsigned long npages;
	unsigned long uaddr;
	struct file *file;
	pgoff_t pgoff;		/* in 4 KiB pages, for hugetlbfs as well */
};

/* QEMU has one for each memory slot. */
#define VPROBE_BACKINGS_MAX 1024

struct vprobe_backings {
	unsigned int nr;
	unsigned int max;
	unsigned int visits;	/* VMAs looked at */
	u64 bytes;
	struct vprobe_backing b[];
};

/* Internal states, in the order of DESIGN's picture; see block.c. */
enum vprobe_state {
	VPROBE_ARMING,
	VPROBE_WATCHED,
	VPROBE_RECLAIMING,
	VPROBE_HOLE,
	VPROBE_FILLING,
	VPROBE_GONE,
};

struct vprobe_blk {
	refcount_t ref;
	struct rcu_head rcu;
	gfn_t gfn;
	gfn_t watch_gfn;
	u8 order;
	u8 state;		/* enum vprobe_state */
	bool fired;		/* the guest wants it: do not go on */
	bool armed;		/* the watch is write-tracked */
	bool confirmed;		/* reported free after arming */
	bool punched;		/* has to be filled: holes[] exist, or less memory */
	bool taken;		/* may not be whole: RECLAIMING and after */
	bool fill_last;		/* a vCPU must not go on before all others */
	unsigned long uaddr;
	struct file *file;
	pgoff_t pgoff;
	u64 taken_ns;			/* ktime_get_ns() when it became a hole */
	/* jiffies when a fill failed first and last; 0 if none did */
	unsigned long wait_since;
	unsigned long busy_since;
	unsigned long wait_last;
	bool wait_counted;
	bool fire_counted;
	bool stopped;		/* vm->lock; the VM was stopped for it */
	struct iommufd_hole holes[];	/* vm->nr_iommufds */
};

struct vprobe_helper {
	struct bpf_prog *prog;
	u32 layout_len;
	u8 layout[];
};

/* A free block, as a helper reports it. */
struct vprobe_report {
	gfn_t gfn;
	gfn_t watch_gfn;
	u32 order;
};

struct vprobe_vm {
	refcount_t ref;
	struct rcu_head rcu;
	u64 id;
	struct kvm *kvm;
	struct mm_struct *mm;		/* == kvm->mm, mmgrab()bed */
	struct kvm_page_track_notifier_node track;
	struct mmu_notifier mn;
	struct work_struct release_work;
	struct work_struct free_work;
	struct pid *pid;			/* of the VMM */
	u32 cid;
	u32 flags;
	u32 granule_shift;
	u32 fill_timeout_ms;
	char name[VPROBE_NAME_LEN];
	u32 nr_iommufds;
	struct iommufd_ctx *ictx[VPROBE_MAX_IOMMUFDS];
	struct iommufd_puncher *puncher[VPROBE_MAX_IOMMUFDS];

	struct mutex pass_lock;		/* passes, attach and detach; block.c */
	struct vprobe_helper *helper;	/* pass_lock */
	struct vprobe_backings *backings;	/* pass_lock; of a pass */
	bool has_ram[2];		/* pass_lock; [1]: on hugetlbfs */
	/* pass_lock; VPROBE_REPORTS_MAX each */
	struct vprobe_report *reports;
	struct vprobe_report *again;
	struct folio **windows;		/* VPROBE_WINDOWS_MAX, of a helper's run */
	bool detached;			/* pass_lock */
	/* Not empty: no helper. Written with pass_lock and lock, read with one. */
	char quarantine_why[VPROBE_WHY_LEN];
	bool published;			/* vprobe_vms_lock; read without it */
	atomic_t waiters;		/* for pass_lock: the pass shall end */
	atomic_t askers;		/* likewise, if it is a policy's */

	spinlock_t lock;		/* states and sums; innermost */
	struct xarray blocks;
	struct xarray watches;
	struct xarray was_fired;
	wait_queue_head_t wq;
	unsigned long nr_blocks;	/* lock; read without it */
	unsigned long nr_holes;		/* lock */
	u64 hole_bytes;			/* lock; read without it */
	unsigned long nr_watches;	/* lock */
	u64 ram_bytes;
	u64 free_bytes;			/* as last counted, not taken */
	unsigned long region_gen;	/* lock; memslots that went away */
	unsigned long pass_gen;		/* lock; region_gen as the pass saw it */
	bool failsafe;			/* all holes shall be filled, now */
	unsigned long failsafe_left;	/* lock; least blocks since it began, */
	unsigned long failsafe_since;	/* lock; and when it came to that */
	unsigned long failsafe_fed;	/* last step that did not lack memory */
	int failsafe_errno;		/* of its last step */
	gfn_t failsafe_gfn;		/* pass_lock; where the next one begins */
	struct delayed_work failsafe_work;
	struct delayed_work policy_work;
	bool policy_off;		/* lock */
	unsigned long policy_due;	/* lock; jiffies, if it is pending */
	u64 policy_id;			/* asked last; 0: the built-in one */
	bool dying;			/* the VMM's mm is gone */
	bool closed;			/* lock; the VMM has closed the VM */
	int stop_errno;			/* lock; read without it; a fill hit its limit */
	unsigned int nr_stopped;	/* lock; blocks whose fill did */
	u64 lost_ns;			/* lock; boot time when it lost its helper */
	struct work_struct squeeze_work;
	bool squeezing;			/* with release and acquire: it runs */
	/* Squeeze.c's, or while it runs, the work's. */
	struct vprobe_squeeze {
		u64 want;
		bool hugetlb;
		u64 freed;
		bool none;
	} squeeze;
	unsigned long squeezed;		/* jiffies when others were asked last */
	unsigned long has_nothing[2];	/* jiffies until which it is not asked */
	u64 longest_wait_ms;		/* lock; of a fill, for memory or locks */

	atomic64_t counter[__VPROBE_C_MAX];
	atomic64_t refused[__VPROBE_REASON_MAX];
	atomic64_t fill_us[VPROBE_FILL_BUCKETS];
};

static inline u64 vprobe_blk_bytes(const struct vprobe_blk *blk)
{
	return PAGE_SIZE << blk->order;
}

static inline unsigned long vprobe_blk_pages(const struct vprobe_blk *blk)
{
	return 1UL << blk->order;
}

/* stat.c */
static inline void vprobe_count(struct vprobe_vm *vm, enum vprobe_counter c)
{
	atomic64_inc(&vm->counter[c]);
}

static inline void vprobe_add(struct vprobe_vm *vm, enum vprobe_counter c,
			      u64 n)
{
	atomic64_add(n, &vm->counter[c]);
}

static inline void vprobe_refuse(struct vprobe_vm *vm, enum vprobe_reason r)
{
	atomic64_inc(&vm->refused[r]);
}

void vprobe_count_fill(struct vprobe_vm *vm, u64 ns);
void vprobe_get_stat(struct vprobe_vm *vm, struct vprobe_stat *stat);

/* vm.c */
int vprobe_attach(struct vprobe_attach *arg);
int vprobe_detach(struct vprobe_detach *arg);
struct vprobe_vm *vprobe_vm_get(u64 id);
void vprobe_vm_put(struct vprobe_vm *vm);
struct vprobe_vm *vprobe_vm_next(u64 *id);
struct vprobe_vm *vprobe_vm_peek(u64 id);
u64 vprobe_vm_id_after(u64 id);
unsigned int vprobe_vm_ids(u64 *ids, unsigned int room);
unsigned int vprobe_nr_vms(void);
u64 vprobe_generation(void);
int vprobe_lock_pass(struct vprobe_vm *vm);
int vprobe_lock_attached(struct vprobe_vm *vm, u32 *reason);
void vprobe_queue_release(struct vprobe_vm *vm);
void vprobe_queue_work(struct vprobe_vm *vm, struct delayed_work *work,
		       unsigned long delay);
extern wait_queue_head_t vprobe_generation_wq;
extern struct workqueue_struct *vprobe_wq;
int vprobe_vm_init(void);
void vprobe_vm_exit(void);

/* block.c */
struct vprobe_blk *vprobe_blk_create(struct vprobe_vm *vm,
				     const struct vprobe_report *report,
				     const struct vprobe_backing *backing);
struct vprobe_blk *vprobe_blk_at(struct vprobe_vm *vm, gfn_t gfn);
struct vprobe_blk *vprobe_blk_watching(struct vprobe_vm *vm, gfn_t gfn);
struct vprobe_blk *vprobe_blk_next(struct vprobe_vm *vm, gfn_t *gfn,
				   gfn_t last);
void vprobe_blk_put(struct vprobe_blk *blk);
bool vprobe_blk_move(struct vprobe_vm *vm, struct vprobe_blk *blk,
		     enum vprobe_state from, enum vprobe_state to);
bool vprobe_blk_move_unless_fired(struct vprobe_vm *vm, struct vprobe_blk *blk,
				  enum vprobe_state from, enum vprobe_state to);
void vprobe_blk_release(struct vprobe_vm *vm, struct vprobe_blk *blk);
void vprobe_blk_wait(struct vprobe_vm *vm, struct vprobe_blk *blk,
		     enum vprobe_state state);

/* watch.c */
int vprobe_track_fault(struct kvm_vcpu *vcpu, gfn_t gfn, unsigned int flags,
		       struct kvm_page_track_notifier_node *node);
int vprobe_track_reset(struct kvm_vcpu *vcpu,
		       struct kvm_page_track_notifier_node *node);
void vprobe_track_close(struct kvm *kvm,
			struct kvm_page_track_notifier_node *node);
void vprobe_track_write(gpa_t gpa, const u8 *new, int bytes,
			struct kvm_page_track_notifier_node *node);
void vprobe_track_remove_region(gfn_t gfn, unsigned long npages,
				struct kvm_page_track_notifier_node *node);

/* fill.c */
enum vprobe_fill_why {
	VPROBE_FILL_VCPU,
	VPROBE_FILL_READ,
	VPROBE_FILL_UNDO,
	VPROBE_FILL_FAILSAFE,
	VPROBE_FILL_SETTLE,	/* who needs it cannot be sent back */
	VPROBE_FILL_OTHER,
};

int vprobe_fill_blk(struct vprobe_vm *vm, struct vprobe_blk *blk,
		    enum vprobe_fill_why why);
int vprobe_fill_some(struct vprobe_vm *vm, u64 target, gfn_t gfn, gfn_t last,
		     enum vprobe_fill_why why, u64 *filled);
bool vprobe_fill_stands_still(struct vprobe_vm *vm, struct vprobe_blk *blk,
			      unsigned long began);
bool vprobe_fill_has_clock(enum vprobe_fill_why why, int r);
bool vprobe_fill_gave_up(struct vprobe_vm *vm, struct vprobe_blk *blk, int r);
int vprobe_make_whole(struct vprobe_vm *vm);
u32 vprobe_fill_reason(int r);
bool vprobe_note_reset(struct vprobe_vm *vm);
bool vprobe_failsafe_start(struct vprobe_vm *vm);
bool vprobe_failsafe_step(struct vprobe_vm *vm);
bool vprobe_failsafe_stuck(struct vprobe_vm *vm);
void vprobe_failsafe_work(struct work_struct *work);
int vprobe_forget_all(struct vprobe_vm *vm, long timeout);
bool vprobe_reserve_use(unsigned long npages);
void vprobe_reserve_init(void);
void vprobe_reserve_exit(void);

/* reclaim.c */
int vprobe_do_reclaim(struct vprobe_vm *vm, struct vprobe_reclaim *arg);
int vprobe_reclaim_whole(struct vprobe_vm *vm, struct vprobe_reclaim *arg,
			 unsigned long deadline);
int vprobe_reclaim_for_policy(struct vprobe_vm *vm, struct vprobe_reclaim *arg,
			      unsigned long deadline, u64 policy);
int vprobe_ask_pass(struct vprobe_vm *vm);
bool vprobe_policy_pass_is_over(struct vprobe_vm *vm, unsigned long deadline);
int vprobe_may_pass(struct vprobe_vm *vm, u32 *reason);
u32 vprobe_pass_reason(int r);
unsigned long vprobe_max_runs(unsigned long npages);
int vprobe_refresh_backings(struct vprobe_vm *vm);

/* map.c */
int vprobe_count_free(struct vprobe_vm *vm, unsigned long deadline, u64 *bytes);
int vprobe_do_map(struct vprobe_vm *vm, struct vprobe_map *arg);

/* backing.c */
int vprobe_lock_mmap(struct mm_struct *mm, bool write, unsigned long timeout);
struct vprobe_backings *vprobe_backings_get(struct vprobe_vm *vm);
void vprobe_backings_set(struct vprobe_vm *vm, struct vprobe_backings *backings);
void vprobe_backings_drop(struct vprobe_vm *vm);
const struct vprobe_backing *
vprobe_backing_at(const struct vprobe_backings *backings, gfn_t gfn);
struct folio *vprobe_backing_folio(const struct vprobe_backings *backings,
				   gfn_t gfn, void **addr);
int vprobe_backing_fits(struct vprobe_blk *blk);
int vprobe_backing_check(struct vprobe_blk *blk);
int vprobe_backing_drop(struct vprobe_blk *blk);
int vprobe_backing_populate(struct vprobe_vm *vm, struct vprobe_blk *blk);
bool vprobe_backing_present(struct vprobe_blk *blk);
bool vprobe_backing_has(struct vprobe_vm *vm, bool hugetlb);
int vprobe_backing_hold(struct vprobe_blk *blk);
void vprobe_backing_let_go(struct vprobe_blk *blk);
bool vprobe_backing_short(struct vprobe_blk *blk, bool *hugetlb);
u64 vprobe_freed_pages(bool hugetlb);

/* helper.c */
int vprobe_set_helper(struct vprobe_vm *vm, struct vprobe_set_helper *arg);
void vprobe_helper_free(struct vprobe_helper *helper);
void vprobe_drop_helper(struct vprobe_vm *vm);
u64 vprobe_lost_before(struct vprobe_vm *vm);
void vprobe_note_lost(struct vprobe_vm *vm);
int vprobe_quarantine(struct vprobe_vm *vm, struct vprobe_quarantine *arg);
int vprobe_ask(struct vprobe_vm *vm, gfn_t gfn, gfn_t end, gfn_t *next,
	       struct vprobe_report *reports, unsigned int *nr);
int vprobe_helper_init(void);

/* policy.c, policy_bpf.c */
int vprobe_policy_prefer(struct vprobe_vm *vm, u64 policy,
			 const struct vprobe_report *report);
void vprobe_policy_filled(struct vprobe_vm *vm, const struct vprobe_blk *blk,
			  u64 fill_ns);
void vprobe_policy_pressure(u32 pressure);
void vprobe_policy_work(struct work_struct *work);
void vprobe_policy_start(struct vprobe_vm *vm);
void vprobe_policy_stop(struct vprobe_vm *vm);
int vprobe_policy_list(struct vprobe_policies *arg);
int vprobe_policy_init(void);
int vprobe_policy_open(void);
void vprobe_policy_exit(void);

/* squeeze.c */
void vprobe_squeeze_for(struct vprobe_vm *vm, bool hugetlb, u64 bytes);
void vprobe_squeeze_early(struct vprobe_vm *vm);
void vprobe_squeeze_work(struct work_struct *work);
int vprobe_squeeze_init(void);
void vprobe_squeeze_exit(void);

/* inject.c */
enum vprobe_point {
	VPROBE_P_ALLOC_VM,
	VPROBE_P_ALLOC_BLOCK,
	VPROBE_P_ALLOC_INDEX,
	VPROBE_P_ALLOC_HELPER,
	VPROBE_P_ALLOC_BACKING,
	VPROBE_P_PUNCHER,
	VPROBE_P_REGISTER,
	VPROBE_P_ARM,
	VPROBE_P_ASK_AGAIN,
	VPROBE_P_PUNCH,
	VPROBE_P_PIN_CHECK,
	VPROBE_P_DROP,
	VPROBE_P_POPULATE,
	VPROBE_P_FILL_IOMMU,
	__VPROBE_P_MAX,
};

bool vprobe_should_fail(enum vprobe_point point);
void vprobe_inject_init(void);
void vprobe_inject_exit(void);

#endif
