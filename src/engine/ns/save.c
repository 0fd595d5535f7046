/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which namespaces a tree has for itself. A namespace is told by device and inode of its file in
 * /proc/PID/ns; it belongs to the tree when no process outside of the tree is in it.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"
#include "lib/proc.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_BYTES = 240 };

/* clang-format off */
static const struct {
	const char *name, *link;
	Stasis__NamespaceType type;
} kinds[] = {
	{"mnt",    "ns/mnt",    STASIS__NAMESPACE_TYPE__NAMESPACE_MNT},
	{"net",    "ns/net",    STASIS__NAMESPACE_TYPE__NAMESPACE_NET},
	{"uts",    "ns/uts",    STASIS__NAMESPACE_TYPE__NAMESPACE_UTS},
	{"ipc",    "ns/ipc",    STASIS__NAMESPACE_TYPE__NAMESPACE_IPC},
	{"cgroup", "ns/cgroup", STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP},
};
/* clang-format on */

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The namespaces that we are in. */
struct own_namespaces {
	char kinds[NR_KINDS][PROC_NS_BYTES];
	char user[PROC_NS_BYTES];
};

void ns_save_report(struct ns_save *n, struct task *t, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	n->obstacle(n->obstacle_arg, t, text);
}

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
}

int ns_run_apart(ns_inside_fn fn, void *arg, const char *what, struct stasis_error *err)
{
	struct stasis_error *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1, result = -1;
	pid_t pid;

	if (shared == MAP_FAILED)
		return no_memory(err);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(arg, shared) == 0 ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		(void)stasis_fail_errno(err, STASIS_E_IO, "%s", what);
	else if (status == 0)
		result = 0;
	else if (err && shared->text[0])
		*err = *shared;
	else
		(void)stasis_fail(err, STASIS_E_INTERNAL, "%s: status 0x%x", what, status);
	(void)munmap(shared, sizeof(*shared));
	return result;
}

/* ---- inside of another namespace ---- */

void ns_become_root(void)
{
	/* without a map, or without id 0 in it, we stay who we are */
	(void)!setresgid(0, 0, 0);
	(void)!setresuid(0, 0, 0);
}

/* Who is not privileged here may be so in the user namespace that it belongs to. */
static int join_owner(int ns_fd)
{
	scoped_fd int owner = ioctl(ns_fd, NS_GET_USERNS);

	if (owner < 0 || ns_is_own_user(owner))
		return 0;
	if (setns(owner, CLONE_NEWUSER) < 0)
		return -1;
	ns_become_root();
	return 0;
}

/* System V objects are read with the ids that we know, if that is allowed. */
static int join_it(int ns_fd)
{
	if (ns_fd < 0 || (ioctl(ns_fd, NS_GET_NSTYPE) == CLONE_NEWIPC && setns(ns_fd, 0) == 0))
		return 0;
	return join_owner(ns_fd) < 0 ? -1 : setns(ns_fd, 0);
}

struct inside_job {
	int ns_fd;
	ns_inside_fn fn;
	void *arg;
};

static int go_inside(void *arg, struct stasis_error *err)
{
	const struct inside_job *job = arg;

	if (join_it(job->ns_fd) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "join its namespace");
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* changing credentials clears it */
	return job->fn(job->arg, err);
}

/* -1: we are in it. */
static int open_other_ns(const struct task *t, const char *name, int *ret, struct stasis_error *err)
{
	char own[48], *path = own + sizeof("/proc/self/") - 1;
	struct stat ours, theirs;

	(void)snprintf(own, sizeof(own), "/proc/self/ns/%s", name);
	*ret = openat(t->procfd, path, O_RDONLY | O_CLOEXEC);
	if (*ret < 0 || fstat(*ret, &theirs) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s namespace of %d", name, t->pid);
	if (stat(own, &ours) < 0 || ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
		return 0;
	(void)close(*ret);
	*ret = -1;
	return 0;
}

int ns_run_inside(const struct task *t, const char *name, ns_inside_fn fn, void *arg,
		  struct stasis_error *err)
{
	scoped_fd int fd = -1;
	struct inside_job job = {.fn = fn, .arg = arg};
	char what[64];

	(void)snprintf(what, sizeof(what), "look into the %s namespace of %d", name, t->pid);
	if (open_other_ns(t, name, &fd, err) < 0)
		return -1;
	job.ns_fd = fd;
	return ns_run_apart(go_inside, &job, what, err);
}

/* ---- whose is it ---- */

bool ns_stat(int procfd, const char *name, struct stat *ret)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "ns/%s", name);
	return fstatat(procfd, path, ret, 0) == 0;
}

