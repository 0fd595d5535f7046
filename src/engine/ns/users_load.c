/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * User namespaces made again, and who may choose which pids. A process can choose its children's ids in the
 * pid namespaces that belong to the user namespace it is in, or to one below; so whoever has been born in one
 * of the tree's own depends on a helper outside (struct ns_pids) for the number in the outermost.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* user_namespaces(7): at most 340 lines of up to three numbers. */
enum { MAX_RANGES = 340, LINE_BYTES = 36 };

static const Stasis__Namespace *find_record(void *arg, uint32_t id)
{
	const struct ns_load *n = arg;

	return id && id <= n->nr ? n->made[id].rec : NULL;
}

static struct ns_users users_of(struct ns_load *n)
{
	return (struct ns_users){.find = find_record, .arg = n};
}

/* ---- plan ---- */

static int check_map(Stasis__IdRange *const *map, size_t nr, struct stasis_error *err)
{
	bool is_bad = nr > MAX_RANGES;

	for (size_t i = 0; i < nr && !is_bad; i++)
		is_bad = !map[i]->count || map[i]->count > UINT32_MAX - map[i]->inside ||
			 map[i]->count > UINT32_MAX - map[i]->outside;
	return is_bad ? stasis_fail(err, STASIS_E_CORRUPT, "map of a user namespace") : 0;
}

int ns_check_owner(struct ns_load *n, const Stasis__Namespace *rec, struct stasis_error *err)
{
	bool is_user = rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_USER;
	const Stasis__Namespace *owner = find_record(n, rec->owner), *above = find_record(n, rec->parent_pids);

	if ((rec->owner && (!owner || rec->owner >= rec->id ||
			    owner->type != STASIS__NAMESPACE_TYPE__NAMESPACE_USER)) ||
	    (rec->parent_pids && (!above || rec->parent_pids >= rec->id ||
				  above->type != STASIS__NAMESPACE_TYPE__NAMESPACE_PID)))
		return stasis_fail(err, STASIS_E_CORRUPT, "namespace %u belongs to namespace %u", rec->id,
				   rec->owner);
	if (!is_user)
		return 0;
	return check_map(rec->uid_map, rec->n_uid_map, err) < 0 ||
			       check_map(rec->gid_map, rec->n_gid_map, err) < 0
		       ? -1
		       : 0;
}

/* Somebody can only be sent further down. */
int ns_check_user(struct ns_load *n, uint32_t from, uint32_t to, struct stasis_error *err)
{
	const struct ns_users u = users_of(n);

	if (ns_is_user_below(&u, to, from))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "its user namespace is neither its parent's nor below that, so that it cannot be "
			   "put there");
}

/* ---- make ---- */

static int write_map(int procfd, pid_t pid, const char *name, Stasis__IdRange *const *map, size_t nr,
		     struct stasis_error *err)
{
	scoped_free char *text = malloc(nr * LINE_BYTES + 1);
	scoped_fd int fd = -1;
	char path[64];
	size_t len = 0;

	if (!text)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a user namespace");
	for (size_t i = 0; i < nr; i++)
		len += (size_t)snprintf(text + len, LINE_BYTES, "%u %u %u\n", map[i]->inside,
					map[i]->outside, map[i]->count);
	(void)snprintf(path, sizeof(path), "%d/%s", pid, name);
	fd = openat(procfd, path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && (!nr || write(fd, text, len) == (ssize_t)len))
		return 0;
	if (errno == EPERM)
		return stasis_fail_errno(err, STASIS_E_DENIED,
					 "%s of a user namespace: it maps ids that are not the caller's; "
					 "restart as root", name);
	return stasis_fail_errno(err, STASIS_E_IO, "%s of a user namespace", name);
}

/* By somebody in the parent, before anybody else is in it. Where the parent denies setgroups(2), it does. */
static int write_maps(struct ns_load *n, const Stasis__Namespace *rec, pid_t pid, struct stasis_error *err)
{
	scoped_fd int fd = -1;
	char path[64];

	(void)snprintf(path, sizeof(path), "%d/setgroups", pid);
	fd = openat(n->procfs, path, O_WRONLY | O_CLOEXEC);
	if (rec->denies_setgroups && (fd < 0 || write(fd, "deny", 4) != 4))
		return stasis_fail_errno(err, STASIS_E_IO, "setgroups of a user namespace");
	if (write_map(n->procfs, pid, "uid_map", rec->uid_map, rec->n_uid_map, err) < 0)
		return -1;
	return write_map(n->procfs, pid, "gid_map", rec->gid_map, rec->n_gid_map, err);
}

