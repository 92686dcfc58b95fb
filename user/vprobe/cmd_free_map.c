// SPDX-License-Identifier: GPL-2.0-only
/* vprobe free-map: the blocks of a VM, by address. */
#include <stdlib.h>
#include <unistd.h>

#include "vprobe.h"

#define NR_STATES (VPROBE_BLOCK_FILLING + 1)
#define OPT_ASK 'a'
/* Orders count pages of this size. */
#define PAGE_SHIFT 12

struct args {
	struct vm_args vm;	/* first: parse_vm() takes it for the input */
	bool ask;
	bool summary;
};

struct summary {
	uint64_t blocks[NR_STATES];
	uint64_t bytes[NR_STATES];
};

static const struct argp_option options[] = {
	{ "ask", OPT_ASK, NULL, 0,
	  "Also run the helper now, and list what the guest reports free", 0 },
	{ "summary", 's', NULL, 0, "No list, only the sums", 0 },
	{ 0 }
};

static error_t parse_opt(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case OPT_ASK:
		a->ask = true;
		return 0;
	case 's':
		a->summary = true;
		return 0;
	default:
		return parse_vm(key, arg, state);
	}
}

static uint64_t block_bytes(const struct vprobe_block *b)
{
	return b->order <= VPROBE_ORDER_MAX ? 1ULL << (PAGE_SHIFT + b->order) :
					      0;
}

static void show_summary(const struct vprobe_block *blocks, size_t nr)
{
	static const struct out_column columns[] = {
		{ "STATE", -12 }, { "BLOCKS", 8 }, { "SIZE", 12 },
	};
	struct summary s = { 0 };
	unsigned int state;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (blocks[i].state >= NR_STATES)
			continue;
		s.blocks[blocks[i].state]++;
		s.bytes[blocks[i].state] += block_bytes(&blocks[i]);
	}
	out_table("summary", columns, 3);
	for (state = 0; state < NR_STATES; state++) {
		if (!s.blocks[state] && !out_json)
			continue;
		out_object(NULL);
		out_str("state", "state", vprobe_block_state_name(state));
		out_u64("blocks", "blocks", s.blocks[state]);
		out_size("bytes", "size", s.bytes[state]);
		out_end();
	}
	out_end();
}

static void show_list(const struct vprobe_block *blocks, size_t nr)
{
	static const struct out_column columns[] = {
		{ "ADDRESS", -16 }, { "SIZE", 10 }, { "STATE", -12 },
		{ "WATCHED", -16 },
	};
	size_t i;

	out_note("%s", "");
	out_table("blocks", columns, 4);
	for (i = 0; i < nr; i++) {
		out_object(NULL);
		out_hex("gpa", "address", blocks[i].gpa);
		out_u64("order", NULL, blocks[i].order);
		out_size("bytes", "size", block_bytes(&blocks[i]));
		out_str("state", "state",
			vprobe_block_state_name(blocks[i].state));
		out_hex("watch_gpa", "watched", blocks[i].watch_gpa);
		out_end();
	}
	out_end();
}

int cmd_free_map(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_opt,
		.args_doc = "VM",
		.doc = "List the holes of a VM, and with --ask its free blocks, too.",
	};
	struct vprobe_block *blocks;
	struct args a = { 0 };
	struct vprobe_error err;
	struct vprobe_stat st;
	size_t nr;
	int dev, ret;

	parse_args(&argp, argc, argv, &a);
	dev = open_vm(a.vm.vm, &st);
	if (dev < 0)
		return EXIT_FAILED;
	ret = vprobe_dev_map(dev, st.id, a.ask ? VPROBE_MAP_ASK : 0, &blocks,
			     &nr, &err);
	close(dev);
	if (ret)
		return fail(&err);
	out_object(NULL);
	out_u64("id", NULL, st.id);
	show_summary(blocks, nr);
	if (!a.summary)
		show_list(blocks, nr);
	out_end();
	free(blocks);
	return EXIT_OK;
}
