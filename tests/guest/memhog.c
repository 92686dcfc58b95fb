// SPDX-License-Identifier: GPL-2.0-only
/*
 * memhog: use memory, and know that it is the memory that was written.
 *
 *	memhog [-m MIB] [-t THREADS] [-s SECONDS] [-n ROUNDS] [-c CHUNK_MIB]
 *
 * Each thread maps its share of MIB in chunks, fills every page with a
 * pattern made of the page's address, the thread and the round, verifies all
 * of them, verifies that fresh pages are zero, and unmaps. It goes on for
 * SECONDS, or ROUNDS if given (default: one round); SIGTERM makes the round
 * at hand the last. Prints the number of pages and rounds; each mismatch is
 * described, and makes it exit with 1.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define WORDS		(PAGE / sizeof(uint64_t))
#define MIB		(1UL << 20)
#define REPORT_MAX	20

static unsigned long total_mib = 64, chunk_mib = 16, threads = 1;
static unsigned long seconds, max_rounds;
static atomic_ulong pages, rounds, mismatches, failures;
static time_t deadline;
static atomic_bool stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = true;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void mismatch(const uint64_t *where, uint64_t want)
{
	if (atomic_fetch_add(&mismatches, 1) < REPORT_MAX)
		printf("memhog: mismatch at %p: found %016llx, not %016llx\n",
		       (const void *)where, (unsigned long long)*where,
		       (unsigned long long)want);
}

static void fill(uint64_t *page, uint64_t seed)
{
	uint64_t value = mix((uintptr_t)page ^ seed);
	size_t i;

	for (i = 0; i < WORDS; i++) {
		if (page[i])
			mismatch(&page[i], 0);
		page[i] = value + i;
	}
}

static void verify(const uint64_t *page, uint64_t seed)
{
	uint64_t value = mix((uintptr_t)page ^ seed);
	size_t i;

	for (i = 0; i < WORDS; i++)
		if (page[i] != value + i)
			mismatch(&page[i], value + i);
}

static void one_round(char **chunks, size_t nr, uint64_t seed)
{
	size_t len = chunk_mib * MIB, i, j, got;

	for (got = 0; got < nr; got++) {
		chunks[got] = mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (chunks[got] == MAP_FAILED) {
			printf("memhog: cannot map %zu bytes: %s\n", len,
			       strerror(errno));
			atomic_fetch_add(&failures, 1);
			break;
		}
		for (j = 0; j < len; j += PAGE)
			fill((uint64_t *)(chunks[got] + j), seed);
		atomic_fetch_add(&pages, len / PAGE);
	}
	for (i = 0; i < got; i++) {
		for (j = 0; j < len; j += PAGE)
			verify((uint64_t *)(chunks[i] + j), seed);
		munmap(chunks[i], len);
	}
}

static void *worker(void *arg)
{
	size_t nr = total_mib / threads / chunk_mib;
	uint64_t id = (uintptr_t)arg, round = 0;
	char **chunks;

	if (!nr)
		nr = 1;
	chunks = calloc(nr, sizeof(*chunks));
	if (!chunks) {
		atomic_fetch_add(&failures, 1);
		return NULL;
	}
	do {
		one_round(chunks, nr, mix(id << 32 | ++round));
		atomic_fetch_add(&rounds, 1);
	} while (!failures && !stopped &&
		 (seconds ? now() < deadline : round < max_rounds));
	free(chunks);
	return NULL;
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || !n || n > 1000000) {
		fprintf(stderr, "memhog: '%s' is not a number from 1 on\n",
			text);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	pthread_t *tids;
	unsigned long i;
	int opt;

	while ((opt = getopt(argc, argv, "m:t:s:n:c:")) != -1) {
		switch (opt) {
		case 'm':
			total_mib = number(optarg);
			break;
		case 't':
			threads = number(optarg);
			break;
		case 's':
			seconds = number(optarg);
			break;
		case 'n':
			max_rounds = number(optarg);
			break;
		case 'c':
			chunk_mib = number(optarg);
			break;
		default:
			fprintf(stderr, "usage: %s [-m MIB] [-t THREADS] [-s SECONDS] [-n ROUNDS] "
				"[-c CHUNK_MIB]\n", argv[0]);
			return 2;
		}
	}
	signal(SIGTERM, stop);
	deadline = now() + seconds;
	tids = calloc(threads, sizeof(*tids));
	if (!tids)
		return 2;
	for (i = 0; i < threads; i++)
		if (pthread_create(&tids[i], NULL, worker, (void *)(i + 1))) {
			fprintf(stderr, "memhog: cannot start a thread\n");
			return 2;
		}
	for (i = 0; i < threads; i++)
		pthread_join(tids[i], NULL);
	free(tids);
	printf("memhog: %lu rounds, %lu pages, %lu mismatches, %lu failures\n",
	       rounds, pages, mismatches, failures);
	return mismatches || failures;
}
