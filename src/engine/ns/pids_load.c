/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Births into pid namespaces: which ids a new process has in each of them, and who may choose them. A pid
 * namespace is made by the birth of its first process.
 */
#include "ns/ns_priv.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t pids_of(const struct ns_load *n, size_t index)
{
	return index == NS_OUTSIDE || !n->procs[index].in ? 0 : n->procs[index].in->pid;
}

static int open_pids(struct ns_load *n, uint32_t id, struct stasis_error *err)
{
	const struct ns_made *m = ns_made_of(n, id);
	char path[48];
	int fd;

	if (m)
		(void)snprintf(path, sizeof(path), "%d/ns/pid", n->procs[m->first].pid);
	else
		(void)snprintf(path, sizeof(path), "self/ns/pid");
	fd = openat(n->procfs, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "pid namespace of %s", path) : fd;
}

/* A zombie's record does not name its namespace; how many numbers it has tells whether it is its parent's. */
static size_t nr_inner(const struct ns_load *n, size_t index)
{
	return index == NS_OUTSIDE || !n->procs[index].in ? 0 : n->procs[index].in->n_inner_pids;
}

static bool is_first_of_namespace(const struct ns_load *n, size_t creator, size_t index)
{
	size_t nr = nr_inner(n, index);

	return nr > nr_inner(n, creator) && n->procs[index].in->inner_pids[nr - 1] == 1;
}

/* The numbers in pid namespaces that are not the caller's to choose in: one, the outermost, can be had. */
static pid_t clone_placed(struct ns_load *n, const struct ns_birth *b, struct clone_args *args)
{
	char path[16];
	pid_t pid;

	if (!n->pids || n->pids->begin(n->pids->arg, b->pid) < 0) {
		errno = EPERM;
		return -1;
	}
	pid = (pid_t)syscall(SYS_clone3, args, sizeof(*args));
	if (pid == 0)
		return 0;
	n->pids->end(n->pids->arg);
	(void)snprintf(path, sizeof(path), "%d", b->pid);
	if (pid < 0 || (args->set_tid_size ? faccessat(n->procfs, path, F_OK, 0) == 0 : pid == b->pid))
		return pid;
	(void)kill(pid, SIGKILL);
	errno = EEXIST; /* all is tried again */
	return -1;
}

/* A zombie's record does not tell. */
static uint32_t pids_of_new(const struct ns_load *n, const struct ns_birth *b)
{
	uint32_t id = pids_of(n, b->like);

	return id ? id : pids_of(n, b->creator);
}

/* Of a stand-in only the two numbers that others remember are known. */
static pid_t clone_with_ids(struct ns_load *n, const struct ns_birth *b, struct clone_args *args)
{
	pid_t ids[1 + TREE_MAX_INNER];
	size_t nr = nr_inner(n, b->like);
	size_t nr_free = ns_free_levels(n, pids_of_new(n, b), nr + 1, n->user);

	if ((nr > 1 && b->pid != n->procs[b->like].pid) || nr_free < nr) {
		errno = EOPNOTSUPP;
		return -1;
	}
	for (size_t i = 0; i < nr; i++) /* its own namespace first */
		ids[i] = n->procs[b->like].in->inner_pids[nr - 1 - i];
	if (nr)
		ids[0] = b->own_pid;
	ids[nr] = b->pid;
	args->set_tid = nr_free ? (uint64_t)(uintptr_t)ids : 0;
	args->set_tid_size = nr_free;
	return nr_free > nr ? (pid_t)syscall(SYS_clone3, args, sizeof(*args)) : clone_placed(n, b, args);
}

bool ns_load_needs_crossing(struct ns_load *n, const struct ns_birth *b)
{
	return pids_of(n, b->like) && is_first_of_namespace(n, b->creator, b->like) &&
	       ns_owner_of_pids(n, pids_of(n, b->like)) != n->user;
}

int ns_load_cross(struct ns_load *n, const struct ns_birth *b, struct stasis_error *err)
{
	uint32_t owner = ns_owner_of_pids(n, pids_of(n, b->like));

	if (ns_check_user(n, n->user, owner, err) < 0 || ns_join_all(n, b->like, err) < 0)
		return -1;
	return ns_load_join_user(n, owner, err);
}

void ns_load_set_pids(struct ns_load *n, const struct ns_pids *pids)
{
	n->pids = pids;
}

pid_t ns_load_fork(struct ns_load *n, const struct ns_birth *b, struct clone_args *args)
{
	uint32_t id = pids_of(n, b->like);
	scoped_fd int there = -1, back = -1;
	pid_t pid;

	if (is_first_of_namespace(n, b->creator, b->like)) {
		args->flags |= CLONE_NEWPID;
		return clone_with_ids(n, b, args);
	}
	if (id == pids_of(n, b->creator) || nr_inner(n, b->like) == nr_inner(n, b->creator))
		return clone_with_ids(n, b, args);
	there = open_pids(n, id, NULL);
	back = open_pids(n, pids_of(n, b->creator), NULL);
	if (there < 0 || back < 0 || setns(there, CLONE_NEWPID) < 0)
		return -1;
	pid = clone_with_ids(n, b, args);
	if (pid > 0 && setns(back, CLONE_NEWPID) < 0)
		return -1;
	return pid;
}

int ns_load_open_for_children(struct ns_load *n, size_t index, struct stasis_error *err)
{
	const Stasis__Membership *in = ns_member_of(n, index);
	const struct ns_made *m = ns_made_of(n, in->pid_for_children);

	if (!in->pid_for_children || in->pid_for_children == in->pid)
		return -2;
	if (!m || m->first == NS_OUTSIDE)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the pid namespace of its future children belongs to processes that "
				   "are not restarted; restart the hierarchy from its root");
	return open_pids(n, in->pid_for_children, err);
}
