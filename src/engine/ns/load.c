/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the namespaces of a tree again. All but those of pids are made before there is any process, each
 * by a helper that leaves when somebody holds it; a process joins its own right after its birth. A pid
 * namespace is made by the birth of its first process.
 */
#include "ns/ns_priv.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PID = 1 << 22 };

/* clang-format off */
static const struct {
	const char *name;
	int flag;
} kinds[] = {
	[STASIS__NAMESPACE_TYPE__NAMESPACE_MNT]    = {"mnt", CLONE_NEWNS},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_NET]    = {"net", CLONE_NEWNET},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_UTS]    = {"uts", CLONE_NEWUTS},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_IPC]    = {"ipc", CLONE_NEWIPC},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP] = {"cgroup", CLONE_NEWCGROUP},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_PID]    = {"pid", CLONE_NEWPID},
	[STASIS__NAMESPACE_TYPE__NAMESPACE_USER]   = {"user", CLONE_NEWUSER},
};
/* clang-format on */

_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == NS_NR_KINDS, "one line for each type");

struct ns_made *ns_made_of(struct ns_load *n, uint32_t id)
{
	return id && id <= n->nr && n->made[id].rec ? &n->made[id] : NULL;
}

/* ---- plan ---- */

static int add_record(struct ns_load *n, struct image *img, const Stasis__Namespace *rec,
		      struct stasis_error *err)
{
	struct ns_made *m;

	if (!rec->id || rec->id > NS_MAX || (int)rec->type <= 0 || (int)rec->type >= NS_NR_KINDS)
		return stasis_fail(err, STASIS_E_CORRUPT, "namespace %u of type %d", rec->id, rec->type);
	m = &n->made[rec->id];
	if (m->rec)
		return m->rec->type == rec->type
			       ? 0
			       : stasis_fail(err, STASIS_E_CORRUPT, "two namespaces %u", rec->id);
	m->rec = rec;
	m->image = img;
	m->first = m->late_proc = NS_OUTSIDE;
	if (rec->id > n->nr)
		n->nr = rec->id;
	if (rec->path[0] && rec->path[0] != '/')
		return stasis_fail(err, STASIS_E_CORRUPT, "namespace at '%.60s'", rec->path);
	if (rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_NET)
		return ns_check_links(rec, err);
	if (rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_MNT)
		return ns_check_mounts(rec, err);
	return 0;
}

static int check_member(struct ns_load *n, size_t index, uint32_t id, Stasis__NamespaceType type,
			struct stasis_error *err)
{
	struct ns_made *m = ns_made_of(n, id);

	if (!id)
		return 0;
	if (!m || m->rec->type != type)
		return stasis_fail(err, STASIS_E_CORRUPT, "%s(%d): record of its %s namespace is missing",
				   n->procs[index].comm, n->procs[index].pid, kinds[type].name);
	if (m->first == NS_OUTSIDE)
		m->first = index;
	return 0;
}

static int check_inner_pids(const struct ns_proc *p, struct stasis_error *err)
{
	bool is_bad = p->in->n_inner_pids > TREE_MAX_INNER;

	for (size_t i = 0; i < p->in->n_inner_pids && !is_bad; i++)
		is_bad = p->in->inner_pids[i] < 1 || p->in->inner_pids[i] > MAX_PID;
	if (is_bad || p->in->own_pgid < 0 || p->in->own_pgid > MAX_PID || p->in->own_sid < 0 ||
	    p->in->own_sid > MAX_PID)
		return stasis_fail(err, STASIS_E_CORRUPT, "%s(%d): ids in its pid namespace", p->comm,
				   p->pid);
	return 0;
}

