/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes on doing the same for ever with threads, pipes, timers and a child, in an amount of memory that
 * does not change: what it holds after a thousand checkpoints is to be what it held before the first.
 */
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LEN = 1 << 20, ROUNDS_TO_SETTLE = 50 };

static int pipe_fds[2], to_child[2], from_child[2];
static atomic_uint sent, received, answered, ticks, rounds;
static atomic_bool is_over;

static void tick(int sig)
{
	(void)sig;
	atomic_fetch_add(&ticks, 1);
}

static void full_write(int fd, uint32_t n)
{
	CHECK(write(fd, &n, sizeof(n)) == sizeof(n));
}

static uint32_t full_read(int fd)
{
	uint32_t n = 0;
	ssize_t r;

	do
		r = read(fd, &n, sizeof(n));
	while (r < 0 && errno == EINTR);
	CHECK(r == sizeof(n));
	return n;
}

static void *send_numbers(void *arg)
{
	while (!atomic_load(&is_over)) {
		full_write(pipe_fds[1], atomic_fetch_add(&sent, 1));
		subject_nap_ms(2);
	}
	full_write(pipe_fds[1], UINT32_MAX);
	return arg;
}

static void *take_numbers(void *arg)
{
	uint32_t n;

	while ((n = full_read(pipe_fds[0])) != UINT32_MAX)
		if (n != atomic_fetch_add(&received, 1))
			subject_bad("number %u came instead of %u", n, atomic_load(&received) - 1);
	return arg;
}

/* The whole of it over and over, with a seed that tells the round. */
static void *fill(void *arg)
{
	while (!atomic_load(&is_over)) {
		uint32_t seed = atomic_fetch_add(&rounds, 1);

		pattern_fill(arg, LEN, seed);
		subject_nap_ms(3);
		CHECK(pattern_matches(arg, LEN, seed));
	}
	return arg;
}

static void *ask(void *arg)
{
	while (!atomic_load(&is_over)) {
		uint32_t n = atomic_fetch_add(&answered, 1);

		full_write(to_child[1], n);
		CHECK(full_read(from_child[0]) == n + 1);
		subject_nap_ms(3);
	}
	full_write(to_child[1], UINT32_MAX);
	return arg;
}

static void answer(void)
{
	uint32_t n;

	while ((n = full_read(to_child[0])) != UINT32_MAX)
		full_write(from_child[1], n + 1);
	_exit(0);
}

static void start_timer(void)
{
	struct sigaction sa = {.sa_handler = tick, .sa_flags = SA_RESTART};
	struct itimerspec spec = {.it_value.tv_nsec = 7000000, .it_interval.tv_nsec = 7000000};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
	CHECK(timer_settime(timer, 0, &spec, NULL) == 0);
}

int main(void)
{
	void *(*const work[])(void *) = {send_numbers, take_numbers, fill, ask};
	enum { NR = sizeof(work) / sizeof(work[0]) };
	pthread_t threads[NR];
	uint32_t before;
	pid_t child;
	void *area;

	subject_init();
	CHECK(pipe(pipe_fds) == 0 && pipe(to_child) == 0 && pipe(from_child) == 0);
	child = subject_fork();
	if (child == 0)
		answer();
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	start_timer();
	for (unsigned i = 0; i < NR; i++)
		CHECK(pthread_create(&threads[i], NULL, work[i], area) == 0);
	while (atomic_load(&rounds) < ROUNDS_TO_SETTLE || !atomic_load(&ticks))
		subject_nap_ms(2);
	subject_ready();
	subject_wait_go();

	before = atomic_load(&ticks);
	while (atomic_load(&ticks) == before) /* the timer still ticks */
		subject_nap_ms(1);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < NR; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(atomic_load(&sent) == atomic_load(&received));
	subject_reap(child);
	subject_ok();
}
