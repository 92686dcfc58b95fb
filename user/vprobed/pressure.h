/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory pressure of the host: followed by a PSI trigger, told to policies. */
#ifndef VPROBED_PRESSURE_H
#define VPROBED_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/* While there is pressure its measure is told anew after so long. */
#define PRESSURE_AGAIN_MS	2000

struct pressure {
	int fd;			/* becomes readable (POLLPRI) with pressure; -1 */
	unsigned int told;	/* 1/100 % */
	uint64_t told_ms;	/* when */
};

/* Without PSI in the kernel: a warning, and nothing more to do. */
void pressure_open(struct pressure *p);

/* Whether it is time to tell again, without an event. */
bool pressure_due(const struct pressure *p, uint64_t now_ms);

/* Read the pressure and tell the module, on an @event or when it is due. */
void pressure_tell(struct pressure *p, int dev, uint64_t now_ms, bool event);

/**
 * pressure_parse() - avg10 of the line "some" in /proc/pressure/memory
 * @text: its contents
 * @pressure: out: 1/100 %
 *
 * Return: false if there is no such thing in it
 */
bool pressure_parse(const char *text, unsigned int *pressure);

#endif