/* Who mounts the /proc of a pid namespace: the first that is in that and in the mount namespace. */
static void choose_late(struct ns_load *n, size_t index)
{
	const Stasis__Membership *in = n->procs[index].in;
	struct ns_made *m = ns_made_of(n, in->mnt);

	if (!m || m->late_proc != NS_OUTSIDE)
		return;
	for (size_t i = 0; i < m->rec->n_mounts; i++)
		if (m->rec->mounts[i]->pid_namespace && m->rec->mounts[i]->pid_namespace != in->pid)
			return;
	m->late_proc = index;
}

static int check_proc(struct ns_load *n, size_t index, struct stasis_error *err)
{
	const Stasis__Membership *in = n->procs[index].in;

	if (check_inner_pids(&n->procs[index], err) < 0 ||
	    check_member(n, index, in->mnt, STASIS__NAMESPACE_TYPE__NAMESPACE_MNT, err) < 0 ||
	    check_member(n, index, in->net, STASIS__NAMESPACE_TYPE__NAMESPACE_NET, err) < 0 ||
	    check_member(n, index, in->uts, STASIS__NAMESPACE_TYPE__NAMESPACE_UTS, err) < 0 ||
	    check_member(n, index, in->ipc, STASIS__NAMESPACE_TYPE__NAMESPACE_IPC, err) < 0 ||
	    check_member(n, index, in->cgroup, STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP, err) < 0 ||
	    check_member(n, index, in->pid, STASIS__NAMESPACE_TYPE__NAMESPACE_PID, err) < 0 ||
	    check_member(n, index, in->user, STASIS__NAMESPACE_TYPE__NAMESPACE_USER, err) < 0)
		return -1;
	choose_late(n, index);
	return 0;
}

static int read_records(struct ns_load *n, struct image *img, struct stasis_error *err)
{
	for (size_t i = 0; i < image_nr_records(img, IMAGE_TAG_NAMESPACE); i++) {
		const Stasis__Namespace *rec = image_record(img, IMAGE_TAG_NAMESPACE, i,
							    &stasis__namespace__descriptor, err);

		if (!rec || add_record(n, img, rec, err) < 0)
			return -1;
	}
	return 0;
}

/* Of no image: see restore/ipc.c. */
static void add_moved(struct ns_load *n)
{
	stasis__namespace__init(&n->moved_ipc);
	n->moved_ipc.id = NS_MOVED_IPC;
	n->moved_ipc.type = STASIS__NAMESPACE_TYPE__NAMESPACE_IPC;
	for (size_t i = 0; i < n->nr_procs; i++)
		if (n->procs[i].in && n->procs[i].in->ipc == NS_MOVED_IPC)
			n->nr = NS_MOVED_IPC;
	if (n->nr != NS_MOVED_IPC)
		return;
	n->made[NS_MOVED_IPC].rec = &n->moved_ipc;
	n->made[NS_MOVED_IPC].first = n->made[NS_MOVED_IPC].late_proc = NS_OUTSIDE;
}

static bool has_late(const struct ns_made *m)
{
	for (size_t i = 0; m->rec && i < m->rec->n_mounts; i++)
		if (ns_mount_is_late(m->rec, i))
			return true;
	return false;
}

static bool has_files(const struct ns_made *m)
{
	for (size_t i = 0; m->rec && i < m->rec->n_mounts; i++)
		if (m->rec->mounts[i]->object)
			return true;
	return false;
}

static void ns_load_freep(struct ns_load **n)
{
	ns_load_free(*n);
}

static bool is_needed(const struct ns_proc *procs, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (procs[i].in)
			return true;
	return false;
}

int ns_load_plan(struct session *s, const struct ns_proc *procs, size_t nr, struct ns_load **ret,
		 struct stasis_error *err)
{
	scoped(ns_load_freep) struct ns_load *n = NULL;

