/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Work that several threads share: nothing is done twice or left out, and failures are told as if one had
 * done it all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants those before itself */
#include <cmocka.h>

#include "lib/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 1000, WAIT_TURNS = 1000000 };

struct calls {
	atomic_uint of[MANY];
	size_t bad_from; /* calls from here on fail */
};

static int count(void *arg, size_t i, struct stasis_error *err)
{
	struct calls *c = arg;

	atomic_fetch_add(&c->of[i], 1);
	if (i < c->bad_from)
		return 0;
	return stasis_fail(err, STASIS_E_GONE, "number %zu", i);
}

static void calls_each_once(void **state)
{
	static const size_t sizes[] = {0, 1, 7, 16, 33, MANY};

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct calls c = {.bad_from = MANY};

		assert_int_equal(parallel_each(sizes[k], count, &c, NULL), 0);
		for (size_t i = 0; i < MANY; i++)
			assert_int_equal(atomic_load(&c.of[i]), i < sizes[k]);
	}
}

static void fails_like_the_first(void **state)
{
	(void)state;
	for (size_t bad = 0; bad < 300; bad++) {
		struct calls c = {.bad_from = bad};
		struct stasis_error err;
		char text[32];

		assert_int_equal(parallel_each(300, count, &c, &err), -1);
		(void)snprintf(text, sizeof(text), "number %zu", bad);
		assert_string_equal(err.text, text);
		assert_int_equal(err.cls, STASIS_E_GONE);
		for (size_t i = 0; i < bad; i++)
			assert_int_equal(atomic_load(&c.of[i]), 1);
	}
}

static void needs_no_error(void **state)
{
	struct calls c = {.bad_from = 0};

	(void)state;
	assert_int_equal(parallel_each(100, count, &c, NULL), -1);
}

struct threads {
	pthread_t caller;
	atomic_uint nr_inside, nr_others, nr_open;
};

/* Waits, not for ever, until a second one has come. */
static void meet(void *arg)
{
	struct threads *t = arg;
	sigset_t blocked;

	atomic_fetch_add(&t->nr_inside, 1);
	if (!pthread_equal(pthread_self(), t->caller)) {
		atomic_fetch_add(&t->nr_others, 1);
		(void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
		atomic_fetch_add(&t->nr_open, !sigismember(&blocked, SIGTERM) + !sigismember(&blocked, SIGCHLD));
	}
	for (int i = 0; i < WAIT_TURNS && atomic_load(&t->nr_inside) < 2; i++)
		(void)sched_yield();
}

static void other_threads_take_no_signals(void **state)
{
	struct threads t = {.caller = pthread_self()};
	sigset_t before, after;

	(void)state;
	(void)pthread_sigmask(SIG_BLOCK, NULL, &before);
	parallel_run(2, meet, &t);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &after);
	assert_int_equal(atomic_load(&t.nr_inside), 2);
	assert_int_equal(atomic_load(&t.nr_others), 1);
	assert_int_equal(atomic_load(&t.nr_open), 0);
	for (int sig = 1; sig < NSIG; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_each_once),
		cmocka_unit_test(fails_like_the_first),
		cmocka_unit_test(needs_no_error),
		cmocka_unit_test(other_threads_take_no_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
