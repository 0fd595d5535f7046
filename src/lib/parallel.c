/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Short-lived helper threads inside somebody else's process. */
#include "lib/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	MAX_THREADS = 16,
	EACH_THREADS = 4, /* most of the work is the kernel's, on what one task is */
	EACH_SHARE = 8,	  /* calls for which one more thread is worth while */
};

struct work {
	void (*fn)(void *arg);
	void *arg;
};

static void *run(void *p)
{
	const struct work *work = p;

	work->fn(work->arg);
	return NULL;
}

void parallel_run(unsigned nr, void (*fn)(void *arg), void *arg)
{
	struct work work = {.fn = fn, .arg = arg};
	pthread_t threads[MAX_THREADS - 1];
	unsigned started = 0;
	sigset_t all, old;

	if (nr > MAX_THREADS)
		nr = MAX_THREADS;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the threads */
	while (started + 1 < nr && pthread_create(&threads[started], NULL, run, &work) == 0)
		started++;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	fn(arg);
	for (unsigned i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
}

struct each {
	int (*fn)(void *arg, size_t i, struct stasis_error *err);
	void *arg;
	size_t nr;
	atomic_size_t next;
	pthread_mutex_t lock; /* of what follows */
	size_t failed; /* the first that did; nr: none */
	struct stasis_error err;
};

static void note_failure(struct each *e, size_t i, const struct stasis_error *err)
{
	(void)pthread_mutex_lock(&e->lock);
	if (i < e->failed) {
		e->failed = i;
		e->err = *err;
	}
	(void)pthread_mutex_unlock(&e->lock);
	atomic_store(&e->next, e->nr); /* all before it have been begun */
}

static void do_some(void *arg)
{
	struct each *e = arg;
	struct stasis_error err;
	size_t i;

	while ((i = atomic_fetch_add(&e->next, 1)) < e->nr)
		if (e->fn(e->arg, i, &err) < 0)
			note_failure(e, i, &err);
}

static unsigned threads_for(size_t nr)
{
	size_t most = nr / EACH_SHARE < EACH_THREADS ? nr / EACH_SHARE : EACH_THREADS;
	cpu_set_t cpus;

	if (most > 1 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && (size_t)CPU_COUNT(&cpus) < most)
		most = (size_t)CPU_COUNT(&cpus);
	return (unsigned)most;
}

int parallel_each(size_t nr, int (*fn)(void *arg, size_t i, struct stasis_error *err), void *arg,
		  struct stasis_error *err)
{
	struct each e = {.fn = fn, .arg = arg, .nr = nr, .failed = nr};

	(void)pthread_mutex_init(&e.lock, NULL);
	parallel_run(threads_for(nr), do_some, &e);
	(void)pthread_mutex_destroy(&e.lock);
	if (e.failed == nr)
		return 0;
	if (err)
		*err = e.err;
	return -1;
}
