/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file description locks (F_OFD_SETLK): two descriptions of one process that exclude each other, a
 * lock shared with a child, one on a description that is only in flight in a socket (with a flock), beside
 * a POSIX lock; and a thread that waits for one.
 */
#include "locks.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int one, two, pair[2], waiting;
static pid_t waiter_tid;
static volatile bool is_waiting;

static void send_away(int fd)
{
	char space[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space,
			     .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK(sendmsg(pair[0], &msg, 0) == 1 && close(fd) == 0);
}

static int receive(void)
{
	char space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space,
			     .msg_controllen = sizeof(space)};
	int fd;

	CHECK(recvmsg(pair[1], &msg, 0) == 1 && CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void *wait_for_lock(void *arg)
{
	(void)arg;
	waiter_tid = (pid_t)syscall(SYS_gettid);
	is_waiting = true;
	CHECK(range_lock(waiting, F_OFD_SETLKW, F_WRLCK, 3, 1) == 0);
	CHECK(subject_is_go());
	return NULL;
}

static void check(void)
{
	int fresh = open_again("file", O_RDWR), flown = open_again("flown", O_RDWR);

	CHECK(fresh >= 0 && flown >= 0);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_RDLCK, 0, 10) == -1);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_RDLCK, 10, 10) == 0);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_WRLCK, 20, 1) == -1);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_RDLCK, 20, 1) == 0);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_RDLCK, 1000000, 1) == -1);
	CHECK(in_the_way(fresh, F_OFD_GETLK, F_WRLCK, 100, 1) == getpid());
	CHECK(range_lock(one, F_OFD_SETLK, F_WRLCK, 1000, 1) < 0); /* two's */
	CHECK(range_lock(two, F_OFD_SETLK, F_WRLCK, 0, 1) < 0);	   /* one's */
	CHECK(in_the_way(flown, F_OFD_GETLK, F_RDLCK, 5, 1) == -1);
	CHECK(flock(flown, LOCK_EX | LOCK_NB) < 0);
	/* no lock of ours but the POSIX lock is lost with a descriptor */
	CHECK(close(flown) == 0 && close(fresh) == 0);
	CHECK(range_lock(one, F_SETLK, F_WRLCK, 100, 1) == 0);
}

static void build(void)
{
	int flown;

	one = pattern_file("file", 10, 1);
	two = open_again("file", O_RDWR);
	waiting = open_again("file", O_RDWR);
	CHECK(two >= 0 && waiting >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(range_lock(one, F_OFD_SETLK, F_WRLCK, 0, 10) == 0);
	CHECK(range_lock(one, F_OFD_SETLK, F_RDLCK, 20, 1) == 0);
	CHECK(range_lock(two, F_OFD_SETLK, F_RDLCK, 20, 1) == 0);
	CHECK(range_lock(two, F_OFD_SETLK, F_WRLCK, 1000, 0) == 0);
	CHECK(range_lock(one, F_SETLK, F_WRLCK, 100, 1) == 0);
	flown = pattern_file("flown", 10, 2);
	CHECK(range_lock(flown, F_OFD_SETLK, F_WRLCK, 5, 1) == 0 && flock(flown, LOCK_SH) == 0);
	send_away(flown);
}

int main(void)
{
	pthread_t thread;
	pid_t child;
	int flown;

	subject_init();
	build();
	check();
	child = subject_fork();
	if (child == 0) {
		subject_wait_mark("let-go");
		_exit(0);
	}
	CHECK(pthread_create(&thread, NULL, wait_for_lock, NULL) == 0);
	while (!is_waiting)
		subject_nap_ms(1);
	wait_until_in_call(getpid(), waiter_tid, SYS_fcntl);
	subject_ready();
	subject_wait_go();
	check();
	CHECK(close(two) == 0);
	two = open_again("file", O_RDWR);
	CHECK(in_the_way(two, F_OFD_GETLK, F_WRLCK, 1000, 1) == -1); /* the child has it */
	subject_mark("let-go");
	subject_reap(child);
	CHECK(range_lock(two, F_OFD_SETLK, F_WRLCK, 1000, 0) == 0);
	flown = receive();
	CHECK(flock(flown, LOCK_UN) == 0);
	CHECK(range_lock(one, F_OFD_SETLK, F_UNLCK, 0, 10) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(in_the_way(one, F_OFD_GETLK, F_RDLCK, 3, 1) == -1);
	subject_ok();
}
