/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking beyond the first message of a queue takes SO_PEEK_OFF, which belongs to the socket, hence to
 * the program: one that uses MSG_PEEK would see a wrong part of its queue, had we died with the
 * offset set. The guard is a process in a session of its own that gets a duplicate of the socket
 * beforehand and puts the offset back when our end of the line closes. That happens while we are torn
 * down, before the tracees of a dead tracer run again (exit_files() comes before exit_notify()).
 *
 * A second one, if needed, looks at sockets from inside the tree's pid namespace: SO_PEERCRED gives the
 * pid as the caller sees it, and one that has ended can no longer be translated.
 */
#include "resource/unix.h"

#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct unix_guard {
	pid_t pid;
	int sock;
};

enum { OFFSET_KEEP = -2 }; /* nothing to put back */

union fd_control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* The next order: an offset with the socket it belongs to, or without one when the danger is over. */
static int receive(int sock, int *ret_fd, int *ret_old)
{
	struct iovec iov = {.iov_base = ret_old, .iov_len = sizeof(*ret_old)};
	union fd_control control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	const struct cmsghdr *head;

	*ret_fd = -1;
	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret_old))
		return -1;
	head = CMSG_FIRSTHDR(&msg);
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(head), sizeof(*ret_fd));
	return 0;
}

static int answer(int sock, int fd)
{
	struct ucred creds = {.pid = 0};
	socklen_t len = sizeof(creds);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &len);
	return write(sock, &creds, sizeof(creds)) == (ssize_t)sizeof(creds) ? 0 : -1;
}

static void __attribute__((__noreturn__)) guard_main(int sock, int namespace)
{
	int fd = -1, next = -1, old = OFFSET_KEEP, next_old = -1;

	/* the pid namespace is that of children */
	if (namespace >= 0 && (setns(namespace, CLONE_NEWUSER | CLONE_NEWPID) == 0 ||
			       setns(namespace, CLONE_NEWPID) == 0) &&
	    syscall(SYS_clone, 0, 0, 0, 0, 0) != 0)
		_exit(0);

	(void)setsid();
	(void)prctl(PR_SET_NAME, "stasis-guard");
	if (sock > 0)
		(void)syscall(SYS_close_range, 0, sock - 1, 0);
	(void)syscall(SYS_close_range, sock + 1, ~0u, 0);
	while (receive(sock, &next, &next_old) == 0) {
		if (fd >= 0)
			(void)close(fd);
		fd = next;
		old = next_old;
		if (answer(sock, fd) < 0)
			break;
	}
	if (fd >= 0 && old != OFFSET_KEEP)
		(void)setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &old, sizeof(old));
	_exit(0);
}

/* Nothing may stop it early, and it may not be waited for by a caller of the library who waits for
 * any child: no exit signal, so only __WCLONE sees it. */
static pid_t fork_quietly(void)
{
	return (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
}

static int start(struct fd_save *c, int namespace, struct unix_guard **ret,
		 struct stasis_error *err)
{
	struct unix_guard *g = fd_save_alloc(c, sizeof(*g));
	sigset_t all, before;
	int socks[2];

	if (!g)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a guard");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socketpair");
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	g->pid = fork_quietly();
	if (g->pid == 0)
		guard_main(socks[1], namespace);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)close(socks[1]);
	g->sock = socks[0];
	if (g->pid < 0) {
		(void)close(g->sock);
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	}
	*ret = g;
	return 0;
}

/* fd -1: disarm. Its answer means that it has understood. */
static int order(const struct unix_guard *g, int fd, int old, struct ucred *ret)
{
	struct iovec iov = {.iov_base = &old, .iov_len = sizeof(old)};
	union fd_control control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *head = &control.align;

	if (fd >= 0) {
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(head), &fd, sizeof(fd));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control);
	}
	if (sendmsg(g->sock, &msg, MSG_NOSIGNAL) < 0 ||
	    read(g->sock, ret, sizeof(*ret)) != (ssize_t)sizeof(*ret))
		return -1;
	return 0;
}

int unix_guard_arm(struct fd_save *c, int fd, int old, struct stasis_error *err)
{
	struct ucred creds;

	if (!c->unix_guard && start(c, -1, &c->unix_guard, err) < 0)
		return -1;
	if (order(c->unix_guard, fd, old, &creds) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "the guard of a socket is gone");
	return 0;
}

void unix_guard_disarm(struct fd_save *c)
{
	struct ucred creds;

	(void)order(c->unix_guard, -1, -1, &creds); /* a dead guard does nothing either */
}

int unix_guard_look(struct fd_save *c, const struct task *t, int fd, struct ucred *ret)
{
	if (!c->unix_viewer && start(c, t->pidfd, &c->unix_viewer, NULL) < 0)
		return -1;
	return order(c->unix_viewer, fd, OFFSET_KEEP, ret);
}

static void end(struct unix_guard *g)
{
	if (!g)
		return;
	(void)close(g->sock);
	while (waitpid(g->pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
}

void unix_guard_end(struct fd_save *c)
{
	end(c->unix_guard);
	end(c->unix_viewer);
	c->unix_guard = c->unix_viewer = NULL;
}