static bool is_in_tree(const struct tree *tree, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->pid == pid)
			return true;
	return false;
}

pid_t ns_save_outsider(struct ns_save *n, const char *name, const struct stat *ns)
{
	scoped_fd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	size_t nr = 0;

	if (proc < 0 || proc_list_numbers(proc, ".", &pids, &nr, NULL) < 0)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		char path[48];
		struct stat st;

		(void)snprintf(path, sizeof(path), "%d/ns/%s", pids[i], name);
		if (fstatat(proc, path, &st, 0) == 0 && st.st_dev == ns->st_dev &&
		    st.st_ino == ns->st_ino && !is_in_tree(n->tree, pids[i]))
			return pids[i];
	}
	return 0;
}

struct ns_entry *ns_save_find(struct ns_save *n, const struct stat *ns)
{
	for (struct ns_entry *e = n->entries; e; e = e->next)
		if (e->dev == ns->st_dev && e->ino == ns->st_ino)
			return e;
	return NULL;
}

/* `ip netns` keeps a file for each of its namespaces, which outlives the processes in it. */
static int find_named(struct ns_save *n, struct ns_entry *e)
{
	scoped_dir DIR *dir = opendir("/run/netns");
	struct dirent *entry;
	char path[300];
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "/run/netns/%.255s", entry->d_name);
		if (stat(path, &st) < 0 || st.st_dev != e->dev || st.st_ino != e->ino)
			continue;
		e->rec.path = arena_strdup(&n->arena, path);
		return e->rec.path ? 1 : -1;
	}
	return 0;
}

/* ---- what is in it ---- */

static int read_uts(void *arg, struct stasis_error *err)
{
	if (uname(arg) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "uname");
	return 0;
}

static int save_uts(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	struct utsname *u = mmap(NULL, sizeof(*u), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				 -1, 0);
	int result = -1;

	if (u == MAP_FAILED)
		return no_memory(err);
	if (ns_run_inside(e->first, "uts", read_uts, u, err) == 0) {
		u->nodename[sizeof(u->nodename) - 1] = u->domainname[sizeof(u->domainname) - 1] = '\0';
		e->rec.nodename = arena_strdup(&n->arena, u->nodename);
		e->rec.domainname = arena_strdup(&n->arena, u->domainname);
		result = e->rec.nodename && e->rec.domainname ? 0 : no_memory(err);
	}
	(void)munmap(u, sizeof(*u));
	return result;
}

static int save_content(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	switch (e->rec.type) {
	case STASIS__NAMESPACE_TYPE__NAMESPACE_MNT:
		return ns_save_mounts(n, e, err);
	case STASIS__NAMESPACE_TYPE__NAMESPACE_UTS:
		return save_uts(n, e, err);
	case STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP:
		return ns_save_cgroup_roots(n, e, err);
	default:
		return 0; /* nothing in it, or not known here: see ipc/ */
	}
}

/* Of a mount namespace that others are in too it is enough that paths lead where they lead here. */
static void check_left_alone(struct ns_save *n, struct ns_entry *e, const char *name, pid_t outsider)
{
	struct stat here, there;

	if (e->rec.type == STASIS__NAMESPACE_TYPE__NAMESPACE_CGROUP)
		return; /* only how cgroups are named */
	if (e->rec.type == STASIS__NAMESPACE_TYPE__NAMESPACE_MNT &&
	    (stat("/", &here) < 0 || fstatat(e->first->procfd, "root", &there, 0) < 0 ||
	     (here.st_dev == there.st_dev && here.st_ino == there.st_ino)))
		return;
	ns_save_report(n, e->first,
		       "is in a %s namespace that it shares with process %d, which is not of the tree; "
		       "checkpoint it from inside of that namespace, or its container as a whole",
		       name, outsider);
}

