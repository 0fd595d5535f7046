/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers, masks, alternate stacks, and queues of pending signals with what they carry. */
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_QUEUED 5

static char altstack_mem[65536];
static volatile sig_atomic_t got_signal, got_on_altstack;
static pthread_barrier_t built;

static void on_signal(int signo, siginfo_t *si, void *ctx)
{
	char here;

	(void)si;
	(void)ctx;
	got_signal = signo;
	got_on_altstack = &here >= altstack_mem && &here < altstack_mem + sizeof(altstack_mem);
}

static void install(int signo, int flags, int masked)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = flags | SA_SIGINFO};

	(void)sigemptyset(&sa.sa_mask);
	if (masked)
		(void)sigaddset(&sa.sa_mask, masked);
	CHECK(sigaction(signo, &sa, NULL) == 0);
}

static void queue_to_thread(int signo, int value)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = signo;
	si.si_code = SI_QUEUE;
	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_int = value;
	CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signo, &si) == 0);
}

static void expect(int signo, int value)
{
	struct timespec none = {0, 0};
	siginfo_t si;
	sigset_t set;
	int got;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	got = sigtimedwait(&set, &si, &none);
	if (got != signo)
		subject_bad("signal %d is not pending (got %d)", signo, got);
	if (si.si_value.sival_int != value)
		subject_bad("signal %d carries %d, not %d", signo, si.si_value.sival_int, value);
	CHECK(si.si_code == SI_QUEUE);
	CHECK(si.si_pid == getpid());
}

static void expect_none(int signo)
{
	struct timespec none = {0, 0};
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	CHECK(sigtimedwait(&set, NULL, &none) < 0 && errno == EAGAIN);
}

static void block_all(void)
{
	sigset_t set;

	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGSEGV);
	CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
}

static void *thread_queue(void *arg)
{
	int i;

	block_all();
	for (i = 0; i < NR_QUEUED; i++)
		queue_to_thread(SIGRTMIN + 2, 900 + i);
	(void)pthread_barrier_wait(&built);
	subject_wait_go();
	for (i = 0; i < NR_QUEUED; i++)
		expect(SIGRTMIN + 2, 900 + i);
	expect_none(SIGRTMIN + 2);
	return arg;
}

static void check_actions(const struct sigaction *before)
{
	struct sigaction sa;
	int signo;

	for (signo = 1; signo <= 64; signo++) {
		if (sigaction(signo, NULL, &sa) < 0)
			continue; /* the two that glibc keeps */
		CHECK(sa.sa_sigaction == before[signo].sa_sigaction);
		CHECK(sa.sa_flags == before[signo].sa_flags);
		CHECK(memcmp(&sa.sa_mask, &before[signo].sa_mask, 8) == 0);
	}
}

int main(void)
{
	stack_t ss = {.ss_sp = altstack_mem, .ss_size = sizeof(altstack_mem)}, ss_now;
	static struct sigaction before[65];
	sigset_t set, now;
	pthread_t t;
	int i;

	subject_init();
	CHECK(sigaltstack(&ss, NULL) == 0);
	install(SIGUSR1, SA_ONSTACK, SIGUSR2);
	install(SIGUSR2, SA_RESTART | SA_NODEFER, 0);
	install(SIGRTMIN + 5, SA_ONSTACK | SA_RESETHAND, SIGTERM);
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
	for (i = 1; i <= 64; i++)
		(void)sigaction(i, NULL, &before[i]);
	block_all();
	for (i = 0; i < NR_QUEUED; i++) {
		CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 100 + i}) == 0);
		queue_to_thread(SIGRTMIN + 3, 500 + i);
	}
	CHECK(sigqueue(getpid(), SIGTERM, (union sigval){.sival_int = 77}) == 0);
	CHECK(pthread_barrier_init(&built, NULL, 2) == 0);
	CHECK(pthread_create(&t, NULL, thread_queue, NULL) == 0);
	(void)pthread_barrier_wait(&built);
	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
	subject_ready();
	subject_wait_go();

	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
	CHECK(memcmp(&set, &now, 8) == 0);
	check_actions(before);
	for (i = 0; i < NR_QUEUED; i++) {
		expect(SIGRTMIN + 1, 100 + i);
		expect(SIGRTMIN + 3, 500 + i);
	}
	expect(SIGTERM, 77);
	for (i = 1; i <= 3; i++)
		expect_none(SIGRTMIN + i);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(sigaltstack(NULL, &ss_now) == 0);
	CHECK(ss_now.ss_sp == altstack_mem && ss_now.ss_size == sizeof(altstack_mem));
	(void)sigemptyset(&set);
	CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0 && got_signal == SIGUSR1 && got_on_altstack);
	CHECK(raise(SIGUSR2) == 0 && got_signal == SIGUSR2 && !got_on_altstack);
	CHECK(raise(SIGPIPE) == 0 && got_signal == SIGUSR2);
	subject_ok();
}
