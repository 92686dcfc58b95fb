// SPDX-License-Identifier: GPL-2.0-only
/*
 * As much of BTF as it takes to look up the members of a struct. The static
 * libbpf wants libelf, which a static binary of this size need not carry.
 */
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"

#define DEPTH_MAX	16	/* of nested anonymous structs, of typedefs */

static const struct btf_type *type_of(const struct btf_view *btf, uint32_t id)
{
	if (!id || id > btf->nr_types)
		return NULL;
	return (const void *)(btf->types + btf->offs[id]);
}

static const char *str_of(const struct btf_view *btf, uint32_t off)
{
	return off < btf->strs_len ? btf->strs + off : "";
}

/* Bytes behind the struct btf_type; -1 for a kind from the future. */
static long extra(const struct btf_type *t)
{
	uint32_t vlen = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return vlen * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return vlen * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return vlen * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return vlen * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return vlen * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

static bool index_types(struct btf_view *btf)
{
	const unsigned char *p = btf->types;
	size_t room = 0;
	uint32_t *offs;

	while (p < btf->types_end) {
		const struct btf_type *t = (const void *)p;
		size_t left = btf->types_end - p;
		long more;

		if (left < sizeof(*t))
			return false;
		more = extra(t);
		if (more < 0 || (size_t)more > left - sizeof(*t))
			return false;
		if (btf->nr_types + 2 > room) {
			room = room ? room * 2 : 65536;
			offs = realloc(btf->offs, room * sizeof(*offs));
			if (!offs)
				return false;
			btf->offs = offs;
		}
		btf->offs[++btf->nr_types] = p - btf->types;
		p += sizeof(*t) + more;
	}
	return true;
}

bool btf_parse(struct btf_view *btf, const void *data, size_t len)
{
	const struct btf_header *h = data;
	size_t left;

	memset(btf, 0, sizeof(*btf));
	if (len < sizeof(*h) || h->magic != BTF_MAGIC ||
	    h->version != BTF_VERSION || h->hdr_len < sizeof(*h) ||
	    h->hdr_len > len)
		return false;
	left = len - h->hdr_len;
	if (h->type_off > left || h->type_len > left - h->type_off ||
	    h->str_off > left || h->str_len > left - h->str_off ||
	    h->type_off % 4 || h->hdr_len % 4 || !h->str_len)
		return false;
	btf->data = data;
	btf->types = btf->data + h->hdr_len + h->type_off;
	btf->types_end = btf->types + h->type_len;
	btf->strs = (const char *)btf->data + h->hdr_len + h->str_off;
	btf->strs_len = h->str_len;
	if (btf->strs[btf->strs_len - 1])
		return false;
	if (!index_types(btf)) {
		btf_free(btf);
		return false;
	}
	return true;
}

void btf_free(struct btf_view *btf)
{
	free(btf->offs);
	btf->offs = NULL;
	btf->nr_types = 0;
}

uint32_t btf_struct(const struct btf_view *btf, const char *name,
		    uint32_t *size)
{
	uint32_t id;

	for (id = 1; id <= btf->nr_types; id++) {
		const struct btf_type *t = type_of(btf, id);

		if (BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT &&
		    !strcmp(str_of(btf, t->name_off), name)) {
			*size = t->size;
			return id;
		}
	}
	return 0;
}

static uint32_t size_of(const struct btf_view *btf, uint32_t id)
{
	int depth;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		const struct btf_type *t = type_of(btf, id);

		if (!t)
			return 0;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			id = t->type;
			break;
		case BTF_KIND_PTR:
			return 8;
		case BTF_KIND_INT:
		case BTF_KIND_ENUM:
		case BTF_KIND_ENUM64:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
			return t->size;
		default:
			return 0;
		}
	}
	return 0;
}

static bool member(const struct btf_view *btf, uint32_t id, const char *name,
		   uint32_t base, int depth, uint32_t *off, uint32_t *size)
{
	const struct btf_type *t = type_of(btf, id);
	const struct btf_member *m;
	uint32_t i, bits;

	if (!t || depth > DEPTH_MAX)
		return false;
	if (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT &&
	    BTF_INFO_KIND(t->info) != BTF_KIND_UNION)
		return false;
	m = (const void *)(t + 1);
	for (i = 0; i < BTF_INFO_VLEN(t->info); i++, m++) {
		const char *n = str_of(btf, m->name_off);

		bits = BTF_INFO_KFLAG(t->info) ?
			BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
		if (!*n && member(btf, m->type, name, base + bits / 8,
				  depth + 1, off, size))
			return true;
		if (strcmp(n, name))
			continue;
		if (bits % 8)
			return false;
		*off = base + bits / 8;
		*size = size_of(btf, m->type);
		return true;
	}
	return false;
}

bool btf_member(const struct btf_view *btf, uint32_t id, const char *name,
		uint32_t *off, uint32_t *size)
{
	return member(btf, id, name, 0, 0, off, size);
}
