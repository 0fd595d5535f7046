/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that wait with another signal mask than their own (sigsuspend, ppoll, pselect), or for
 * signals (sigtimedwait, pause), and one inside of nested handlers on an alternate stack that switches
 * itself off. Afterwards each gets its signal there, and has its own mask again.
 */
#include "subject.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AUTODISARM (1U << 31) /* SS_AUTODISARM, Linux 4.7 */

enum { NR = 5, STACK_BYTES = 65536 };

static __thread volatile sig_atomic_t got;
static pthread_barrier_t built;
static pthread_t threads[NR];
static volatile sig_atomic_t depth;
static char stack_mem[STACK_BYTES];

static void note(int sig)
{
	got = sig;
}

static sigset_t set_of(int sig)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, sig);
	return set;
}

/* The thread's own mask blocks SIGUSR1 and SIGUSR2; SIGUSR1 is let in only while it waits. */
static void wait_so(size_t how)
{
	const struct timespec long_time = {.tv_sec = 600};
	const sigset_t outside = set_of(SIGUSR2), one = set_of(SIGUSR1);
	siginfo_t info;

	switch (how) {
	case 0:
		CHECK(sigsuspend(&outside) < 0 && errno == EINTR);
		break;
	case 1:
		CHECK(ppoll(NULL, 0, &long_time, &outside) < 0 && errno == EINTR);
		break;
	case 2:
		CHECK(pselect(0, NULL, NULL, NULL, NULL, &outside) < 0 && errno == EINTR);
		break;
	case 3:
		CHECK(sigtimedwait(&one, &info, &long_time) == SIGUSR1);
		got = SIGUSR1;
		break;
	default:
		CHECK(pthread_sigmask(SIG_UNBLOCK, &one, NULL) == 0);
		CHECK(pause() < 0 && errno == EINTR);
		CHECK(pthread_sigmask(SIG_BLOCK, &one, NULL) == 0);
		break;
	}
}

static void *waiter(void *arg)
{
	sigset_t mine, now;

	(void)sigemptyset(&mine);
	(void)sigaddset(&mine, SIGUSR1);
	(void)sigaddset(&mine, SIGUSR2);
	CHECK(pthread_sigmask(SIG_SETMASK, &mine, NULL) == 0);
	(void)pthread_barrier_wait(&built);
	wait_so((size_t)arg);
	CHECK(got == SIGUSR1);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
	for (int sig = 1; sig < NSIG; sig++)
		CHECK(sigismember(&now, sig) == sigismember(&mine, sig));
	return NULL;
}

/* On the alternate stack, interrupted by itself. */
static void nested(int sig)
{
	stack_t now;
	char here;

	depth++;
	CHECK(&here >= stack_mem && &here < stack_mem + STACK_BYTES);
	if (sig == SIGRTMIN) {
		(void)raise(SIGRTMIN + 1);
		depth--;
		return;
	}
	CHECK(depth == 2);
	subject_ready();
	subject_wait_go();
	/* switched off while a handler runs on it */
	CHECK(syscall(SYS_sigaltstack, NULL, &now) == 0 && now.ss_flags & SS_DISABLE);
	depth--;
}

static void install(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};

	CHECK(sigaction(sig, &sa, NULL) == 0);
}

int main(void)
{
	const stack_t stack = {
		.ss_sp = stack_mem, .ss_size = STACK_BYTES, .ss_flags = (int)AUTODISARM};
	const sigset_t usr1 = set_of(SIGUSR1);
	stack_t now;

	subject_init();
	install(SIGUSR1, note, 0);
	install(SIGRTMIN, nested, SA_ONSTACK);
	install(SIGRTMIN + 1, nested, SA_ONSTACK);
	CHECK(pthread_sigmask(SIG_BLOCK, &usr1, NULL) == 0);
	CHECK(pthread_barrier_init(&built, NULL, NR + 1) == 0);
	for (size_t i = 0; i < NR; i++)
		CHECK(pthread_create(&threads[i], NULL, waiter, (void *)i) == 0);
	(void)pthread_barrier_wait(&built);
	subject_nap_ms(50); /* they should sleep, though all is well if not */
	CHECK(syscall(SYS_sigaltstack, &stack, NULL) == 0);
	(void)raise(SIGRTMIN);
	CHECK(depth == 0);
	CHECK(syscall(SYS_sigaltstack, NULL, &now) == 0);
	CHECK(now.ss_sp == stack.ss_sp && (unsigned)now.ss_flags == AUTODISARM);
	for (size_t i = 0; i < NR; i++) {
		CHECK(pthread_kill(threads[i], SIGUSR1) == 0);
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	subject_ok();
}
