/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA by QEMU's `edu' device (docs/specs/edu.rst of QEMU), whose BAR 0 is `bar'.
 * Its own memory cannot be reached by the CPU: data goes in and out through a page
 * of ours, whose bus address is `own'.
 */
#ifndef VPROBE_TESTS_EDU_H
#define VPROBE_TESTS_EDU_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EDU_BAR_LEN	0x100000UL
#define EDU_BUFFER	0x40000UL
#define EDU_BUFFER_LEN	4096UL
#define REG_DMA_SRC	0x80
#define REG_DMA_DST	0x88
#define REG_DMA_CNT	0x90
#define REG_DMA_CMD	0x98
#define DMA_START	1UL
#define DMA_FROM_DEVICE	2UL

static inline void edu_dma(volatile uint64_t *bar, uint64_t src, uint64_t dst,
			   uint64_t len, uint64_t flags)
{
	bar[REG_DMA_SRC / 8] = src;
	bar[REG_DMA_DST / 8] = dst;
	bar[REG_DMA_CNT / 8] = len;
	bar[REG_DMA_CMD / 8] = DMA_START | flags;
	while (bar[REG_DMA_CMD / 8] & DMA_START)
		usleep(1000);
}

/* Memory at `addr' to our page; poisoned first: a read that goes nowhere shows. */
static inline void edu_read(volatile uint64_t *bar, uint8_t *page, uint64_t own,
			    uint64_t addr, uint64_t len)
{
	memset(page, 0xa5, len);
	edu_dma(bar, own, EDU_BUFFER, len, 0);
	edu_dma(bar, addr, EDU_BUFFER, len, 0);
	memset(page, 0, len);
	edu_dma(bar, EDU_BUFFER, own, len, DMA_FROM_DEVICE);
}

static inline void edu_write(volatile uint64_t *bar, uint8_t *page, uint64_t own,
			     uint64_t addr, int byte, uint64_t len)
{
	memset(page, byte, len);
	edu_dma(bar, own, EDU_BUFFER, len, 0);
	edu_dma(bar, EDU_BUFFER, addr, len, DMA_FROM_DEVICE);
}

static inline void hex(const uint8_t *p, uint64_t len)
{
	while (len--)
		printf("%02x", *p++);
	printf("\n");
}

#endif
