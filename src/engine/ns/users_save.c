/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * User namespaces of a tree: which belong to it, what ids they map, and which namespaces belong to them. One
 * need have no process: bubblewrap makes a second one in its first, to have another map.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"
#include "lib/proc.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A map has 340 lines at most, user_namespaces(7). */
enum { MAX_RANGES = 340, MAP_BYTES = 16384 };

/* In shared memory: texts of /proc/PID/uid_map and the like. */
struct maps {
	char uid[MAP_BYTES], gid[MAP_BYTES], setgroups[16];
};

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
}

bool ns_is_own_user(int ns_fd)
{
	struct stat ours, theirs;

	return stat("/proc/self/ns/user", &ours) == 0 && fstat(ns_fd, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* ---- maps ---- */

static int read_text(pid_t pid, const char *name, char *buf, size_t size, struct stasis_error *err)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	if (io_read_file_at(AT_FDCWD, path, size - 1, &text, &len, err) < 0)
		return -1;
	memcpy(buf, text, len + 1);
	return 0;
}

static int read_maps(pid_t pid, struct maps *m, struct stasis_error *err)
{
	if (read_text(pid, "uid_map", m->uid, sizeof(m->uid), err) < 0 ||
	    read_text(pid, "gid_map", m->gid, sizeof(m->gid), err) < 0)
		return -1;
	return read_text(pid, "setgroups", m->setgroups, sizeof(m->setgroups), err);
}

/* Whoever reads from inside sees the parent's ids on the right; who reads from outside, his own. */
static _Noreturn void stay_inside(int ns_fd, struct maps *m, int to, int from)
{
	char byte = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	byte = setns(ns_fd, CLONE_NEWUSER) == 0 && read_maps(getpid(), m, NULL) == 0;
	(void)!write(to, &byte, 1); /* the other end notices either way */
	(void)!read(from, &byte, 1);
	_exit(0);
}

static int look_inside(int ns_fd, bool from_outside, struct maps *m, struct stasis_error *err)
{
	int report[2], hold[2], result = -1;
	char byte = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	if (pipe2(hold, O_CLOEXEC) < 0) {
		(void)close(report[0]);
		(void)close(report[1]);
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	}
	pid = fork();
	if (pid == 0) {
		(void)close(hold[1]);
		stay_inside(ns_fd, m, report[1], hold[0]);
	}
	(void)close(hold[0]);
	(void)close(report[1]);
	if (pid < 0)
		(void)stasis_fail_errno(err, STASIS_E_IO, "fork");
	else if (read(report[0], &byte, 1) != 1 || !byte)
		(void)stasis_fail(err, STASIS_E_DENIED, "its user namespace cannot be joined");
	else
		result = from_outside ? read_maps(pid, m, err) : 0;
	(void)close(report[0]);
	(void)close(hold[1]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return result;
}

static int parse_map(struct arena *a, const char *text, Stasis__IdRange ***ret, size_t *ret_nr,
		     struct stasis_error *err)
{
	Stasis__IdRange *all = arena_alloc(a, MAX_RANGES * sizeof(*all));
	size_t nr = 0;

	*ret = arena_alloc(a, MAX_RANGES * sizeof(**ret));
	if (!all || !*ret)
		return no_memory(err);
	for (const char *p = text; p && *p && nr < MAX_RANGES; p = strchr(p, '\n'), p += p != NULL) {
		Stasis__IdRange *r = &all[nr];

		stasis__id_range__init(r);
		if (sscanf(p, "%u %u %u", &r->inside, &r->outside, &r->count) != 3)
			break;
		(*ret)[nr++] = r;
	}
	*ret_nr = nr;
	return 0;
}

static int save_maps(struct ns_save *n, struct ns_entry *e, int ns_fd, struct stasis_error *err)
{
	struct maps *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uid_t owner = 0;
	int result = -1;

	if (m == MAP_FAILED)
		return no_memory(err);
	if (look_inside(ns_fd, !e->rec.owner, m, err) == 0 &&
	    parse_map(&n->arena, m->uid, &e->rec.uid_map, &e->rec.n_uid_map, err) == 0)
		result = parse_map(&n->arena, m->gid, &e->rec.gid_map, &e->rec.n_gid_map, err);
	e->rec.denies_setgroups = !strncmp(m->setgroups, "deny", 4);
	(void)munmap(m, sizeof(*m));
	if (ioctl(ns_fd, NS_GET_OWNER_UID, &owner) == 0)
		e->rec.owner_uid = owner;
	return result;
}

/* ---- whose is what ---- */

/* The parent is made first; what is above our own, or shared with others, is the restarter's. */
static int save_user(struct ns_save *n, struct task *t, int ns_fd, uint32_t *ret, struct stasis_error *err)
{
	scoped_fd int parent = -1;
	struct ns_entry *e;
	uint32_t owner = 0;
	struct stat st;

	*ret = 0;
	if (fstat(ns_fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "look at a user namespace");
	if (ns_is_own_user(ns_fd))
		return 0;
	e = ns_save_find(n, &st);
	if (e) {
		*ret = e->rec.id;
		return 0;
	}
	parent = ioctl(ns_fd, NS_GET_PARENT);
	if (parent >= 0 && save_user(n, t, parent, &owner, err) < 0)
		return -1;
	e = ns_save_new(n, t, STASIS__NAMESPACE_TYPE__NAMESPACE_USER, &st);
	if (!e)
		return no_memory(err);
	e->is_left_alone = ns_save_outsider(n, "user", &st) != 0;
	if (e->is_left_alone)
		return 0;
	e->rec.owner = owner;
	*ret = e->rec.id = ++n->nr;
	return save_maps(n, e, ns_fd, err);
}

int ns_save_owner(struct ns_save *n, struct ns_entry *e, const char *link, struct stasis_error *err)
{
	scoped_fd int fd = -1, owner = -1;
	char path[32];

	(void)snprintf(path, sizeof(path), "ns/%s", link);
	fd = openat(e->first->procfd, path, O_RDONLY | O_CLOEXEC);
	owner = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);
	/* EPERM: it belongs to one above ours */
	return owner < 0 ? 0 : save_user(n, e->first, owner, &e->rec.owner, err);
}

static const Stasis__Namespace *find_record(void *arg, uint32_t id)
{
	const struct ns_save *n = arg;

	for (const struct ns_entry *e = n->entries; e; e = e->next)
		if (e->rec.id == id)
			return &e->rec;
	return NULL;
}

/* Ids that the namespace has no name for could be had only by not changing them. */
static int check_ids(struct ns_save *n, struct task *t, uint32_t ns, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	const struct ns_users users = {.find = find_record, .arg = n};

	if (proc_read_status(t->procfd, "status", &st, err) < 0)
		return -1;
	for (int i = 0; i < 4; i++) {
		bool is_bad_uid = ns_map_id(&users, ns, false, st.uid[i]) == NS_NO_ID;

		if (!is_bad_uid && ns_map_id(&users, ns, true, st.gid[i]) != NS_NO_ID)
			continue;
		ns_save_report(n, t, "has the %s id %u, which its user namespace does not map; write "
				     "uid_map and gid_map (unshare -r)",
			       is_bad_uid ? "user" : "group", is_bad_uid ? st.uid[i] : st.gid[i]);
		return 0;
	}
	return 0;
}

int ns_save_user(struct ns_save *n, struct task *t, struct stasis_error *err)
{
	scoped_fd int fd = openat(t->procfd, "ns/user", O_RDONLY | O_CLOEXEC);
	uint32_t id;
	Stasis__Membership *m;

	if (fd < 0)
		return 0; /* a kernel without them */
	if (save_user(n, t, fd, &id, err) < 0)
		return -1;
	if (!id)
		return 0;
	m = ns_save_member_of(n, t);
	if (!m)
		return no_memory(err);
	m->user = id;
	return check_ids(n, t, id, err);
}
