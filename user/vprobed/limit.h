/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How often a guest may make the host's verifier work, or write to its log: a burst,
 * then once per interval.
 */
#ifndef VPROBED_LIMIT_H
#define VPROBED_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_GUESTS	256
#define LIMIT_BURST	16
#define LIMIT_REFILL_NS	5000000000ULL

struct limit {
	struct {
		uint32_t cid;
		uint32_t used;
		uint64_t since_ns;
	} guests[LIMIT_GUESTS];
};

/**
 * limit_take() - may @cid do it now?
 * @l: zeroed at first
 * @cid: guest
 * @now_ns: monotonic
 */
bool limit_take(struct limit *l, uint32_t cid, uint64_t now_ns);

#endif
