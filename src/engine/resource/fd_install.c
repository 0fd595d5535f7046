/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors of a whole restart, second half: each process takes copies of the master's to their
 * numbers; and at the end what needs all processes to be there (owners, terminals).
 */
#include "resource/resource_priv.h"

#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

/* [from, below) */
static int close_between(int from, int below, struct stasis_error *err)
{
	if (from < below && close_range((unsigned)from, (unsigned)below - 1, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "close descriptors %d to %d", from,
					 below - 1);
	return 0;
}

/* [from, below), but not the master's own */
static int close_unused(const struct fd_load *c, int from, int below, struct stasis_error *err)
{
	if (close_between(from, below < c->base ? below : c->base, err) < 0)
		return -1;
	return close_between(from > c->end ? from : c->end, below, err);
}

int fd_load_install(struct fd_load *c, pid_t pid, struct stasis_error *err)
{
	const struct load_proc *p = load_find_proc(c, pid);
	int next = 0;

	if (!p)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no descriptor table", pid);
	for (size_t i = 0; i < p->nr_fds; i++) {
		const struct load_fd *f = &p->fds[i];

		if (close_unused(c, next, f->fd, err) < 0)
			return -1;
		if (dup3(f->desc->fd, f->fd, f->is_cloexec ? O_CLOEXEC : 0) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "%s(%d): dup2 %d %d failed",
						 p->comm, p->pid, f->desc->fd, f->fd);
		next = f->fd + 1;
	}
	return close_unused(c, next, INT_MAX, err);
}

/* A pid from the image may meanwhile be a stranger's: only our own get signals. */
static bool is_ours(struct fd_load *c, const Stasis__Description *d)
{
	char path[64];

	if (load_find_proc(c, d->owner_pid))
		return true;
	if (d->owner_type != F_OWNER_TID)
		return false;
	for (size_t i = 0; i < c->nr_procs; i++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d", c->procs[i].pid,
			       d->owner_pid);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static void set_owner(struct fd_load *c, const struct load_desc *l)
{
	struct f_owner_ex owner = {.type = (__typeof__(owner.type))l->d->owner_type,
				   .pid = l->d->owner_pid};

	if (is_ours(c, l->d) && fcntl(l->fd, F_SETOWN_EX, &owner) == 0)
		return;
	s_warn(c->s, "%s(%d) fd %d: its signals went to %d, which is not restarted; they go nowhere",
	       l->proc->comm, l->proc->pid, l->first_fd, l->d->owner_pid);
}

/* The guide: a program whose window has another size now gets SIGWINCH. */
static void tell_window(struct fd_load *c)
{
	if (c->foreground) {
		(void)kill(-c->foreground, SIGWINCH); /* a courtesy: nobody there, nobody told */
		return;
	}
	for (size_t i = 0; i < c->nr_procs; i++)
		(void)kill(c->procs[i].pid, SIGWINCH);
}

int fd_load_attach(struct fd_load *c, pid_t pid, struct stasis_error *err)
{
	const struct load_proc *p = load_find_proc(c, pid);

	for (size_t i = 0; p && i < p->nr_fds; i++) {
		struct load_desc *l = c->current = p->fds[i].desc;

		if (l->d->n_locks && locks_take_lease(c, p, &p->fds[i], err) < 0)
			return stasis_fail_prefix(err, "fd %d", p->fds[i].fd);
		if (!load_is_kept(l) || !l->kind->attach)
			continue;
		if (l->kind->attach(c->s, c, l->d, pid, p->fds[i].fd, err) < 0)
			return stasis_fail_prefix(err, "fd %d", p->fds[i].fd);
	}
	return 0;
}

int load_attach(struct load_desc *l, int fd,
		int (*open_it)(const Stasis__Description *d, struct stasis_error *err),
		struct stasis_error *err)
{
	int cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
	scoped_fd int fresh = l->attached_fd ? -1 : open_it(l->d, err);

	if (!l->attached_fd && fresh < 0)
		return -1;
	if (dup3(l->attached_fd ? l->attached_fd - 1 : fresh, fd, cloexec) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "duplicate a descriptor");
	if (!l->attached_fd)
		l->attached_fd = fd + 1;
	return 0;
}

int load_take_attached(struct fd_load *c, struct stasis_error *err)
{
	struct load_desc *l = c->current;
	scoped_fd int holder = -1, fd = -1;

	if (l->first_fd < 0)
		return 0;
	holder = (int)syscall(SYS_pidfd_open, l->proc->pid, 0);
	fd = holder < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, holder, l->first_fd, 0);
	if (fd < 0 || dup3(fd, l->fd, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "take a descriptor from process %d",
					 l->proc->pid);
	return 0;
}

static int finish_all(struct fd_load *c, bool last, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		struct load_desc *l = c->current = &c->descs[i];

		if (!load_is_kept(l) || l->kind->is_finished_last != last)
			continue;
		if (l->d->n_locks)
			locks_forget_owner(l);
		if (l->d->owner_pid)
			set_owner(c, l);
		if (l->kind->finish && l->kind->finish(c->s, c, l->d, err) < 0)
			return load_fail_at(l, err);
	}
	return 0;
}

/* The last close of a description must be the program's: a lock goes with it, a pipe's reader is told. */
static void close_copies(struct fd_load *c)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		scoped_close_fd(&c->descs[i].fd);
		c->descs[i].fd = -1;
	}
}

int fd_load_finish(struct fd_load *c, struct stasis_error *err)
{
	if (finish_all(c, false, err) < 0 || finish_all(c, true, err) < 0)
		return -1;
	if (c->window_differs)
		tell_window(c);
	copy_back_keep(c);
	mqueue_load_keep(c);
	close_copies(c);
	return 0;
}
