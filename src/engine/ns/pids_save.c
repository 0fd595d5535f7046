/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pid namespaces below that of the tree: who is in which follows from the ids. */
#include "ns/ns_priv.h"

#include "lib/proc.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
}

/* The one above; those of its processes' parents are known before. */
static uint32_t parent_pids(struct ns_save *n, const struct task *t, const char *link)
{
	scoped_fd int fd = -1, parent = -1;
	struct ns_entry *e = NULL;
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "ns/%s", link);
	fd = openat(t->procfd, path, O_RDONLY | O_CLOEXEC);
	parent = fd < 0 ? -1 : ioctl(fd, NS_GET_PARENT);
	if (parent >= 0 && fstat(parent, &st) == 0)
		e = ns_save_find(n, &st);
	return e ? e->rec.id : 0;
}

/* Id of the namespace behind a link of /proc/PID/ns, which is below the tree's; 0 when it is left alone. */
static int pid_entry(struct ns_save *n, struct task *t, const char *link, const struct stat *ns,
		     uint32_t *ret, struct stasis_error *err)
{
	struct ns_entry *e = ns_save_find(n, ns);
	pid_t outsider;

	if (!e) {
		e = ns_save_new(n, t, STASIS__NAMESPACE_TYPE__NAMESPACE_PID, ns);
		if (!e)
			return no_memory(err);
		if (ns_save_owner(n, e, link, err) < 0)
			return -1;
		e->rec.parent_pids = parent_pids(n, t, link);
		e->rec.id = ++n->nr;
		outsider = ns_save_outsider(n, "pid", ns);
		if (outsider)
			ns_save_report(n, t,
				       "is in a pid namespace that it shares with process %d, which is "
				       "not of the tree; checkpoint the container as a whole",
				       outsider);
	}
	*ret = e->rec.id;
	return 0;
}

static int save_ids(struct ns_save *n, const struct task *t, Stasis__Membership *m,
		    struct stasis_error *err)
{
	m->inner_pids = arena_memdup(&n->arena, t->inner_pids, sizeof(t->inner_pids));
	if (!m->inner_pids)
		return no_memory(err);
	m->n_inner_pids = t->nr_inner;
	m->own_pgid = t->own_pgid;
	m->own_sid = t->own_sid;
	return 0;
}

/* Where the next child will be: the link leads nowhere before the first one is there. */
static int save_pids_for_children(struct ns_save *n, struct task *t, const char *own,
				  struct stasis_error *err)
{
	char link[PROC_NS_BYTES];
	Stasis__Membership *m;
	struct stat st;

	if (proc_read_ns(t->procfd, "ns/pid_for_children", link) && strcmp(link, own) == 0)
		return 0;
	if (!ns_stat(t->procfd, "pid_for_children", &st)) {
		ns_save_report(n, t, "has made a pid namespace (unshare) that no process is in yet; wait "
				     "until it has forked");
		return 0;
	}
	m = ns_save_member_of(n, t);
	if (!m)
		return no_memory(err);
	return pid_entry(n, t, "pid_for_children", &st, &m->pid_for_children, err);
}

int ns_save_pids(struct ns_save *n, struct task *t, struct stasis_error *err)
{
	char own[PROC_NS_BYTES];
	Stasis__Membership *m;
	struct stat st;

	if (t->nr_inner) {
		m = ns_save_member_of(n, t);
		if (!m || save_ids(n, t, m, err) < 0)
			return no_memory(err);
	}
	if (t->state == TASK_ZOMBIE || !proc_read_ns(t->procfd, "ns/pid", own))
		return 0; /* a zombie's namespace is that of its parent, or its own first's */
	if (t->nr_inner && ns_stat(t->procfd, "pid", &st) &&
	    pid_entry(n, t, "pid", &st, &ns_save_member_of(n, t)->pid, err) < 0)
		return -1;
	return save_pids_for_children(n, t, own, err);
}

uint32_t ns_save_pids_of(struct ns_save *n, int proc_dirfd)
{
	struct ns_entry *e;
	struct stat st;

	if (fstatat(proc_dirfd, "1/ns/pid", &st, 0) < 0)
		return 0;
	e = ns_save_find(n, &st);
	return e ? e->rec.id : 0;
}
