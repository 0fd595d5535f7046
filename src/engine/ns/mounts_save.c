/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mounts of a namespace. Each is either a part of a file system that the caller can reach by a path of
 * his own, and will be bound from there, or one that lives with the namespace and is made anew:
 * proc, sysfs, mqueue, devpts, overlay, and tmpfs with its files.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Those that others stand on come first, and those that others hide: there is no way to their places later. Of the
 * rest the order stays, which need not be that in which they were mounted. */
static int sort_mounts(struct mount_list *l, struct stasis_error *err)
{
	for (size_t done = 0; done < l->nr; done++) {
		size_t k = done;

		for (; k < l->nr; k++) {
			bool waits = false;

			for (size_t i = done; i < l->nr && !waits; i++)
				waits = i != k && (l->v[i].id == l->v[k].parent ||
						   ns_mount_covers(&l->v[k], &l->v[i]));
			if (!waits)
				break;
		}
		if (k == l->nr)
			return stasis_fail(err, STASIS_E_INTERNAL, "mounts that stand on each other");
		if (k != done) {
			struct mount_line next = l->v[k];

			memmove(&l->v[done + 1], &l->v[done], (k - done) * sizeof(next));
			l->v[done] = next;
		}
	}
	return 0;
}

/* ---- which of ours is it a part of ---- */

