/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signalfds: a pending signal with its value, one that a child waits for, a mask that is changed later. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Sleeps in epoll_wait() until the signal comes. */
static void watch(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct signalfd_siginfo info;
	int ep = epoll_create1(0), fd;
	sigset_t set;

	CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0);
	fd = signalfd(-1, &set, 0);
	CHECK(ep >= 0 && fd >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0);
	subject_mark("watching");
	CHECK(epoll_wait(ep, &event, 1, -1) == 1 && read(fd, &info, sizeof(info)) == sizeof(info));
	_exit(0);
}

int main(void)
{
	struct signalfd_siginfo info;
	int pending, other;
	sigset_t set;
	pid_t child, watcher;

	subject_init();
	CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGRTMIN + 3) == 0);
	CHECK(sigaddset(&set, SIGUSR2) == 0 && sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	pending = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(pending >= 0);
	CHECK(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 77}) == 0);
	child = subject_fork();
	if (!child) {
		CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0);
		other = signalfd(-1, &set, 0);
		CHECK(other >= 0);
		subject_mark("waiting");
		CHECK(read(other, &info, sizeof(info)) == sizeof(info));
		CHECK(info.ssi_signo == SIGUSR2 && info.ssi_pid == (uint32_t)getppid());
		_exit(0);
	}
	watcher = subject_fork();
	if (!watcher)
		watch();
	subject_wait_mark("waiting");
	subject_wait_mark("watching");
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(pending, F_GETFD) == FD_CLOEXEC && (fcntl(pending, F_GETFL) & O_NONBLOCK));
	CHECK(read(pending, &info, sizeof(info)) == sizeof(info));
	CHECK(info.ssi_signo == (uint32_t)SIGRTMIN + 3 && info.ssi_int == 77);
	CHECK(read(pending, &info, sizeof(info)) < 0 && errno == EAGAIN);
	CHECK(kill(child, SIGUSR2) == 0);
	subject_reap(child);
	subject_nap_ms(100); /* it is asleep by now, as a rule: then only a wake-up helps */
	CHECK(kill(watcher, SIGUSR2) == 0);
	subject_reap(watcher);
	CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0);
	CHECK(signalfd(pending, &set, 0) == pending && kill(getpid(), SIGUSR2) == 0);
	CHECK(read(pending, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR2);
	subject_ok();
}
