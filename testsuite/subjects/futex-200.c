/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 200 threads pass a token round a ring of condition variables while all of them also fight for one
 * mutex; a lost wake-up stops the ring, a lost or doubled step breaks the sums. */
#include "subject.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define NR	200
#define IN_RING 8 /* tokens on their way */

static struct station {
	pthread_mutex_t lock;
	pthread_cond_t arrived;
	unsigned tokens;
	uint64_t passed, counted;
} ring[NR];

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t shared_sum;
static atomic_bool is_over;

static void *run(void *arg)
{
	struct station *me = arg;
	struct station *next = me + 1 == ring + NR ? ring : me + 1;

	for (;;) {
		CHECK(pthread_mutex_lock(&me->lock) == 0);
		while (!me->tokens && !atomic_load(&is_over))
			CHECK(pthread_cond_wait(&me->arrived, &me->lock) == 0);
		if (!me->tokens) {
			CHECK(pthread_mutex_unlock(&me->lock) == 0);
			return NULL;
		}
		me->tokens--;
		me->passed++;
		CHECK(pthread_mutex_unlock(&me->lock) == 0);
		CHECK(pthread_mutex_lock(&shared_lock) == 0);
		shared_sum++;
		CHECK(pthread_mutex_unlock(&shared_lock) == 0);
		if (atomic_load(&is_over))
			continue; /* the token leaves the ring here */
		CHECK(pthread_mutex_lock(&next->lock) == 0);
		next->tokens++;
		CHECK(pthread_cond_signal(&next->arrived) == 0);
		CHECK(pthread_mutex_unlock(&next->lock) == 0);
	}
}

static uint64_t sum_now(void)
{
	uint64_t v;

	CHECK(pthread_mutex_lock(&shared_lock) == 0);
	v = shared_sum;
	CHECK(pthread_mutex_unlock(&shared_lock) == 0);
	return v;
}

int main(void)
{
	pthread_t t[NR];
	uint64_t total = 0, seen;
	unsigned i, naps;

	subject_init();
	for (i = 0; i < NR; i++) {
		CHECK(pthread_mutex_init(&ring[i].lock, NULL) == 0);
		CHECK(pthread_cond_init(&ring[i].arrived, NULL) == 0);
		ring[i].tokens = i < IN_RING;
	}
	for (i = 0; i < NR; i++)
		CHECK(pthread_create(&t[i], NULL, run, &ring[i]) == 0);
	subject_ready();
	subject_wait_go();
	seen = sum_now();
	for (naps = 0; sum_now() < seen + 1000; naps++) { /* the ring still turns */
		if (naps > 20000)
			subject_bad("the ring stopped at %llu", (unsigned long long)sum_now());
		subject_nap_ms(1);
	}
	atomic_store(&is_over, true);
	for (i = 0; i < NR; i++) {
		CHECK(pthread_mutex_lock(&ring[i].lock) == 0);
		CHECK(pthread_cond_broadcast(&ring[i].arrived) == 0);
		CHECK(pthread_mutex_unlock(&ring[i].lock) == 0);
	}
	for (i = 0; i < NR; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (i = 0; i < NR; i++)
		total += ring[i].passed;
	CHECK(total == shared_sum);
	subject_ok();
}
