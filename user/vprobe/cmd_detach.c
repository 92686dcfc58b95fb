// SPDX-License-Identifier: GPL-2.0-only
/* vprobe detach: give everything back, forget the VM. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vprobe.h"

static void report(uint64_t id)
{
	out_note("detached VM %llu", (unsigned long long)id);
	out_u64(NULL, NULL, id);
}

/* All that can be is detached; the first failure is the one reported. */
static int detach_all(int dev)
{
	struct vprobe_error err, first = { 0 };
	uint64_t *ids;
	size_t nr, i;

	if (vprobe_dev_list(dev, &ids, &nr, &err))
		return fail(&err);
	if (!nr) {
		vprobe_error_set(&err, -ENOENT,
				 "nothing to detach: no VM is attached");
		return fail(&err);
	}
	out_object(NULL);
	out_array("detached");
	for (i = 0; i < nr; i++) {
		if (!vprobe_dev_detach(dev, ids[i], &err))
			report(ids[i]);
		else if (err.reason == VPROBE_REASON_NO_VM)
			continue; /* it has gone meanwhile */
		else if (!first.code)
			first = err;
	}
	out_end();
	if (first.code)
		error_fields(&first);
	out_end();
	free(ids);
	return first.code ? fail_partly(&first) : EXIT_OK;
}

static int detach_one(int dev, const char *spec)
{
	struct vprobe_error err;
	struct vprobe_stat st;

	if (vprobe_find_vm(dev, spec, &st, &err) ||
	    vprobe_dev_detach(dev, st.id, &err))
		return fail(&err);
	out_object(NULL);
	out_array("detached");
	report(st.id);
	out_end();
	out_end();
	return EXIT_OK;
}

int cmd_detach(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_vm,
		.args_doc = "VM|all",
		.doc = "Give all memory back to a VM and forget it.",
	};
	struct vm_args a = { 0 };
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_device();
	if (dev < 0)
		return EXIT_FAILED;
	ret = strcmp(a.vm, "all") ? detach_one(dev, a.vm) : detach_all(dev);
	close(dev);
	return ret;
}