static bool leads_to(const struct task *t, const struct mount_line *m, const char *path)
{
	char inside[PATH_MAX + 8];
	struct stat here, there;

	if (lstat(path, &here) < 0)
		return false;
	if (m->is_covered)
		return here.st_dev == makedev(m->major, m->minor);
	(void)snprintf(inside, sizeof(inside), "root%s", m->point);
	return fstatat(t->procfd, inside, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/* A path here that leads to the root of m; on success in buf, which is empty otherwise. */
static void find_here(const struct task *t, const struct mount_line *m, const struct mount_list *ours,
		      char *buf, size_t size)
{
	for (size_t i = 0; i < ours->nr; i++) {
		const struct mount_line *o = &ours->v[i];
		const char *rest;

		if (o->major != m->major || o->minor != m->minor || o->is_covered ||
		    !ns_is_below(o->root, m->root))
			continue;
		rest = strcmp(o->root, "/") ? m->root + strlen(o->root) : m->root;
		if (ns_join_path(buf, size, o->point, rest) == 0) {
			if (!*buf)
				(void)snprintf(buf, size, "/");
			if (leads_to(t, m, buf))
				return;
		}
	}
	*buf = '\0';
}

/* ---- one that is made anew ---- */

static bool can_make(const char *type)
{
	static const char *const types[] = {"proc",  "sysfs",	"mqueue", "devpts",
					    "tmpfs", "overlay", NULL};

	for (size_t i = 0; types[i]; i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

static uint64_t attributes_of(const char *text)
{
	static const struct {
		const char *word;
		uint64_t bit;
	} words[] = {
		{"ro", MOUNT_ATTR_RDONLY},	   {"nosuid", MOUNT_ATTR_NOSUID},
		{"nodev", MOUNT_ATTR_NODEV},	   {"noexec", MOUNT_ATTR_NOEXEC},
		{"noatime", MOUNT_ATTR_NOATIME},   {"nodiratime", MOUNT_ATTR_NODIRATIME},
		{"nosymfollow", 0x00200000},
	};
	uint64_t bits = 0;

	for (const char *p = text; *p; p += strcspn(p, ","), p += *p == ',')
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strcspn(p, ",") == strlen(words[i].word) &&
			    !strncmp(p, words[i].word, strlen(words[i].word)))
				bits |= words[i].bit;
	return bits;
}

struct archive_job {
	const struct ns_archive *lib;
	const char *point;
	int to_fd;
};

/* What stands on the tmpfs is not seen through a copy of its mount alone. */
static int archive_inside(void *arg, struct stasis_error *err)
{
	const struct archive_job *job = arg;
	scoped_fd int tree = (int)syscall(SYS_open_tree, AT_FDCWD, job->point,
					  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "look at the mount '%s'", job->point);
	return ns_archive_write(job->lib, tree, job->to_fd, err);
}

static int archive_tmpfs(struct ns_save *n, struct ns_entry *e, size_t i, struct stasis_error *err)
{
	scoped_fd int fd = memfd_create("stasis-tmpfs", MFD_CLOEXEC);
	struct archive_job job = {.point = e->rec.mounts[i]->point, .to_fd = fd};
	struct stat st;

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "memory for the files of a tmpfs");
	if (ns_archive_open(&n->archive, err) < 0)
		return -1;
	job.lib = n->archive;
	if (ns_run_inside(e->first, "mnt", archive_inside, &job, err) < 0 || fstat(fd, &st) < 0)
		return stasis_fail_prefix(err, "tmpfs '%s'", job.point);
	e->rec.mounts[i]->object_len = (uint64_t)st.st_size;
	e->archives[i] = fd_take(&fd);
	return 0;
}

static uint32_t pids_shown(struct ns_save *n, const struct task *t, const struct mount_line *m)
{
	char inside[PATH_MAX + 8];
	scoped_fd int fd = -1;

	(void)snprintf(inside, sizeof(inside), "root%s", m->point);
	fd = openat(t->procfd, inside, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || m->is_covered ? 0 : ns_save_pids_of(n, fd);
}

/* ---- records ---- */

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for mounts");
}

static uint32_t index_of(const struct mount_list *l, int id)
{
	for (size_t i = 0; i < l->nr; i++)
		if (l->v[i].id == id)
			return (uint32_t)i + 1;
	return 0;
}

/* Mounts of one file system, which is made with the first of them. */
static uint32_t file_system_of(const struct mount_list *l, size_t i)
{
	size_t k = 0;

	while (l->v[k].major != l->v[i].major || l->v[k].minor != l->v[i].minor)
		k++;
	return (uint32_t)k + 1;
}

/* Its files are in the archive of an earlier mount of the same file system. */
static bool is_part_of_earlier(const struct mount_list *l, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (l->v[k].major == l->v[i].major && l->v[k].minor == l->v[i].minor &&
		    !l->v[k].is_covered && ns_is_below(l->v[k].root, l->v[i].root))
			return true;
	return false;
}

static int save_new(struct ns_save *n, struct ns_entry *e, const struct mount_list *l, size_t i,
		    struct stasis_error *err)
{
	const struct mount_line *m = &l->v[i];
	Stasis__Mount *r = e->rec.mounts[i];

	if (!can_make(m->type)) {
		ns_save_report(n, e->first,
			       "has a mount namespace with '%.80s' (%.20s), which cannot be reached from "
			       "here; mount it here as well",
			       m->point, m->type);
		return 0;
	}
	r->source = arena_strdup(&n->arena, m->source);
	r->options = arena_strdup(&n->arena, m->options);
	r->subtree = arena_strdup(&n->arena, m->root);
	if (!r->source || !r->options || !r->subtree)
		return no_memory(err);
	r->file_system = file_system_of(l, i);
	if (!strcmp(m->type, "proc"))
		r->pid_namespace = pids_shown(n, e->first, m);
	if (strcmp(m->type, "tmpfs") != 0 || m->is_covered || is_part_of_earlier(l, i))
		return 0;
	return archive_tmpfs(n, e, i, err);
}

static int save_mount(struct ns_save *n, struct ns_entry *e, const struct mount_list *l, size_t i,
		      const struct mount_list *ours, struct stasis_error *err)
{
	const struct mount_line *m = &l->v[i];
	Stasis__Mount *r = e->rec.mounts[i];
	char here[PATH_MAX];

	stasis__mount__init(r);
	r->parent = index_of(l, m->parent);
	r->point = arena_strdup(&n->arena, m->point);
	r->type = arena_strdup(&n->arena, m->type);
	r->attributes = attributes_of(m->attributes);
	r->is_shared = m->is_shared;
	if (!r->point || !r->type)
		return no_memory(err);
	find_here(e->first, m, ours, here, sizeof(here));
	if (!*here)
		return save_new(n, e, l, i, err);
	r->bind = arena_strdup(&n->arena, here);
	return r->bind ? 0 : no_memory(err);
}

static int make_room(struct ns_save *n, struct ns_entry *e, size_t nr, struct stasis_error *err)
{
	Stasis__Mount *all = arena_alloc(&n->arena, (nr + 1) * sizeof(*all));

	e->rec.mounts = arena_alloc(&n->arena, (nr + 1) * sizeof(*e->rec.mounts));
	e->archives = arena_alloc(&n->arena, (nr + 1) * sizeof(*e->archives));
	if (!all || !e->rec.mounts || !e->archives)
		return no_memory(err);
	for (size_t i = 0; i < nr; i++) {
		e->rec.mounts[i] = &all[i];
		e->archives[i] = -1;
	}
	e->rec.n_mounts = nr;
	return 0;
}

/* A process with another root than the namespace's would show other places. */
static bool has_root_of_namespace(const struct task *t)
{
	char link[8];
	ssize_t len = readlinkat(t->procfd, "root", link, sizeof(link));

	return len == 1 && link[0] == '/';
}

int ns_save_mounts(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	scoped(ns_mounts_done) struct mount_list l = {.nr = 0}, ours = {.nr = 0};

	if (!has_root_of_namespace(e->first)) {
		ns_save_report(n, e->first, "is in a mount namespace of its own and has called chroot, "
					    "which is not supported together; use pivot_root");
		return 0;
	}
	if (ns_mounts_read(e->first->procfd, "mountinfo", &l, err) < 0 ||
	    ns_mounts_read(AT_FDCWD, "/proc/self/mountinfo", &ours, err) < 0 ||
	    sort_mounts(&l, err) < 0 || make_room(n, e, l.nr, err) < 0)
		return -1;
	for (size_t i = 0; i < l.nr; i++)
		if (save_mount(n, e, &l, i, &ours, err) < 0)
			return -1;
	return 0;
}
