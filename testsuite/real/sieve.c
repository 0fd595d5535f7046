/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prime sieve of Go tutorials with 200 threads: a generator, 198 filters and a reader, joined by
 * channels of mutexes and condition variables. Each filter keeps the first number it sees, a prime, and
 * passes on what that does not divide. What comes out at the end depends on every single message; how
 * many steps each thread made is compared with what they must be.
 *
 *   sieve LIMIT
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NR_THREADS 200
#define NR_FILTERS (NR_THREADS - 2)
#define DEPTH	   4

struct channel {
	pthread_mutex_t lock;
	pthread_cond_t not_empty, not_full;
	unsigned first, count;
	uint32_t slot[DEPTH];
};

static struct filter {
	struct channel in;
	uint32_t prime;
	uint64_t taken, passed;
} filters[NR_FILTERS + 1]; /* the last one is the reader's channel */

static pthread_mutex_t total_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t total;
static uint32_t limit;

static void must(int error, const char *what)
{
	if (error) {
		errno = error;
		perror(what);
		exit(1);
	}
}

static void channel_init(struct channel *c)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr), "condattr");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "setclock");
	must(pthread_mutex_init(&c->lock, NULL), "mutex");
	must(pthread_cond_init(&c->not_empty, &attr), "cond");
	must(pthread_cond_init(&c->not_full, NULL), "cond");
}

static void channel_put(struct channel *c, uint32_t value)
{
	must(pthread_mutex_lock(&c->lock), "lock");
	while (c->count == DEPTH)
		must(pthread_cond_wait(&c->not_full, &c->lock), "wait");
	c->slot[(c->first + c->count++) % DEPTH] = value;
	must(pthread_cond_signal(&c->not_empty), "signal");
	must(pthread_mutex_unlock(&c->lock), "unlock");
}

/* Waits with a time limit and then again: that system call has an argument more to be restarted. */
static void wait_not_empty(struct channel *c)
{
	struct timespec until;
	int error;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 1;
	error = pthread_cond_timedwait(&c->not_empty, &c->lock, &until);
	if (error != ETIMEDOUT)
		must(error, "timedwait");
}

static uint32_t channel_get(struct channel *c)
{
	uint32_t value;

	must(pthread_mutex_lock(&c->lock), "lock");
	while (!c->count)
		wait_not_empty(c);
	value = c->slot[c->first];
	c->first = (c->first + 1) % DEPTH;
	c->count--;
	must(pthread_cond_signal(&c->not_full), "signal");
	must(pthread_mutex_unlock(&c->lock), "unlock");
	return value;
}

/* The numbers 2, 3, ... and 0 as the end. */
static void *generate(void *arg)
{
	struct filter *first = arg;

	for (uint32_t i = 2; i <= limit; i++)
		channel_put(&first->in, i);
	channel_put(&first->in, 0);
	return NULL;
}

static void *sift(void *arg)
{
	struct filter *me = arg;
	uint32_t value;

	me->prime = channel_get(&me->in);
	while ((value = channel_get(&me->in)) != 0) {
		me->taken++;
		if (value % me->prime == 0)
			continue;
		me->passed++;
		channel_put(&me[1].in, value);
		must(pthread_mutex_lock(&total_lock), "lock");
		total++;
		must(pthread_mutex_unlock(&total_lock), "unlock");
	}
	channel_put(&me[1].in, 0);
	return NULL;
}

static void *collect(void *arg)
{
	struct filter *last = arg;
	uint32_t value;

	while ((value = channel_get(&last->in)) != 0)
		(void)printf("%" PRIu32 "\n", value);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[NR_THREADS];
	uint64_t sum = 0;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	limit = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000;
	for (unsigned i = 0; i <= NR_FILTERS; i++)
		channel_init(&filters[i].in);
	must(pthread_create(&threads[0], NULL, generate, &filters[0]), "create");
	for (unsigned i = 0; i < NR_FILTERS; i++)
		must(pthread_create(&threads[i + 1], NULL, sift, &filters[i]), "create");
	must(pthread_create(&threads[NR_THREADS - 1], NULL, collect, &filters[NR_FILTERS]), "create");
	for (unsigned i = 0; i < NR_THREADS; i++)
		must(pthread_join(threads[i], NULL), "join");
	for (unsigned i = 0; i < NR_FILTERS; i++) {
		(void)fprintf(stderr, "filter %u: %" PRIu32 " took %" PRIu64 " passed %" PRIu64 "\n",
			      i, filters[i].prime, filters[i].taken, filters[i].passed);
		sum += filters[i].passed;
	}
	(void)fprintf(stderr, "%" PRIu64 " messages\n", total);
	return sum == total ? 0 : 1;
}
