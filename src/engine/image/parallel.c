/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Short-lived helper threads inside somebody else's process: they take no signals, and when none can
 * be started the caller does all the work itself.
 */
#include "image/image_priv.h"

#include <pthread.h>
#include <signal.h>

enum { MAX_THREADS = 16 };

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

void image_run_parallel(unsigned nr, void (*fn)(void *arg), void *arg)
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
