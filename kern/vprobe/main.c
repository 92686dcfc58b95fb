// SPDX-License-Identifier: GPL-2.0-only
/* /dev/vprobe: see uapi/vprobe.h for what it does. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vprobe.h"

/* Generation that this open file has read last. */
struct vprobe_fd {
	u64 seen;
};

static int do_info(struct vprobe_info *arg)
{
	arg->version = VPROBE_API_VERSION;
	arg->nr_vms = vprobe_nr_vms();
	return 0;
}

static int do_list(struct vprobe_list *arg)
{
	unsigned int room = min(arg->nr, 4096U);
	u64 *ids;
	int r = 0;

	ids = kcalloc(max(room, 1U), sizeof(*ids), GFP_KERNEL);
	if (!ids)
		return -ENOMEM;
	arg->nr = vprobe_vm_ids(ids, room);
	if (copy_to_user(u64_to_user_ptr(arg->ids), ids,
			 min(room, arg->nr) * sizeof(*ids)))
		r = -EFAULT;
	kfree(ids);
	return r;
}

static int do_fill(struct vprobe_vm *vm, struct vprobe_fill *arg)
{
	int r;

	r = vprobe_lock_pass(vm);
	if (r)
		return r;
	arg->filled = 0;
	r = vprobe_fill_some(vm, arg->target, 0, ULONG_MAX, VPROBE_FILL_OTHER,
			     &arg->filled);
	mutex_unlock(&vm->pass_lock);
	if (r == -EAGAIN)
		r = -EBUSY;
	arg->reason = vprobe_fill_reason(r);
	return r;
}

static int do_pressure(const struct vprobe_pressure *arg)
{
	if (arg->pressure > 10000)
		return -EINVAL;
	vprobe_policy_pressure(arg->pressure);
	return 0;
}

static int do_stat(struct vprobe_vm *vm, struct vprobe_stat *arg)
{
	u64 id = arg->id;
	u32 size = arg->size;

	memset(arg, 0, sizeof(*arg));
	arg->size = size;
	arg->id = id;
	vprobe_get_stat(vm, arg);
	return 0;
}

union vprobe_arg {
	u32 size;
	struct vprobe_info info;
	struct vprobe_attach attach;
	struct vprobe_detach detach;
	struct vprobe_list list;
	struct vprobe_set_helper set_helper;
	struct vprobe_reclaim reclaim;
	struct vprobe_fill fill;
	struct vprobe_map map;
	struct vprobe_stat stat;
	struct vprobe_policies policies;
	struct vprobe_pressure pressure;
	struct vprobe_quarantine quarantine;
};

/*
 * The size of each call's structure in version 1, which is still the size that
 * we know; a caller's may not be smaller.
 */
