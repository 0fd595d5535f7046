/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pidfd_open(2) of processes of the tree. Each process opens its own when all are there; the master takes
 * that one in turn, for the epoll instances it is a member of. Processes that shared a description by fork
 * have one each after a restart, which shows only when one of them changes O_NONBLOCK.
 */
#include "resource/resource_priv.h"

#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool pidfd_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[pidfd]") || !strncmp(p->link, "pidfd:", 6);
}

static const struct task *find_task(const struct tree *tree, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->pid == pid)
			return t;
	return NULL;
}

/* fdinfo, Linux 5.2: "Pid:\t4711"; -1 when the process is gone and waited for. */
static int pidfd_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		      Stasis__Description *ret, struct stasis_error *err)
{
	const char *line = strstr(p->fdinfo, "\nPid:");
	Stasis__PidFd *r = fd_save_alloc(c, sizeof(*r));
	const struct task *t;
	int pid;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pidfd");
	stasis__pid_fd__init(r);
	if (!line || sscanf(line, "\nPid: %d", &pid) != 1)
		return stasis_fail(err, STASIS_E_INTERNAL, "fdinfo shows no Pid");
	t = pid > 0 ? find_task(p->task->tree, pid) : NULL;
	if (pid > 0 && !t)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "pidfd of process %d, which is outside of the tree (or a thread); close "
				   "it before the checkpoint",
				   pid);
	r->pid = t ? t->vpid : 0;
	ret->kind_case = STASIS__DESCRIPTION__KIND_PIDFD;
	ret->pidfd = r;
	return 0;
}

static int pidfd_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	(void)s;
	(void)c;
	if (d->pidfd->pid < 0)
		return stasis_fail(err, STASIS_E_CORRUPT, "pidfd of process %d", d->pidfd->pid);
	return 0;
}

/* Of a process that is gone: any that is gone will do. */
static int open_dead(struct stasis_error *err)
{
	pid_t pid = fork();
	scoped_fd int fd = -1;

	if (pid == 0)
		_exit(0);
	fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		(void)stasis_fail_errno(err, STASIS_E_IO, "pidfd of a dead process");
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return fd_take(&fd);
}

/* Until the process is there: of ourselves. */
static int pidfd_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	int fd = d->pidfd->pid ? (int)syscall(SYS_pidfd_open, getpid(), 0) : open_dead(err);

	(void)s;
	(void)c;
	return fd < 0 && d->pidfd->pid ? stasis_fail_errno(err, STASIS_E_IO, "pidfd_open") : fd;
}

static int open_it(const Stasis__Description *d, struct stasis_error *err)
{
	int fd = (int)syscall(SYS_pidfd_open, d->pidfd->pid, d->flags & O_NONBLOCK);

	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "pidfd of process %d", d->pidfd->pid) : fd;
}

static int pidfd_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid,
			int fd, struct stasis_error *err)
{
	(void)s;
	(void)pid;
	return d->pidfd->pid ? load_attach(c->current, fd, open_it, err) : 0;
}

static int pidfd_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	(void)s;
	return d->pidfd->pid ? load_take_attached(c, err) : 0;
}

const struct resource_kind kind_pidfd = {
	.name = "pidfd",
	.tag = STASIS__DESCRIPTION__KIND_PIDFD,
	.match = pidfd_match,
	.save = pidfd_save,
	.verify = pidfd_verify,
	.load = pidfd_load,
	.attach = pidfd_attach,
	.finish = pidfd_finish,
};
