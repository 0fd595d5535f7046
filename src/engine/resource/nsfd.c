/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of namespaces: of one that a process of the tree is in, opened again by each process when
 * all are there, or of one that has a name in the file system (ip-netns(8)).
 */
#include "resource/resource_priv.h"

#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

static const char *const names[] = {
	"mnt",	"pid",	  "pid_for_children", "net",  "ipc",
	"uts",	"user",	  "cgroup",	      "time", "time_for_children",
};
enum { NR_NAMES = sizeof(names) / sizeof(names[0]) };

static bool namespace_match(const struct fd_probe *p)
{
	return p->fs_magic == NSFS_MAGIC;
}

/* By which name of /proc/PID/ns does that process have it? NULL: by none that the holder can see. */
static const char *name_in(const struct fd_probe *p, const struct task *t)
{
	pid_t number = task_number_for(p->task, t);
	char path[64];
	struct stat st;

	for (size_t i = 0; number && t->state != TASK_ZOMBIE && i < NR_NAMES; i++) {
		(void)snprintf(path, sizeof(path), "ns/%s", names[i]);
		if (fstatat(t->procfd, path, &st, 0) < 0 || st.st_ino != p->st.st_ino ||
		    st.st_dev != p->st.st_dev)
			continue;
		(void)snprintf(path, sizeof(path), "root/proc/%d/ns/%s", number, names[i]);
		if (fstatat(p->task->procfd, path, &st, 0) == 0 && st.st_ino == p->st.st_ino)
			return names[i];
	}
	return NULL;
}

static const struct task *find_member(const struct fd_probe *p, const char **ret_name)
{
	struct task *t;
	size_t i;

	*ret_name = name_in(p, p->task);
	if (*ret_name)
		return p->task;
	tree_for_each(p->task->tree, i, t) {
		*ret_name = name_in(p, t);
		if (*ret_name)
			return t;
	}
	return NULL;
}

static int namespace_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			  Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__NamespaceFd *r = fd_save_alloc(c, sizeof(*r));
	const struct task *t;
	const char *name;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a namespace");
	stasis__namespace_fd__init(r);
	t = find_member(p, &name);
	if (t) {
		r->pid = t->vpid;
		r->number = task_number_for(p->task, t);
		r->name = fd_save_strdup(c, name);
		if (!r->name)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for a namespace");
	} else if (p->link[0] != '/') {
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "namespace '%.80s', which no process of the tree is in; close it "
				   "before the checkpoint",
				   p->link);
	} else if (file_id_save(c, p, false, &r->file, err) < 0) {
		return -1;
	}
	ret->kind_case = STASIS__DESCRIPTION__KIND_NAMESPACE_FD;
	ret->namespace_fd = r;
	return 0;
}

/* ---- restart */

static bool is_name(const char *name)
{
	size_t i = 0;

	while (i < NR_NAMES && strcmp(names[i], name) != 0)
		i++;
	return i < NR_NAMES;
}

static int verify_path(const Stasis__FileId *f, struct stasis_error *err)
{
	struct statfs sf;

	if (file_id_check(f, err) < 0)
		return -1;
	if (statfs(f->path, &sf) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", f->path);
	if (sf.f_type != NSFS_MAGIC)
		return stasis_fail(err, STASIS_E_GONE, "'%.150s' is no namespace any more", f->path);
	return 0;
}

static int namespace_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			    struct stasis_error *err)
{
	const Stasis__NamespaceFd *r = d->namespace_fd;

	(void)s;
	if (r->file)
		return verify_path(r->file, err);
	if (r->pid < 1 || r->number < 1 || !is_name(r->name))
		return stasis_fail(err, STASIS_E_CORRUPT, "namespace '%.40s' of process %d", r->name,
				   r->pid);
	if (!load_find_proc(c, r->pid))
		return stasis_fail(err, STASIS_E_GONE,
				   "namespace '%s' of process %d, which is not restarted", r->name,
				   r->pid);
	return 0;
}

/* Until the processes are there: a namespace of ours. */
static int namespace_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__FileId *f = d->namespace_fd->file;

	(void)s;
	(void)c;
	return file_reopen(f ? f->path : "/proc/self/ns/uts", d, err);
}

static int open_it(const Stasis__Description *d, struct stasis_error *err)
{
	char path[80];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", d->namespace_fd->number,
		       d->namespace_fd->name);
	return file_reopen(path, d, err);
}

static int namespace_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid,
			    int fd, struct stasis_error *err)
{
	(void)s;
	(void)pid;
	return d->namespace_fd->file ? 0 : load_attach(c->current, fd, open_it, err);
}

static int namespace_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			    struct stasis_error *err)
{
	(void)s;
	return d->namespace_fd->file ? 0 : load_take_attached(c, err);
}

const struct resource_kind kind_namespace = {
	.name = "namespace",
	.tag = STASIS__DESCRIPTION__KIND_NAMESPACE_FD,
	.match = namespace_match,
	.save = namespace_save,
	.verify = namespace_verify,
	.load = namespace_load,
	.attach = namespace_attach,
	.finish = namespace_finish,
};
