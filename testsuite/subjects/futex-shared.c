/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutexes and condition variables in memory that processes share, with somebody waiting at each: robust (the owner
 * dies after the restart, or died before), with priority inheritance, both, and a requeue from a plain futex to
 * one with priority inheritance.
 */
#include "subject.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PRIORITY = 7 };

static struct shared {
	pthread_mutex_t robust, pi, robust_pi, left, cond_lock;
	pthread_cond_t cond;
	uint32_t from, to; /* futexes */
	int is_signalled;
} *sh;

static void init_mutex(pthread_mutex_t *m, bool is_robust, bool is_pi)
{
	pthread_mutexattr_t a;

	CHECK(pthread_mutexattr_init(&a) == 0);
	CHECK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED) == 0);
	if (is_robust)
		CHECK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) == 0);
	if (is_pi)
		CHECK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) == 0);
	CHECK(pthread_mutex_init(m, &a) == 0);
}

static void init_cond(pthread_cond_t *c)
{
	pthread_condattr_t a;

	CHECK(pthread_condattr_init(&a) == 0);
	CHECK(pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_cond_init(c, &a) == 0);
}

static long futex(uint32_t *word, int op, uint32_t value, void *arg, uint32_t *word2, uint32_t value3)
{
	return syscall(SYS_futex, word, op, value, arg, word2, value3);
}

/* ---- children ---- */

static void owner(void)
{
	CHECK(pthread_mutex_lock(&sh->robust) == 0 && pthread_mutex_lock(&sh->robust_pi) == 0);
	subject_mark("owner");
	for (;;)
		(void)pause();
}

static void dies_with_it(void)
{
	CHECK(pthread_mutex_lock(&sh->left) == 0);
	_exit(0);
}

static void inherits(pthread_mutex_t *m)
{
	int result = pthread_mutex_lock(m);

	if (result != EOWNERDEAD)
		subject_bad("a mutex whose owner died gives %d", result);
	CHECK(pthread_mutex_consistent(m) == 0 && pthread_mutex_unlock(m) == 0);
	_exit(0);
}

static void wants_robust(void)
{
	inherits(&sh->robust);
}

static void wants_robust_pi(void)
{
	inherits(&sh->robust_pi);
}

/* Lends its priority to who has the mutex, where it may have one. */
static void wants_pi(void)
{
	const struct sched_param p = {.sched_priority = PRIORITY};

	(void)sched_setscheduler(0, SCHED_FIFO, &p);
	CHECK(pthread_mutex_lock(&sh->pi) == 0 && pthread_mutex_unlock(&sh->pi) == 0);
	_exit(0);
}

static void waits_for_signal(void)
{
	CHECK(pthread_mutex_lock(&sh->cond_lock) == 0);
	subject_mark("signal");
	while (!sh->is_signalled)
		CHECK(pthread_cond_wait(&sh->cond, &sh->cond_lock) == 0);
	CHECK(pthread_mutex_unlock(&sh->cond_lock) == 0);
	_exit(0);
}

static void is_requeued(void)
{
	CHECK(futex(&sh->from, FUTEX_WAIT_REQUEUE_PI, 1, NULL, &sh->to, 0) == 0);
	CHECK((sh->to & FUTEX_TID_MASK) == (uint32_t)getpid());
	CHECK(futex(&sh->to, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
	_exit(0);
}

/* ---- the parent ---- */

/* proc(5), 18: -1 - the real-time priority. */
static int own_priority(void)
{
	FILE *f = fopen("/proc/self/stat", "re");
	char line[1024], *p;
	int priority = 0;

	CHECK(f && fgets(line, sizeof(line), f) && (p = strrchr(line, ')')));
	CHECK(sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %d", &priority) == 1);
	(void)fclose(f);
	return priority;
}

/* It sleeps in futex(2). */
static void wait_in_futex(pid_t pid)
{
	char path[64], text[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	for (;; subject_nap_ms(5)) {
		f = fopen(path, "re");
		text[0] = '\0';
		if (f) {
			if (!fgets(text, sizeof(text), f))
				text[0] = '\0';
			(void)fclose(f);
		}
		if (strncmp(text, "202 ", 4) == 0)
			return;
	}
}

static pid_t start(void (*fn)(void))
{
	pid_t pid = subject_fork();

	if (pid == 0)
		fn();
	return pid;
}

int main(void)
{
	pid_t own, robust, robust_pi, pi, cond, requeued, dead;
	bool is_boosted;
	int status, lent;

	subject_init();
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(sh != MAP_FAILED);
	init_mutex(&sh->robust, true, false);
	init_mutex(&sh->pi, false, true);
	init_mutex(&sh->robust_pi, true, true);
	init_mutex(&sh->left, true, false);
	init_mutex(&sh->cond_lock, false, false);
	init_cond(&sh->cond);
	sh->from = 1;
	CHECK(pthread_mutex_lock(&sh->pi) == 0);
	CHECK(futex(&sh->to, FUTEX_LOCK_PI, 0, NULL, NULL, 0) == 0);
	own = start(owner);
	subject_wait_mark("owner");
	dead = start(dies_with_it);
	subject_reap(dead);
	robust = start(wants_robust);
	robust_pi = start(wants_robust_pi);
	pi = start(wants_pi);
	cond = start(waits_for_signal);
	requeued = start(is_requeued);
	subject_wait_mark("signal");
	wait_in_futex(robust);
	wait_in_futex(robust_pi);
	wait_in_futex(pi);
	wait_in_futex(cond);
	wait_in_futex(requeued);
	lent = own_priority();
	is_boosted = lent == -1 - PRIORITY;
	subject_ready();
	subject_wait_go();

	/* the waiter comes back to its place a moment after us */
	for (int i = 0; is_boosted && own_priority() != lent; i++) {
		if (i > 4000)
			subject_bad("priority %d, not %d as lent by the waiter", own_priority(), lent);
		subject_nap_ms(5);
	}
	CHECK(pthread_mutex_unlock(&sh->pi) == 0);
	subject_reap(pi);
	CHECK(own_priority() >= 0);
	CHECK(pthread_mutex_lock(&sh->cond_lock) == 0);
	sh->is_signalled = 1;
	CHECK(pthread_cond_signal(&sh->cond) == 0 && pthread_mutex_unlock(&sh->cond_lock) == 0);
	subject_reap(cond);
	/* both are there: requeueing finds it */
	while (futex(&sh->from, FUTEX_CMP_REQUEUE_PI, 1, NULL, &sh->to, 1) != 1)
		subject_nap_ms(5);
	CHECK(futex(&sh->to, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
	subject_reap(requeued);
	CHECK(pthread_mutex_trylock(&sh->robust) == EBUSY && pthread_mutex_trylock(&sh->robust_pi) == EBUSY);
	CHECK(kill(own, SIGKILL) == 0 && waitpid(own, &status, 0) == own);
	subject_reap(robust);
	subject_reap(robust_pi);
	CHECK(pthread_mutex_lock(&sh->left) == EOWNERDEAD);
	subject_ok();
}