	*ret = NULL;
	if (!is_needed(procs, nr))
		return 0;
	n = calloc(1, sizeof(*n));
	if (n)
		n->made = calloc(NS_MOVED_IPC + 1, sizeof(*n->made));
	if (!n || !n->made)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
	for (size_t i = 0; i <= NS_MOVED_IPC; i++)
		n->made[i].fd = n->made[i].proc_fd = n->made[i].sys_fd = -1;
	n->s = s;
	n->procs = procs;
	n->nr_procs = nr;
	for (size_t k = 0; k < NS_NR_KINDS; k++)
		n->own[k] = -1;
	n->procfs = -1;
	n->at = n->at_ipc = n->here = NS_OUTSIDE;
	for (size_t i = 0; i < nr; i++)
		if (read_records(n, procs[i].image, err) < 0)
			return -1;
	add_moved(n);
	for (uint32_t id = 1; id <= n->nr; id++)
		if (n->made[id].rec && ns_check_owner(n, n->made[id].rec, err) < 0)
			return -1;
	for (size_t i = 0; i < nr; i++)
		if (procs[i].in && check_proc(n, i, err) < 0)
			return -1;
	for (uint32_t id = 1; id <= n->nr; id++)
		if (has_files(&n->made[id]) && ns_archive_open(&n->archive, err) < 0)
			return -1;
	for (uint32_t id = 1; id <= n->nr; id++)
		if (has_late(&n->made[id]) && n->made[id].late_proc == NS_OUTSIDE)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "a /proc of the tree shows the pids of processes that are not "
					   "restarted; restart the hierarchy from its root");
	*ret = ptr_take(&n);
	return 0;
}

/* ---- make ---- */

static int fill(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	const Stasis__Namespace *rec = m->rec;

	switch (rec->type) {
	case STASIS__NAMESPACE_TYPE__NAMESPACE_MNT:
		return ns_load_mounts(n, m, err);
	case STASIS__NAMESPACE_TYPE__NAMESPACE_UTS:
		if (sethostname(rec->nodename, strlen(rec->nodename)) < 0 ||
		    setdomainname(rec->domainname, strlen(rec->domainname)) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "set the host name");
		return 0;
	default:
		return 0;
	}
}

/* A namespace belongs to the user namespace of whoever makes it, and so do the file systems in it. */
static int go_to_owner(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	if (!m->rec->owner)
		return 0;
	if (m->rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_MNT && ns_stand_binds(m, err) < 0)
		return -1;
	if (ns_load_join_user(n, m->rec->owner, err) < 0)
		return -1;
	ns_become_root();
	return 0;
}

static int unshare_one(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	if (m->rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_USER)
		return ns_make_user(n, m->rec, err);
	if (unshare(kinds[m->rec->type].flag) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "make a %s namespace",
					 kinds[m->rec->type].name);
	return 0;
}

/* Reports to `to` and stays until the other end of `from` is closed. */
static _Noreturn void maker_main(struct ns_load *n, struct ns_made *m, int to, int from)
{
	struct stasis_error err = {.text = ""};
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n->cgroups && ns_cgroups_enter(n->cgroups, m->rec->cgroup_roots, m->rec->n_cgroup_roots, &err) < 0)
		(void)stasis_fail_prefix(&err, "root of a cgroup namespace");
	else if (go_to_owner(n, m, &err) == 0 && unshare_one(n, m, &err) == 0)
		(void)fill(n, m, &err);
	(void)!write(to, &err, sizeof(err)); /* nobody may be there any more */
	(void)!read(from, &byte, 1);
	_exit(0);
}

static int take_result(struct ns_made *m, pid_t maker, int from, struct stasis_error *err)
{
	struct stasis_error result;
	char path[64];

	if (read(from, &result, sizeof(result)) != (ssize_t)sizeof(result))
		return stasis_fail(err, STASIS_E_INTERNAL, "the maker of a %s namespace died",
				   kinds[m->rec->type].name);
	if (result.text[0]) {
		if (err)
			*err = result;
		return -1;
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", maker, kinds[m->rec->type].name);
	m->fd = open(path, O_RDONLY | O_CLOEXEC);
	return m->fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "open '%s'", path) : 0;
}

