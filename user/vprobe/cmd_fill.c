// SPDX-License-Identifier: GPL-2.0-only
/* vprobe fill: give memory back before the guest asks for it. */
#include <unistd.h>

#include "vprobe.h"

int cmd_fill(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_vm_size,
		.args_doc = "VM [SIZE|all]",
		.doc = "Give memory back to a VM, now: at least SIZE, or all that was taken (the default).",
	};
	struct vm_args a = { .size = VPROBE_ALL };
	struct vprobe_fill req = { 0 };
	struct vprobe_error err;
	struct vprobe_stat st;
	char buf[32];
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	req.id = st.id;
	req.target = a.size;
	ret = vprobe_dev_fill(dev, &req, &err);
	close(dev);
	if (ret && !req.filled)
		return fail(&err);
	out_note("gave %s back", size_text(req.filled, buf, sizeof(buf)));
	out_object(NULL);
	out_u64("id", NULL, req.id);
	out_u64("filled_bytes", NULL, req.filled);
	if (ret)
		error_fields(&err);
	out_end();
	return ret ? fail_partly(&err) : EXIT_OK;
}