#define CALL(name, type)						\
	[_IOC_NR(VPROBE_IOC_##name)] = sizeof(struct type)

static const u16 sizes[] = {
	CALL(INFO, vprobe_info),
	CALL(ATTACH, vprobe_attach),
	CALL(DETACH, vprobe_detach),
	CALL(LIST, vprobe_list),
	CALL(SET_HELPER, vprobe_set_helper),
	CALL(RECLAIM, vprobe_reclaim),
	CALL(FILL, vprobe_fill),
	CALL(MAP, vprobe_map),
	CALL(STAT, vprobe_stat),
	CALL(POLICIES, vprobe_policies),
	CALL(PRESSURE, vprobe_pressure),
	CALL(QUARANTINE, vprobe_quarantine),
};

/* Calls on one VM; each structure has @size, @reason, @id in front. */
#define VM_CALL(member, fn)						\
	do {								\
		struct vprobe_vm *vm = vprobe_vm_get((member).id);	\
									\
		(member).reason = VPROBE_REASON_NONE;			\
		if (!vm) {						\
			(member).reason = VPROBE_REASON_NO_VM;		\
			r = -ENOENT;					\
			break;						\
		}							\
		r = fn(vm, &(member));					\
		vprobe_vm_put(vm);					\
	} while (0)

static int dispatch(unsigned int nr, union vprobe_arg *arg)
{
	int r;

	switch (nr) {
	case _IOC_NR(VPROBE_IOC_INFO):
		return do_info(&arg->info);
	case _IOC_NR(VPROBE_IOC_ATTACH):
		arg->attach.reason = VPROBE_REASON_NONE;
		return vprobe_attach(&arg->attach);
	case _IOC_NR(VPROBE_IOC_DETACH):
		arg->detach.reason = VPROBE_REASON_NONE;
		return vprobe_detach(&arg->detach);
	case _IOC_NR(VPROBE_IOC_LIST):
		return do_list(&arg->list);
	case _IOC_NR(VPROBE_IOC_SET_HELPER):
		VM_CALL(arg->set_helper, vprobe_set_helper);
		return r;
	case _IOC_NR(VPROBE_IOC_RECLAIM):
		VM_CALL(arg->reclaim, vprobe_do_reclaim);
		return r;
	case _IOC_NR(VPROBE_IOC_FILL):
		VM_CALL(arg->fill, do_fill);
		return r;
	case _IOC_NR(VPROBE_IOC_MAP):
		VM_CALL(arg->map, vprobe_do_map);
		return r;
	case _IOC_NR(VPROBE_IOC_STAT):
		VM_CALL(arg->stat, do_stat);
		return r;
	case _IOC_NR(VPROBE_IOC_POLICIES):
		return vprobe_policy_list(&arg->policies);
	case _IOC_NR(VPROBE_IOC_PRESSURE):
		return do_pressure(&arg->pressure);
	case _IOC_NR(VPROBE_IOC_QUARANTINE):
		VM_CALL(arg->quarantine, vprobe_quarantine);
		return r;
	default:
		return -ENOTTY;
	}
}

/*
 * The number of a call has the size of the caller's structure in it, which may
 * be another one than ours: only the rest of it tells calls apart.
 */
static long vprobe_ioctl(struct file *file, unsigned int cmd,
			 unsigned long uarg)
{
	void __user *user = (void __user *)uarg;
	unsigned int nr = _IOC_NR(cmd);
	union vprobe_arg *arg;
	size_t known;
	u32 size;
	int r;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (_IOC_TYPE(cmd) != VPROBE_IOC_MAGIC || nr >= ARRAY_SIZE(sizes))
		return -ENOTTY;
	known = sizes[array_index_nospec(nr, ARRAY_SIZE(sizes))];
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < known)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;

	arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	if (!arg)
		return -ENOMEM;
	r = copy_struct_from_user(arg, known, user, size);
	if (!r) {
		r = dispatch(nr, arg);
		/* Also on an error: the reason, and what was done. */
		if (r != -ENOTTY && copy_to_user(user, arg, known))
			r = -EFAULT;
	}
	kfree(arg);
	return r;
}

static int vprobe_open(struct inode *inode, struct file *file)
{
	struct vprobe_fd *fd = kzalloc(sizeof(*fd), GFP_KERNEL);

	if (!fd)
		return -ENOMEM;
	fd->seen = vprobe_generation();
	file->private_data = fd;
	return nonseekable_open(inode, file);
}

static int vprobe_close(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t vprobe_fop_read(struct file *file, char __user *buf,
			       size_t count, loff_t *pos)
{
	struct vprobe_fd *fd = file->private_data;
	u64 now = vprobe_generation();

	if (count < sizeof(now))
		return -EINVAL;
	if (copy_to_user(buf, &now, sizeof(now)))
		return -EFAULT;
	WRITE_ONCE(fd->seen, now);
	return sizeof(now);
}

static __poll_t vprobe_poll(struct file *file, poll_table *wait)
{
	struct vprobe_fd *fd = file->private_data;

	poll_wait(file, &vprobe_generation_wq, wait);
	return READ_ONCE(fd->seen) != vprobe_generation() ?
		EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations vprobe_fops = {
	.owner = THIS_MODULE,
	.open = vprobe_open,
	.release = vprobe_close,
	.read = vprobe_fop_read,
	.poll = vprobe_poll,
	.unlocked_ioctl = vprobe_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice vprobe_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vprobe",
	.fops = &vprobe_fops,
	.mode = 0600,
};

static int __init vprobe_init(void)
{
	int r;

	r = vprobe_vm_init();
	if (r)
		return r;
	r = vprobe_helper_init();
	if (r)
		goto err_vm;
	r = vprobe_policy_init();
	if (r)
		goto err_vm;
	vprobe_reserve_init();
	vprobe_inject_init();
	r = misc_register(&vprobe_dev);
	if (r)
		goto err_inject;
	r = vprobe_policy_open();
	if (r)
		goto err_dev;
	return 0;

err_dev:
	misc_deregister(&vprobe_dev);
err_inject:
	vprobe_inject_exit();
	vprobe_reserve_exit();
err_vm:
	vprobe_vm_exit();
	return r;
}
module_init(vprobe_init);

static void __exit vprobe_exit(void)
{
	vprobe_policy_exit();
	misc_deregister(&vprobe_dev);
	vprobe_inject_exit();
	vprobe_reserve_exit();
	vprobe_vm_exit();
	/* Helper runs are freed after a grace period. */
	rcu_barrier();
}
module_exit(vprobe_exit);

MODULE_DESCRIPTION("Take free memory back from virtual machines with devices");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(IOMMUFD);
