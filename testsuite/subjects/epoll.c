/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epoll instances: members of several kinds with their events and data, an edge-triggered and a one-shot
 * member, one whose number is closed or used by another file, an instance in another, one shared with a
 * child that waits in it, and one with very many members.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MANY = 700, CLOSED_AS = 1000, REUSED_AS = 1001 };

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
}

/* The one event that is there now. */
static void expect(int ep, uint32_t events, uint64_t data)
{
	struct epoll_event e[4];

	CHECK(epoll_wait(ep, e, 4, 0) == 1 && e[0].events == events && e[0].data.u64 == data);
}

static void expect_none(int ep)
{
	struct epoll_event e;

	CHECK(epoll_wait(ep, &e, 1, 0) == 0);
}

static int event(int as)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK(fd >= 0);
	if (as < 0)
		return fd;
	CHECK(dup2(fd, as) == as);
	return fd;
}

static void child_main(int shared)
{
	struct epoll_event e;

	CHECK(epoll_wait(shared, &e, 1, -1) == 1 && e.data.u64 == 5);
	_exit(0);
}

int main(void)
{
	int pipe_ends[2], ep, outer, shared, edge, oneshot, closed, reused, other, waked, many[MANY], crowd;
	eventfd_t v;
	pid_t child;

	subject_init();
	ep = epoll_create1(EPOLL_CLOEXEC);
	outer = epoll_create1(0);
	shared = epoll_create1(0);
	crowd = epoll_create1(0);
	CHECK(ep >= 0 && outer >= 0 && shared >= 0 && crowd >= 0 && pipe(pipe_ends) == 0);
	add(ep, pipe_ends[0], EPOLLIN | EPOLLPRI, 0xfedcba9876543210u);
	edge = event(-1);
	add(ep, edge, EPOLLIN | EPOLLET, 2);
	oneshot = event(-1);
	add(ep, oneshot, EPOLLIN | EPOLLONESHOT, 3);
	closed = event(CLOSED_AS);
	add(ep, CLOSED_AS, EPOLLIN, 4);
	CHECK(close(CLOSED_AS) == 0);
	reused = event(REUSED_AS);
	add(ep, REUSED_AS, EPOLLIN, 6);
	other = event(REUSED_AS); /* another file under the same number, a member as well */
	add(ep, REUSED_AS, EPOLLIN, 7);
	add(outer, ep, EPOLLIN, 9);
	waked = event(-1);
	add(shared, waked, EPOLLIN, 5);
	for (int i = 0; i < MANY; i++) {
		many[i] = event(-1);
		add(crowd, many[i], EPOLLIN, 10000 + (uint64_t)i);
	}
	child = subject_fork();
	if (!child)
		child_main(shared);
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC);
	expect_none(ep);
	expect_none(outer);
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	expect(outer, EPOLLIN, 9);
	expect(ep, EPOLLIN, 0xfedcba9876543210u);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, pipe_ends[0], NULL) == 0);
	expect_none(ep);
	CHECK(eventfd_write(edge, 1) == 0);
	expect(ep, EPOLLIN, 2);
	expect_none(ep);
	CHECK(eventfd_write(oneshot, 1) == 0);
	expect(ep, EPOLLIN, 3);
	expect_none(ep);
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, oneshot,
			&(struct epoll_event){.events = EPOLLIN, .data.u64 = 33}) == 0);
	expect(ep, EPOLLIN, 33);
	CHECK(eventfd_read(oneshot, &v) == 0);
	CHECK(eventfd_write(closed, 1) == 0);
	expect(ep, EPOLLIN, 4);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, CLOSED_AS, NULL) < 0 && errno == EBADF);
	CHECK(dup2(closed, CLOSED_AS) == CLOSED_AS && epoll_ctl(ep, EPOLL_CTL_DEL, CLOSED_AS, NULL) == 0);
	CHECK(eventfd_write(reused, 1) == 0);
	expect(ep, EPOLLIN, 6);
	CHECK(eventfd_read(reused, &v) == 0 && eventfd_write(other, 1) == 0);
	expect(ep, EPOLLIN, 7);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, REUSED_AS, NULL) == 0);
	expect_none(ep);
	for (int i = 0; i < MANY; i += 97) {
		CHECK(eventfd_write(many[i], 1) == 0);
		expect(crowd, EPOLLIN, 10000 + (uint64_t)i);
		CHECK(eventfd_read(many[i], &v) == 0);
	}
	CHECK(eventfd_write(waked, 1) == 0);
	subject_reap(child);
	subject_ok();
}