static int run_maker(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	scoped_fd int from = -1, to = -1;
	int report[2], hold[2], result;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	from = report[0];
	to = report[1];
	if (pipe2(hold, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	pid = fork();
	if (pid == 0) {
		(void)close(hold[1]);
		maker_main(n, m, to, hold[0]);
	}
	(void)close(hold[0]);
	scoped_close_fd(&to);
	to = -1;
	result = pid < 0 ? stasis_fail_errno(err, STASIS_E_IO, "fork") : take_result(m, pid, from, err);
	(void)close(hold[1]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return result;
}

static int make_one(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	if (m->rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_PID)
		return 0;
	if (m->rec->path[0]) {
		m->fd = open(m->rec->path, O_RDONLY | O_CLOEXEC);
		return m->fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "namespace '%s'", m->rec->path)
				 : 0;
	}
	if (m->rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_MNT &&
	    ns_load_open_binds(n, m, err) < 0)
		return -1;
	if (n->cgroups &&
	    ns_cgroups_add(n->cgroups, m->rec->cgroup_roots, m->rec->n_cgroup_roots, err) < 0)
		return -1;
	return run_maker(n, m, err);
}

/* ---- join ---- */

const Stasis__Membership *ns_member_of(const struct ns_load *n, size_t index)
{
	static const Stasis__Membership none = STASIS__MEMBERSHIP__INIT;

	return index == NS_OUTSIDE || !n->procs[index].in ? &none : n->procs[index].in;
}

static int join(struct ns_load *n, Stasis__NamespaceType type, uint32_t id, uint32_t now,
		struct stasis_error *err)
{
	const struct ns_made *m = ns_made_of(n, id);

	if (id != now && setns(m ? m->fd : n->own[type], kinds[type].flag) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "join a %s namespace", kinds[type].name);
	return 0;
}

static bool has_socket(struct image *img)
{
	for (size_t i = 0; i < image_nr_records(img, IMAGE_TAG_DESCRIPTION); i++) {
		const Stasis__Description *d = image_record(img, IMAGE_TAG_DESCRIPTION, i,
							    &stasis__description__descriptor, NULL);

		switch (d ? d->kind_case : STASIS__DESCRIPTION__KIND__NOT_SET) {
		case STASIS__DESCRIPTION__KIND_UNIX_SOCKET:
		case STASIS__DESCRIPTION__KIND_TCP:
		case STASIS__DESCRIPTION__KIND_UDP:
		case STASIS__DESCRIPTION__KIND_RAW:
		case STASIS__DESCRIPTION__KIND_NETLINK:
		case STASIS__DESCRIPTION__KIND_PACKET:
			return true;
		default:
			break;
		}
	}
	return false;
}

/* All that live are in one network of their own: the master goes there for good. */
static int go_to_network(struct ns_load *n, uint32_t net, struct stasis_error *err)
{
	return join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_NET, net, 0, err);
}

/*
 * Without privilege outside, nobody comes back to the network of the restarter, so that sockets cannot be made
 * in turns here and there.
 */
static int choose_network(struct ns_load *n, struct stasis_error *err)
{
	uint32_t net = 0;
	bool is_mixed = false, is_first = true;

	n->keeps_net = setns(n->own[STASIS__NAMESPACE_TYPE__NAMESPACE_NET], CLONE_NEWNET) < 0;
	for (size_t i = 0; i < n->nr_procs && n->keeps_net; i++) {
		uint32_t own = ns_member_of(n, i)->net;

		if (!image_nr_records(n->procs[i].image, IMAGE_TAG_FDTABLE))
			continue; /* a zombie */
		is_mixed |= !is_first && own != net;
		is_first = false;
		net = own;
	}
	for (size_t i = 0; i < n->nr_procs && is_mixed; i++)
		if (ns_member_of(n, i)->net && has_socket(n->procs[i].image))
			return stasis_fail(err, STASIS_E_DENIED,
					   "%s(%d) has sockets in a network namespace that others of the "
					   "tree are not in: this takes root; without, checkpoint and "
					   "restart the container's first process alone",
					   n->procs[i].comm, n->procs[i].pid);
	return net && !is_mixed ? go_to_network(n, net, err) : 0;
}

int ns_load_switch(struct ns_load *n, size_t index, struct stasis_error *err)
{
	const Stasis__Membership *now = ns_member_of(n, n->at), *in = ns_member_of(n, index);

	if ((!n->keeps_net && join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_NET, in->net, now->net, err) < 0) ||
	    join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_MNT, in->mnt, now->mnt, err) < 0)
		return -1;
	n->at = index;
	return 0;
}