static _Noreturn void writer_main(struct ns_load *n, const Stasis__Namespace *rec, pid_t pid, int from, int to)
{
	struct stasis_error err = {.text = ""};
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(from, &byte, 1) == 1)
		(void)write_maps(n, rec, pid, &err);
	(void)!write(to, &err, sizeof(err)); /* nobody may be there any more */
	_exit(0);
}

/* The owner is whoever makes it: outside of it he may do in it what he likes. */
static void become_owner(const Stasis__Namespace *rec)
{
	if (!rec->owner && rec->owner_uid != geteuid())
		(void)!setresuid(NS_NO_ID, rec->owner_uid, NS_NO_ID); /* without privilege it is ours */
}

/* The calling process goes into a new one; a helper stays outside and writes the maps. */
int ns_make_user(struct ns_load *n, const Stasis__Namespace *rec, struct stasis_error *err)
{
	struct stasis_error result = {.text = ""};
	int go[2], back[2];
	pid_t self = getpid(), pid;

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe"); /* the caller ends */
	pid = fork();
	if (pid == 0) {
		(void)close(go[1]);
		writer_main(n, rec, self, go[0], back[1]);
	}
	(void)close(back[1]);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	become_owner(rec);
	if (unshare(CLONE_NEWUSER) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "make a user namespace");
	/* else its files in /proc are nobody's */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (write(go[1], "", 1) != 1 || read(back[0], &result, sizeof(result)) != (ssize_t)sizeof(result))
		return stasis_fail(err, STASIS_E_INTERNAL, "the helper for a user namespace died");
	(void)waitpid(pid, NULL, 0);
	if (!result.text[0])
		return 0;
	if (err)
		*err = result;
	return -1;
}

/* ---- go in ---- */

int ns_load_join_user(struct ns_load *n, uint32_t id, struct stasis_error *err)
{
	if (id == n->user)
		return 0;
	if (setns(n->made[id].fd, CLONE_NEWUSER) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "join a user namespace");
	n->user = id;
	/* which are lost with a change of credentials */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "prctl");
	return 0;
}

int ns_load_enter_user(struct ns_load *n, size_t index, struct stasis_error *err)
{
	return ns_load_join_user(n, n->procs[index].in ? n->procs[index].in->user : 0, err);
}

bool ns_load_has_user(const struct ns_load *n, size_t index)
{
	return n && n->procs[index].in && n->procs[index].in->user;
}

bool ns_load_leaves_ours(const struct ns_load *n, size_t index)
{
	return !n->user && ns_load_has_user(n, index);
}

uint32_t ns_load_id(struct ns_load *n, size_t index, bool is_gid, uint32_t id)
{
	const struct ns_users u = users_of(n);

	return ns_map_id(&u, n->procs[index].in->user, is_gid, id);
}

bool ns_load_may_set_groups(struct ns_load *n, size_t index, const uint32_t *groups, size_t nr)
{
	for (uint32_t id = n->procs[index].in->user; id; id = n->made[id].rec->owner)
		if (n->made[id].rec->denies_setgroups)
			return false;
	for (size_t i = 0; i < nr; i++)
		if (ns_load_id(n, index, true, groups[i]) == NS_NO_ID)
			return false;
	return true;
}

/* ---- pids ---- */

uint32_t ns_owner_of_pids(const struct ns_load *n, uint32_t id)
{
	return id ? n->made[id].rec->owner : 0;
}

size_t ns_free_levels(struct ns_load *n, uint32_t pids, size_t nr_levels, uint32_t user)
{
	const struct ns_users u = users_of(n);
	size_t nr = 0;

	if (!user)
		return nr_levels;
	while (nr < nr_levels && pids && ns_is_user_below(&u, ns_owner_of_pids(n, pids), user)) {
		pids = n->made[pids].rec->parent_pids;
		nr++;
	}
	return nr;
}

size_t ns_load_free_levels(struct ns_load *n, size_t index)
{
	const Stasis__Membership *in = n->procs[index].in;

	return in ? ns_free_levels(n, in->pid, in->n_inner_pids + 1, in->user) : 1;
}

int ns_load_check_threads(struct ns_load *n, size_t index, struct stasis_error *err)
{
	const Stasis__Membership *in = n->procs[index].in;

	if (!in || ns_load_free_levels(n, index) >= in->n_inner_pids)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "%s(%d) has threads in a user namespace below the one that its pid namespace "
			   "belongs to, which is not supported", n->procs[index].comm, n->procs[index].pid);
}
