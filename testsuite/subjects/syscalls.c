/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One thread in each blocking system call. Calls with a time-out must run into it, not before its
 * time; the others must come back with the right result once the event happens. None may see EINTR
 * that it would not have seen otherwise. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 2500 /* of the calls with one; the test checkpoints well within it */
#define BIG	   (1u << 20)

static int read_pipe[2], poll_pipe[2], ppoll_pipe[2], select_pipe[2], write_pipe[2], silent_pipe[2];
static uint32_t futex_word, futex_bitset_word, futex_timed_word;
static pid_t child;
static atomic_uint nr_entered;
static char big[BIG];
static atomic_int handled;

/* sigtimedwait(2) returns EINTR whenever its thread was stopped (signal(7)). A checkpoint mends that;
 * one that is killed after the stop cannot. */
static bool is_eintr_fine;


static void enter(void)
{
	atomic_fetch_add(&nr_entered, 1);
}

static uint64_t now_ms(clockid_t clock)
{
	struct timespec ts;

	CHECK(clock_gettime(clock, &ts) == 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct timespec ms(uint64_t v)
{
	struct timespec ts = {.tv_sec = (time_t)(v / 1000), .tv_nsec = (long)(v % 1000) * 1000000};

	return ts;
}

static void check_timed_out(const char *what, uint64_t begin, long ret, int err, long want,
			    int want_err)
{
	uint64_t took = now_ms(CLOCK_MONOTONIC) - begin;

	if (ret != want || (want < 0 && err != want_err))
		subject_bad("%s: %ld (%s) after %llu ms", what, ret, strerror(err),
			    (unsigned long long)took);
	/* Time the tree did not exist need not count, so only too early is wrong. */
	if (took + 5 < TIMEOUT_MS)
		subject_bad("%s: time-out after %llu ms of %d", what, (unsigned long long)took,
			    TIMEOUT_MS);
}

/* ---- with a time-out */

static void *in_nanosleep(void *arg)
{
	struct timespec t = ms(TIMEOUT_MS);
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	long r;

	enter();
	r = syscall(SYS_nanosleep, &t, NULL);
	check_timed_out("nanosleep", begin, r, errno, 0, 0);
	return arg;
}

static void *in_clock_nanosleep(void *arg)
{
	struct timespec t = ms(TIMEOUT_MS), left;
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	long r;

	enter();
	r = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, &left);
	check_timed_out("clock_nanosleep", begin, r, errno, 0, 0);
	return arg;
}

static void *in_absolute_sleep(void *arg)
{
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	struct timespec t = ms(begin + TIMEOUT_MS);
	long r;

	enter();
	r = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	check_timed_out("clock_nanosleep absolute", begin, r, errno, 0, 0);
	return arg;
}

static void *in_poll_timeout(void *arg)
{
	struct pollfd p = {.fd = silent_pipe[0], .events = POLLIN};
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	long r;

	enter();
	r = syscall(SYS_poll, &p, 1, TIMEOUT_MS);
	check_timed_out("poll", begin, r, errno, 0, 0);
	return arg;
}

static void *in_select_timeout(void *arg)
{
	struct timeval tv = {.tv_sec = TIMEOUT_MS / 1000, .tv_usec = TIMEOUT_MS % 1000 * 1000};
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	fd_set set;
	long r;

	FD_ZERO(&set);
	FD_SET(silent_pipe[0], &set);
	enter();
	r = syscall(SYS_select, silent_pipe[0] + 1, &set, NULL, NULL, &tv);
	check_timed_out("select", begin, r, errno, 0, 0);
	return arg;
}

static void *in_futex_timeout(void *arg)
{
	struct timespec t = ms(TIMEOUT_MS);
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	long r;

	enter();
	r = syscall(SYS_futex, &futex_timed_word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
	check_timed_out("futex", begin, r, errno, -1, ETIMEDOUT);
	return arg;
}

static void *in_sigtimedwait(void *arg)
{
	struct timespec t = ms(TIMEOUT_MS);
	uint64_t begin = now_ms(CLOCK_MONOTONIC);
	sigset_t set;
	long r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN + 6);
	enter();
	do
		r = syscall(SYS_rt_sigtimedwait, &set, NULL, &t, 8);
	while (is_eintr_fine && r < 0 && errno == EINTR);
	check_timed_out("sigtimedwait", begin, r, errno, -1, EAGAIN);
	return arg;
}

/* ---- until something happens */

static void *in_read(void *arg)
{
	char c = 0;

	enter();
	CHECK(syscall(SYS_read, read_pipe[0], &c, 1) == 1 && c == 'r');
	return arg;
}

/* A write that has put part of its bytes into the pipe ends with that count when anything interrupts
 * it; programs go on with the rest. What it must not do is fail. */
static void *in_write(void *arg)
{
	size_t done = 0;
	long n;

	enter();
	while (done < BIG) {
		n = syscall(SYS_write, write_pipe[1], big + done, BIG - done);
		CHECK(n > 0);
		done += (size_t)n;
	}
	return arg;
}

static void *in_poll(void *arg)
{
	struct pollfd p = {.fd = poll_pipe[0], .events = POLLIN};

	enter();
	CHECK(syscall(SYS_poll, &p, 1, -1) == 1 && p.revents == POLLIN);
	return arg;
}

static void *in_ppoll(void *arg)
{
	struct pollfd p = {.fd = ppoll_pipe[0], .events = POLLIN};
	struct timespec t = ms(1000000);
	sigset_t none;

	(void)sigfillset(&none);
	enter();
	CHECK(syscall(SYS_ppoll, &p, 1, &t, &none, 8) == 1 && p.revents == POLLIN);
	return arg;
}

static void *in_select(void *arg)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(select_pipe[0], &set);
	enter();
	CHECK(syscall(SYS_select, select_pipe[0] + 1, &set, NULL, NULL, NULL) == 1);
	CHECK(FD_ISSET(select_pipe[0], &set));
	return arg;
}

