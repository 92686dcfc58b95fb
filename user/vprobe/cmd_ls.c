// SPDX-License-Identifier: GPL-2.0-only
/* vprobe ls: the attached VMs, one per line. */
#include <stdlib.h>
#include <unistd.h>

#include "vprobe.h"

static const struct out_column columns[] = {
	{ "ID", 4 }, { "NAME", -20 }, { "PID", 8 }, { "CID", 6 },
	{ "STATE", -11 }, { "RAM", 10 }, { "TAKEN", 10 }, { "HOLES", 7 },
};

static void show(const struct vprobe_stat *st)
{
	out_object(NULL);
	out_u64("id", "id", st->id);
	out_str("name", "name", st->name);
	out_u64("pid", "pid", st->pid);
	out_u64("cid", "cid", st->cid);
	out_str("state", "state", vprobe_vm_state_name(st->state));
	out_str("quarantine", NULL, st->quarantine_why);
	out_size("ram_bytes", "ram", st->ram_bytes);
	out_size("hole_bytes", "taken", st->hole_bytes);
	out_u64("holes", "holes", st->holes);
	out_end();
}

int cmd_ls(int argc, char **argv)
{
	static const struct argp argp = { .doc = "List the attached VMs." };
	struct vprobe_error err;
	struct vprobe_stat *stats;
	size_t nr, i;
	int dev;

	parse_args(&argp, argc, argv, NULL);
	dev = open_device();
	if (dev < 0)
		return EXIT_FAILED;
	if (vprobe_dev_stat_all(dev, &stats, &nr, &err)) {
		close(dev);
		return fail(&err);
	}
	out_table(NULL, columns, ARRAY_SIZE(columns));
	for (i = 0; i < nr; i++)
		show(&stats[i]);
	out_end();
	free(stats);
	close(dev);
	return EXIT_OK;
}
