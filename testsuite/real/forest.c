/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 50 processes with 200 threads: a root, 7 children, 6 grandchildren below each. Every process has four
 * threads that work and check each other all the time:
 *
 *   main      lets a message come round a ring of pipes through all processes, which counts its hops
 *   adder     keeps two numbers in a shared page the same, under a process-shared mutex
 *   sorter    keeps 64 KiB of heap a permutation of what it was, with a sum that must not change
 *   sleeper   waits with time limits for a condition that nobody signals
 *
 * What is wrong is said at once; on "go" all end, and the root counts its descendants.
 */
#include "subjects/subject.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR_CHILDREN	 7
#define NR_GRANDCHILDREN 6
#define NR_PROCESSES	 (1 + NR_CHILDREN * (1 + NR_GRANDCHILDREN))
#define NR_WORDS	 (64 * 1024 / 8)
#define END		 UINT64_MAX

_Static_assert(NR_PROCESSES == 50, "as the issue says");

/* One page that all processes share. */
static struct common {
	pthread_mutex_t lock;
	uint64_t one, other;
	atomic_uint nr_ready;
} *common;

static int ring[NR_PROCESSES][2]; /* pipe i leads to process i */
static atomic_bool is_over;

static void *add(void *arg)
{
	while (!atomic_load(&is_over)) {
		CHECK(pthread_mutex_lock(&common->lock) == 0);
		common->one += 3;
		subject_nap_ms(0); /* be interrupted in between, too */
		common->other += 3;
		CHECK(common->one == common->other);
		CHECK(pthread_mutex_unlock(&common->lock) == 0);
		subject_nap_ms(10);
	}
	return arg;
}

static void *sort(void *arg)
{
	uint64_t *words = malloc(NR_WORDS * sizeof(*words));
	uint64_t sum = 0, now, x = 4711;

	CHECK(words);
	for (size_t i = 0; i < NR_WORDS; i++)
		sum += words[i] = i * 0x9e3779b97f4a7c15u;
	while (!atomic_load(&is_over)) {
		for (unsigned n = 0; n < 500; n++) {
			size_t a, b;
			uint64_t w;

			x = x * 6364136223846793005u + 1442695040888963407u;
			a = x >> 33 & (NR_WORDS - 1);
			b = x >> 48 & (NR_WORDS - 1);
			w = words[a];
			words[a] = words[b];
			words[b] = w;
		}
		now = 0;
		for (size_t i = 0; i < NR_WORDS; i++)
			now += words[i];
		CHECK(now == sum);
		subject_nap_ms(15);
	}
	free(words);
	return arg;
}

static void *doze(void *arg)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	struct timespec until;

	CHECK(pthread_mutex_lock(&lock) == 0);
	while (!atomic_load(&is_over)) {
		CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
		until.tv_nsec += 50000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		CHECK(pthread_cond_timedwait(&never, &lock, &until) == ETIMEDOUT);
	}
	CHECK(pthread_mutex_unlock(&lock) == 0);
	return arg;
}

/* Hand the message on, one more than it was; the root keeps it a while and sees what it must be. */
static void pass_messages(unsigned me)
{
	int in = ring[me][0], out = ring[(me + 1) % NR_PROCESSES][1];
	uint64_t hops = 0, got = 0;

	for (;;) {
		if (me == 0) {
			uint64_t next = subject_is_go() ? END : hops;

			CHECK(write(out, &next, sizeof(next)) == sizeof(next));
		}
		CHECK(read(in, &got, sizeof(got)) == sizeof(got));
		if (me == 0 && got != END) {
			CHECK(got == hops + NR_PROCESSES - 1);
			hops = got;
			subject_nap_ms(5);
			continue;
		}
		if (me == 0)
			return;
		got += got != END;
		CHECK(write(out, &got, sizeof(got)) == sizeof(got));
		if (got == END)
			return;
	}
}

static void work(unsigned me)
{
	pthread_t threads[3];

	CHECK(pthread_create(&threads[0], NULL, add, NULL) == 0);
	CHECK(pthread_create(&threads[1], NULL, sort, NULL) == 0);
	CHECK(pthread_create(&threads[2], NULL, doze, NULL) == 0);
	if (atomic_fetch_add(&common->nr_ready, 1) == NR_PROCESSES - 1)
		subject_mark("all");
	if (me == 0) {
		subject_wait_mark("all");
		subject_ready();
	}
	pass_messages(me);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 3; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Processes are numbered in the order of a walk through the tree: this one and nr_below after it. */
static void grow(unsigned me, unsigned nr_children, unsigned nr_below_each)
{
	for (unsigned i = 0; i < nr_children; i++) {
		unsigned child = me + 1 + i * (1 + nr_below_each);

		if (subject_fork() == 0) {
			grow(child, nr_below_each, 0);
			_exit(0);
		}
	}
	work(me);
	for (unsigned i = 0; i < nr_children; i++) {
		int status;

		CHECK(wait(&status) > 0 && status == 0);
	}
	CHECK(wait(NULL) < 0 && errno == ECHILD);
}

int main(void)
{
	pthread_mutexattr_t attr;

	subject_init();
	common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(common != MAP_FAILED);
	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(&common->lock, &attr) == 0);
	for (unsigned i = 0; i < NR_PROCESSES; i++)
		CHECK(pipe(ring[i]) == 0);
	grow(0, NR_CHILDREN, NR_GRANDCHILDREN);
	subject_ok();
}