struct ns_entry *ns_save_new(struct ns_save *n, struct task *t, Stasis__NamespaceType type,
			       const struct stat *ns)
{
	struct ns_entry *e = arena_alloc(&n->arena, sizeof(*e));

	if (!e)
		return NULL;
	stasis__namespace__init(&e->rec);
	e->dev = ns->st_dev;
	e->ino = ns->st_ino;
	e->first = t;
	e->rec.type = type;
	e->next = n->entries;
	n->entries = e;
	return e;
}

static int add_entry(struct ns_save *n, struct task *t, size_t kind, const struct stat *ns,
		     struct ns_entry **ret, struct stasis_error *err)
{
	pid_t outsider = ns_save_outsider(n, kinds[kind].name, ns);
	struct ns_entry *e = ns_save_new(n, t, kinds[kind].type, ns);
	int named = 0;

	if (!e)
		return no_memory(err);
	*ret = e;
	if (ns_save_owner(n, e, kinds[kind].name, err) < 0)
		return -1;
	if (kinds[kind].type == STASIS__NAMESPACE_TYPE__NAMESPACE_NET)
		named = find_named(n, e);
	if (named < 0)
		return no_memory(err);
	e->is_left_alone = outsider && !named;
	if (e->is_left_alone)
		check_left_alone(n, e, kinds[kind].name, outsider);
	else
		e->rec.id = ++n->nr;
	if (n->nr > NS_MAX)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "the tree has more than %d namespaces",
				   NS_MAX);
	return e->is_left_alone || named ? 0 : save_content(n, e, err);
}

static uint32_t *field_of(Stasis__Membership *m, Stasis__NamespaceType type)
{
	switch (type) {
	case STASIS__NAMESPACE_TYPE__NAMESPACE_MNT:
		return &m->mnt;
	case STASIS__NAMESPACE_TYPE__NAMESPACE_NET:
		return &m->net;
	case STASIS__NAMESPACE_TYPE__NAMESPACE_UTS:
		return &m->uts;
	case STASIS__NAMESPACE_TYPE__NAMESPACE_IPC:
		return &m->ipc;
	default:
		return &m->cgroup;
	}
}

Stasis__Membership *ns_save_member_of(struct ns_save *n, const struct task *t)
{
	Stasis__Membership **m = &n->members[t->index];

	if (*m)
		return *m;
	*m = arena_alloc(&n->arena, sizeof(**m));
	if (*m)
		stasis__membership__init(*m);
	return *m;
}

/* Is a task in another namespace than we are? */
static bool is_elsewhere(const struct task *t, const char *link, const char *own)
{
	char its[PROC_NS_BYTES];

	return *own && proc_read_ns(t->procfd, link, its) && strcmp(own, its) != 0;
}

static int save_one(struct ns_save *n, struct task *t, size_t kind,
		    const struct own_namespaces *own, struct stasis_error *err)
{
	struct stat theirs;
	struct ns_entry *e;
	Stasis__Membership *m;

	if (!is_elsewhere(t, kinds[kind].link, own->kinds[kind]) ||
	    !ns_stat(t->procfd, kinds[kind].name, &theirs))
		return 0;
	e = ns_save_find(n, &theirs);
	if (!e && add_entry(n, t, kind, &theirs, &e, err) < 0)
		return -1;
	if (e->is_left_alone)
		return 0;
	m = ns_save_member_of(n, t);
	if (!m)
		return no_memory(err);
	*field_of(m, kinds[kind].type) = e->rec.id;
	return 0;
}

/* ---- all of it ---- */