int ns_load_switch_ipc(struct ns_load *n, size_t index, struct stasis_error *err)
{
	if (join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_IPC, ns_member_of(n, index)->ipc,
		 ns_member_of(n, n->at_ipc)->ipc, err) < 0)
		return -1;
	n->at_ipc = index;
	return 0;
}

/* They come first: others belong to them. */
static bool is_user(const Stasis__Namespace *rec)
{
	return rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_USER;
}

int ns_load_make(struct ns_load *n, struct ns_cgroups *cgroups, struct stasis_error *err)
{
	n->cgroups = cgroups;
	for (size_t k = 1; k < NS_NR_KINDS; k++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[k].name);
		n->own[k] = open(path, O_RDONLY | O_CLOEXEC);
		if (n->own[k] < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", path);
	}
	n->procfs = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (n->procfs < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc'");
	for (int users = 1; users >= 0; users--)
		for (uint32_t id = 1; id <= n->nr; id++)
			if (n->made[id].rec && is_user(n->made[id].rec) == users &&
			    make_one(n, &n->made[id], err) < 0)
				return -1;
	return ns_load_links(n, err) < 0 ? -1 : choose_network(n, err);
}

int ns_join_all(struct ns_load *n, size_t index, struct stasis_error *err)
{
	const Stasis__Membership *now = ns_member_of(n, n->here), *in = ns_member_of(n, index);

	if (join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_NET, in->net, now->net, err) < 0 ||
	    join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_UTS, in->uts, now->uts, err) < 0 ||
	    join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_IPC, in->ipc, now->ipc, err) < 0 ||
	    join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP, in->cgroup, now->cgroup, err) < 0 ||
	    join(n, STASIS__NAMESPACE_TYPE__NAMESPACE_MNT, in->mnt, now->mnt, err) < 0)
		return -1;
	n->here = index;
	return 0;
}

int ns_load_enter(struct ns_load *n, size_t index, struct stasis_error *err)
{
	struct ns_made *m = ns_made_of(n, ns_member_of(n, index)->mnt);

	if (ns_check_user(n, n->user, ns_member_of(n, index)->user, err) < 0 || ns_join_all(n, index, err) < 0)
		return -1;
	return m && m->late_proc == index ? ns_load_late_mounts(n, m, err) : 0;
}

void ns_load_free(struct ns_load *n)
{
	int saved = errno;

	if (!n)
		return;
	for (uint32_t id = 1; id <= n->nr; id++) {
		struct ns_made *m = &n->made[id];

		for (size_t i = 0; m->bind_fds && i < m->rec->n_mounts; i++)
			scoped_close_fd(&m->bind_fds[i]);
		free(m->bind_fds);
		free(m->is_whole);
		free(m->comes_along);
		scoped_close_fd(&m->proc_fd);
		scoped_close_fd(&m->sys_fd);
		scoped_close_fd(&m->fd);
	}
	for (size_t k = 0; k < NS_NR_KINDS; k++)
		scoped_close_fd(&n->own[k]);
	scoped_close_fd(&n->procfs);
	ns_archive_close(n->archive);
	free(n->made);
	free(n);
	errno = saved;
}
