// SPDX-License-Identifier: GPL-2.0-only
/*
 * policyswap: put a policy in the place of another, by BPF_LINK_UPDATE, which no
 * tool does.
 *
 *	policyswap OLD NEW
 *
 * Registers the policy in the file OLD, prints "ready", waits for the end of its
 * input, puts that of NEW in its place, and ends, which unregisters it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct bpf_map *load(const char *file)
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct bpf_map *map;

	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj) {
		if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_LINK);
		return bpf_object__load(obj) ? NULL : map;
	}
	return NULL;
}

static int failed(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct bpf_map *before, *after;
	struct bpf_link *link;
	char c;

	if (argc != 3) {
		fprintf(stderr, "usage: %s OLD NEW\n", argv[0]);
		return 2;
	}
	before = load(argv[1]);
	if (!before)
		return failed(argv[1]);
	after = load(argv[2]);
	if (!after)
		return failed(argv[2]);
	link = bpf_map__attach_struct_ops(before);
	if (!link)
		return failed("register");
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	if (bpf_link__update_map(link, after))
		return failed("replace");
	puts("replaced");
	return 0;
}
