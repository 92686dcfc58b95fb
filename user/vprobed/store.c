// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "store.h"

static unsigned int bucket(uint32_t cid)
{
	return cid % STORE_BUCKETS;
}

static uint8_t *layout_alloc(const void *from, size_t len)
{
	uint8_t *p;

	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, len) || madvise(p, len, MADV_DONTDUMP) ||
	    madvise(p, len, MADV_DONTFORK)) {
		munmap(p, len);
		return NULL;
	}
	memcpy(p, from, len);
	return p;
}

struct registration *registration_new(uint32_t cid, const void *layout,
				      size_t layout_len)
{
	struct registration *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->refs = 1;
	r->cid = cid;
	r->pidfd = -1;
	r->prog_fd = -1;
	r->layout_len = layout_len;
	if (layout_len) {
		r->layout = layout_alloc(layout, layout_len);
		if (!r->layout) {
			free(r);
			return NULL;
		}
	}
	return r;
}

struct registration *registration_get(struct registration *r)
{
	r->refs++;
	return r;
}

void registration_put(struct registration *r)
{
	if (!r || --r->refs)
		return;
	if (r->layout) {
		explicit_bzero(r->layout, r->layout_len);
		munmap(r->layout, r->layout_len);
	}
	if (r->prog_fd >= 0)
		close(r->prog_fd);
	if (r->pidfd >= 0)
		close(r->pidfd);
	free(r);
}

bool registration_alive(const struct registration *r)
{
	struct pollfd pfd = { .fd = r->pidfd, .events = POLLIN };

	return r->pidfd >= 0 && poll(&pfd, 1, 0) == 0;
}

struct registration *store_find(const struct store *s, uint32_t cid)
{
	struct registration *r;

	for (r = s->buckets[bucket(cid)]; r; r = r->next) {
		if (r->cid == cid)
			return r;
	}
	return NULL;
}

void store_drop(struct store *s, uint32_t cid)
{
	struct registration **p = &s->buckets[bucket(cid)];
	struct registration *r;

	for (; *p; p = &(*p)->next) {
		if ((*p)->cid != cid)
			continue;
		r = *p;
		*p = r->next;
		s->nr--;
		registration_put(r);
		return;
	}
}

int store_put(struct store *s, struct registration *r)
{
	if (!store_find(s, r->cid) && s->nr >= STORE_MAX)
		return -ENOSPC;
	registration_get(r);
	store_drop(s, r->cid);
	r->next = s->buckets[bucket(r->cid)];
	s->buckets[bucket(r->cid)] = r;
	s->nr++;
	return 0;
}

struct registration *store_next(const struct store *s,
				const struct registration *r)
{
	unsigned int b = 0;

	if (r) {
		if (r->next)
			return r->next;
		b = bucket(r->cid) + 1;
	}
	for (; b < STORE_BUCKETS; b++) {
		if (s->buckets[b])
			return s->buckets[b];
	}
	return NULL;
}

unsigned int store_reap(struct store *s)
{
	struct registration *r, *next;
	unsigned int n = 0;

	for (r = store_next(s, NULL); r; r = next) {
		next = store_next(s, r);
		if (registration_alive(r))
			continue;
		log_msg(LOG_INFO,
			"%s: its VMM (process %d) is gone, forgot what it had registered",
			log_guest(r->cid), r->pid);
		store_drop(s, r->cid);
		n++;
	}
	return n;
}

void store_clear(struct store *s)
{
	struct registration *r;

	while ((r = store_next(s, NULL)))
		store_drop(s, r->cid);
}
