// SPDX-License-Identifier: GPL-2.0-only
#include "limit.h"

/*
 * The slot of @cid, or the one that was quiet for longest. Thus the table is
 * bounded; who could fill it (a talker that was taken over) is bounded by the
 * number of workers, too.
 */
static unsigned int find_slot(const struct limit *l, uint32_t cid)
{
	unsigned int i, oldest = 0;

	for (i = 0; i < LIMIT_GUESTS; i++) {
		if (l->guests[i].cid == cid)
			return i;
		if (l->guests[i].since_ns < l->guests[oldest].since_ns)
			oldest = i;
	}
	return oldest;
}

bool limit_take(struct limit *l, uint32_t cid, uint64_t now_ns)
{
	unsigned int i = find_slot(l, cid);
	uint64_t back;

	if (l->guests[i].cid != cid) {
		l->guests[i].cid = cid;
		l->guests[i].used = 0;
		l->guests[i].since_ns = now_ns;
	}
	back = (now_ns - l->guests[i].since_ns) / LIMIT_REFILL_NS;
	if (back >= l->guests[i].used) {
		l->guests[i].used = 0;
		l->guests[i].since_ns = now_ns;
	} else {
		l->guests[i].used -= (uint32_t)back;
		l->guests[i].since_ns += back * LIMIT_REFILL_NS;
	}
	if (l->guests[i].used >= LIMIT_BURST)
		return false;
	l->guests[i].used++;
	return true;
}