static int read_own(struct own_namespaces *ret, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (self < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self'");
	for (size_t k = 0; k < NR_KINDS; k++)
		(void)proc_read_ns(self, kinds[k].link, ret->kinds[k]); /* a kernel without */
	(void)proc_read_ns(self, "ns/user", ret->user);
	return 0;
}

static int collect(struct ns_save *n, struct stasis_error *err)
{
	struct own_namespaces own;
	struct task *t;
	size_t i;

	if (read_own(&own, err) < 0)
		return -1;
	/* pids first: a /proc among the mounts shows those of one of the namespaces */
	tree_for_each(n->tree, i, t)
		if (ns_save_pids(n, t, err) < 0)
			return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
	tree_for_each(n->tree, i, t) {
		if (t->state == TASK_ZOMBIE)
			continue;
		if (is_elsewhere(t, "ns/user", own.user) && ns_save_user(n, t, err) < 0)
			return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
		for (size_t k = 0; k < NR_KINDS; k++)
			if (save_one(n, t, k, &own, err) < 0)
				return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
		if (n->members[i] && n->members[i]->mnt)
			t->rootfd = openat(t->procfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return ns_save_links(n, err);
}

static void ns_save_freep(struct ns_save **n)
{
	ns_save_free(*n);
}

int ns_save_collect(struct session *s, struct tree *tree, ns_obstacle_fn obstacle, void *arg,
		    struct ns_save **ret, struct stasis_error *err)
{
	scoped(ns_save_freep) struct ns_save *n = calloc(1, sizeof(*n));

	if (n)
		n->members = calloc(tree->nr_tasks + 1, sizeof(*n->members));
	if (!n || !n->members)
		return no_memory(err);
	n->s = s;
	n->tree = tree;
	n->obstacle = obstacle;
	n->obstacle_arg = arg;
	if (collect(n, err) < 0)
		return -1;
	*ret = ptr_take(&n);
	return 0;
}

Stasis__Membership *ns_save_member(struct ns_save *n, const struct task *t)
{
	return n->members[t->index];
}

/* ---- writing ---- */

static int put_archive(const struct ns_entry *e, size_t i, struct image_writer *w,
		       struct stasis_error *err)
{
	size_t len = (size_t)e->rec.mounts[i]->object_len;
	void *bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, e->archives[i], 0);
	int result;

	if (bytes == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "files of '%s'", e->rec.mounts[i]->point);
	result = image_put_bulk(w, e->rec.mounts[i]->object, 0, bytes, len, err);
	(void)munmap(bytes, len);
	return result;
}

/* A file of each process has the record; the bytes are in the first's. */
static int put_entry(struct ns_entry *e, uint64_t (*fresh)(void *arg), void *arg,
		     struct image_writer *w, struct stasis_error *err)
{
	bool is_first = !e->is_written;

	e->is_written = true;
	for (size_t i = 0; is_first && i < e->rec.n_mounts; i++)
		if (e->archives[i] >= 0)
			e->rec.mounts[i]->object = fresh(arg);
	if (image_put_record(w, IMAGE_TAG_NAMESPACE, &e->rec.base, err) < 0)
		return -1;
	for (size_t i = 0; is_first && i < e->rec.n_mounts; i++)
		if (e->archives[i] >= 0 && put_archive(e, i, w, err) < 0)
			return -1;
	return 0;
}

static uint32_t owner_of(const struct ns_save *n, uint32_t id)
{
	for (const struct ns_entry *e = n->entries; e; e = e->next)
		if (e->rec.id == id)
			return e->rec.owner;
	return 0;
}

/* It is in it, or in one that belongs to it. */
static bool is_needed(const struct ns_save *n, const Stasis__Membership *m, uint32_t id)
{
	const uint32_t own[] = {m->mnt,	   m->net, m->uts,		m->ipc,
				m->cgroup, m->pid, m->pid_for_children, m->user};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		for (uint32_t up = own[i]; up; up = owner_of(n, up))
			if (up == id)
				return true;
	return false;
}

int ns_save_write(struct ns_save *n, const struct task *t, uint64_t (*fresh)(void *arg), void *arg,
		  struct image_writer *w, struct stasis_error *err)
{
	const Stasis__Membership *m = n->members[t->index];

	for (struct ns_entry *e = n->entries; m && e; e = e->next)
		if (e->rec.id && is_needed(n, m, e->rec.id) && put_entry(e, fresh, arg, w, err) < 0)
			return -1;
	return 0;
}

void ns_save_free(struct ns_save *n)
{
	int saved = errno;

	if (!n)
		return;
	for (struct ns_entry *e = n->entries; e; e = e->next)
		for (size_t i = 0; e->archives && i < e->rec.n_mounts; i++)
			scoped_close_fd(&e->archives[i]);
	ns_archive_close(n->archive);
	arena_done(&n->arena);
	free(n->members);
	free(n);
	errno = saved;
}
