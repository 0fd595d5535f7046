/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SO_PEERCRED shows who called socketpair(), connect() or listen(), and a socket's name is the very
 * string that bind() was given. So these calls are made by a short-lived process that has the pid and
 * ids of whom the program expects there, or another root or working directory. The number stays right
 * when that process has ended and the real one gets its pid; it shares our descriptors meanwhile.
 */
#include "resource/unix.h"

#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What it does; the answer is in memory that we share. */
struct act {
	enum { ACT_PAIR, ACT_BIND, ACT_LISTEN, ACT_CONNECT, ACT_SEND } what;
	int fd, type, backlog, flags;
	const ProtobufCBinaryData *name;
	const struct msghdr *msg;
};

struct answer {
	int sys_errno;
	long result;
	int fds[2];
};

static socklen_t fill_address(struct sockaddr_un *a, const ProtobufCBinaryData *name)
{
	size_t len = name->len < sizeof(a->sun_path) ? name->len : sizeof(a->sun_path);

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name->data, len);
	return (socklen_t)(sizeof(sa_family_t) + len);
}

static void act(const struct act *a, struct answer *ret)
{
	struct sockaddr_un address;
	socklen_t len = 0;

	if (a->name)
		len = fill_address(&address, a->name);
	switch (a->what) {
	case ACT_PAIR:
		ret->result = socketpair(AF_UNIX, a->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret->fds);
		break;
	case ACT_BIND:
		ret->result = bind(a->fd, (const struct sockaddr *)&address, len);
		break;
	case ACT_LISTEN:
		ret->result = listen(a->fd, a->backlog);
		break;
	case ACT_CONNECT:
		ret->result = connect(a->fd, (const struct sockaddr *)&address, len);
		break;
	case ACT_SEND:
		ret->result = sendmsg(a->fd, a->msg, a->flags);
		break;
	}
	ret->sys_errno = ret->result < 0 ? errno : 0;
}

/* Ids that we may not take (not root, or not in our user namespace) are left as they are: by raw calls,
 * since libc's would tell threads that are not here. */
static void __attribute__((__noreturn__)) actor_main(const struct unix_actor *who,
						     const struct act *what, struct answer *ret)
{
	if ((who->root && chroot(who->root) < 0) || (who->cwd && chdir(who->cwd) < 0)) {
		ret->result = -1;
		ret->sys_errno = errno;
		_exit(0);
	}
	if (who->pid) {
		(void)syscall(SYS_setresgid, -1, who->gid, -1);
		(void)syscall(SYS_setresuid, -1, who->uid, -1);
	}
	act(what, ret);
	_exit(0);
}

/* A pid that is not free (a process of somebody else has it by now) is done without. */
static pid_t clone_actor(uint32_t pid)
{
	pid_t wanted = (pid_t)pid, got;
	struct clone_args args = {
		.flags = CLONE_FILES,
		.exit_signal = SIGCHLD,
		.set_tid = pid ? (uint64_t)(uintptr_t)&wanted : 0,
		.set_tid_size = pid ? 1 : 0,
	};

	got = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (got >= 0 || !pid)
		return got;
	args.set_tid = args.set_tid_size = 0;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static bool is_ourselves(const struct unix_actor *who)
{
	return !who || (!who->pid && !who->root && !who->cwd);
}

static int run(const struct unix_actor *who, const struct act *what, struct answer *ret)
{
	struct answer *shared;
	pid_t pid;

	if (is_ourselves(who)) {
		act(what, ret);
		errno = ret->sys_errno;
		return ret->result < 0 ? -1 : 0;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -1;
	shared->result = -1;
	shared->sys_errno = EIO; /* should it die without a word */
	pid = clone_actor(who->pid);
	if (pid == 0)
		actor_main(who, what, shared);
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	*ret = *shared;
	(void)munmap(shared, sizeof(*shared));
	if (pid < 0)
		return -1;
	errno = ret->sys_errno;
	return ret->result < 0 ? -1 : 0;
}

int unix_actor_pair(const struct unix_actor *a, int type, int *ret_fds)
{
	const struct act what = {.what = ACT_PAIR, .type = type};
	struct answer answer = {.fds = {-1, -1}};

	if (run(a, &what, &answer) < 0)
		return -1;
	ret_fds[0] = answer.fds[0];
	ret_fds[1] = answer.fds[1];
	return 0;
}

int unix_actor_bind(const struct unix_actor *a, int fd, const ProtobufCBinaryData *name)
{
	const struct act what = {.what = ACT_BIND, .fd = fd, .name = name};
	struct answer answer;

	return run(a, &what, &answer);
}

int unix_actor_listen(const struct unix_actor *a, int fd, int backlog)
{
	const struct act what = {.what = ACT_LISTEN, .fd = fd, .backlog = backlog};
	struct answer answer;

	return run(a, &what, &answer);
}

int unix_actor_connect(const struct unix_actor *a, int fd, const ProtobufCBinaryData *name)
{
	const struct act what = {.what = ACT_CONNECT, .fd = fd, .name = name};
	struct answer answer;

	return run(a, &what, &answer);
}

ssize_t unix_actor_send(const struct unix_actor *a, int fd, const struct msghdr *msg, int flags)
{
	const struct act what = {.what = ACT_SEND, .fd = fd, .msg = msg, .flags = flags};
	struct answer answer;

	return run(a, &what, &answer) < 0 ? -1 : answer.result;
}