static void *in_futex(void *arg)
{
	enter();
	CHECK(syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0 ||
	      (errno == EAGAIN && futex_word == 1));
	return arg;
}

static void *in_futex_bitset(void *arg)
{
	struct timespec t = ms(now_ms(CLOCK_MONOTONIC) + 1000000);

	enter();
	CHECK(syscall(SYS_futex, &futex_bitset_word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL,
		      FUTEX_BITSET_MATCH_ANY) == 0 ||
	      (errno == EAGAIN && futex_bitset_word == 1));
	return arg;
}

static void *in_wait4(void *arg)
{
	int status = -1;

	enter();
	CHECK(syscall(SYS_wait4, child, &status, 0, NULL) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
	return arg;
}

static void *in_sigwait(void *arg)
{
	sigset_t set;
	siginfo_t si;
	long r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN + 7);
	enter();
	do
		r = syscall(SYS_rt_sigtimedwait, &set, &si, NULL, 8);
	while (is_eintr_fine && r < 0 && errno == EINTR);
	CHECK(r == SIGRTMIN + 7);
	return arg;
}

static void unblock(int signo)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void *in_pause(void *arg)
{
	unblock(SIGUSR1);
	enter();
	CHECK(syscall(SYS_pause) < 0 && errno == EINTR && handled >= 1);
	return arg;
}

static void *in_sigsuspend(void *arg)
{
	sigset_t set;

	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGUSR2);
	enter();
	CHECK(sigsuspend(&set) < 0 && errno == EINTR);
	return arg;
}

static void on_signal(int signo)
{
	(void)signo;
	atomic_fetch_add(&handled, 1);
}

static pid_t start_child(void)
{
	pid_t pid = subject_fork();

	if (pid)
		return pid;
	subject_wait_go();
	_exit(17);
}

static void drain(int fd, size_t len)
{
	static char buf[BIG];
	ssize_t n;

	while (len && (n = read(fd, buf, sizeof(buf))) > 0)
		len -= (size_t)n;
	CHECK(len == 0);
}

int main(int argc, char **argv)
{
	static void *(*const calls[])(void *) = {
		in_nanosleep, in_clock_nanosleep, in_absolute_sleep, in_poll_timeout,
		in_select_timeout, in_futex_timeout, in_sigtimedwait, in_read, in_write, in_poll,
		in_ppoll, in_select, in_futex, in_futex_bitset, in_wait4, in_sigwait, in_pause,
		in_sigsuspend,
	};
	enum { NR = sizeof(calls) / sizeof(calls[0]) };
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t t[NR];
	sigset_t all;
	unsigned i;

	is_eintr_fine = argc > 1 && strcmp(argv[1], "eintr") == 0;
	subject_init();
	CHECK(pipe(read_pipe) == 0 && pipe(poll_pipe) == 0 && pipe(ppoll_pipe) == 0 &&
	      pipe(select_pipe) == 0 && pipe(write_pipe) == 0 && pipe(silent_pipe) == 0);
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0 && sigaction(SIGUSR2, &sa, NULL) == 0);
	(void)sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	child = start_child();
	for (i = 0; i < NR; i++)
		CHECK(pthread_create(&t[i], NULL, calls[i], NULL) == 0);
	while (atomic_load(&nr_entered) < NR)
		subject_nap_ms(1);
	subject_nap_ms(100); /* from the last enter() into the call */
	subject_ready();
	subject_wait_go();
	subject_nap_ms(50);
	CHECK(write(read_pipe[1], "r", 1) == 1 && write(poll_pipe[1], "p", 1) == 1 &&
	      write(ppoll_pipe[1], "p", 1) == 1 && write(select_pipe[1], "s", 1) == 1);
	drain(write_pipe[0], BIG);
	futex_word = futex_bitset_word = 1;
	CHECK(syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) >= 0);
	CHECK(syscall(SYS_futex, &futex_bitset_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) >= 0);
	CHECK(pthread_kill(t[NR - 3], SIGRTMIN + 7) == 0);
	CHECK(pthread_kill(t[NR - 2], SIGUSR1) == 0);
	CHECK(pthread_kill(t[NR - 1], SIGUSR2) == 0);
	for (i = 0; i < NR; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(handled == 2);
	subject_ok();
}
