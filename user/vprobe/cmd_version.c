// SPDX-License-Identifier: GPL-2.0-only
/* vprobe version: works without the module, and says so. */
#include <unistd.h>

#include "vprobe.h"

int cmd_version(int argc, char **argv)
{
	static const struct argp argp = {
		.doc = "Show the versions of this program and of the module.",
	};
	struct vprobe_info info;
	int dev;

	parse_args(&argp, argc, argv, NULL);
	out_object(NULL);
	out_str("version", "vprobe", VPROBE_VERSION);
	out_u64("api", "interface that it speaks", VPROBE_API_VERSION);
	dev = vprobe_open(NULL);
	out_bool("usable", "module usable", dev >= 0);
	if (dev >= 0 && !vprobe_dev_info(dev, &info, NULL)) {
		out_u64("module_api", "interface of the module", info.version);
		out_u64("vms", "VMs attached", info.nr_vms);
	}
	out_end();
	if (dev >= 0)
		close(dev);
	return EXIT_OK;
}
