/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pidfds: of a child, as a member of an epoll instance too, of oneself, of a zombie, of one long gone. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_pidfd(pid_t pid, unsigned flags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	CHECK(fd >= 0);
	return fd;
}

static bool has_ended(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

int main(void)
{
	int of_child, twin, of_self, of_zombie, of_dead, ep;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 11};
	pid_t child, zombie, dead;
	siginfo_t info;

	subject_init();
	child = subject_fork();
	if (!child)
		for (;;)
			pause();
	zombie = subject_fork();
	if (!zombie)
		_exit(5);
	dead = subject_fork();
	if (!dead)
		_exit(0);
	of_child = open_pidfd(child, O_NONBLOCK);
	twin = dup(of_child);
	of_self = open_pidfd(getpid(), 0);
	of_zombie = open_pidfd(zombie, 0);
	of_dead = open_pidfd(dead, 0);
	subject_reap(dead);
	CHECK(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
	ep = epoll_create1(0);
	CHECK(twin >= 0 && ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, of_child, &e) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(of_child, F_GETFL) & O_NONBLOCK && fcntl(of_child, F_GETFD) == FD_CLOEXEC);
	CHECK(!has_ended(of_child) && !has_ended(of_self) && has_ended(of_zombie) && has_ended(of_dead));
	CHECK(syscall(SYS_pidfd_send_signal, of_dead, 0, NULL, 0) < 0 && errno == ESRCH);
	CHECK(syscall(SYS_pidfd_send_signal, of_self, 0, NULL, 0) == 0);
	CHECK(fcntl(twin, F_SETFL, 0) == 0 && !(fcntl(of_child, F_GETFL) & O_NONBLOCK));
	CHECK(epoll_wait(ep, &e, 1, 0) == 0);
	CHECK(syscall(SYS_pidfd_send_signal, of_child, SIGKILL, NULL, 0) == 0);
	CHECK(epoll_wait(ep, &e, 1, 20000) == 1 && e.data.u64 == 11);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, of_child, NULL) == 0);
	CHECK(waitid(P_PIDFD, (id_t)of_child, &info, WEXITED) == 0 && info.si_status == SIGKILL);
	CHECK(waitid(P_PIDFD, (id_t)of_zombie, &info, WEXITED) == 0 && info.si_status == 5);
	subject_ok();
}
