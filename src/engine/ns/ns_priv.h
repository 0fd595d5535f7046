/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder know of each other. */
#ifndef NS_NS_PRIV_H
#define NS_NS_PRIV_H

#include "lib/arena.h"
#include "lib/scoped.h"
#include "ns/ns.h"

enum { NS_MAX = 64, NS_MAX_MOUNTS = 4096, NS_MAX_HIERARCHIES = 64, NS_NR_KINDS = 7 };

/* ---- mountinfo.c ---- */

/* A line of /proc/PID/mountinfo, proc(5). */
struct mount_line {
	int id, parent;
	unsigned major, minor;
	char *root, *point, *attributes, *type, *source, *options;
	bool is_shared;
	bool is_covered; /* a later one stands at the same place */
};

struct mount_list {
	size_t nr;
	struct mount_line *v;
	char *text;
};

/* `name`: /proc/PID/mountinfo. */
int ns_mounts_read(int procfd, const char *name, struct mount_list *ret, struct stasis_error *err);
void ns_mounts_done(struct mount_list *l); /* for scoped() */
bool ns_is_below(const char *dir, const char *path); /* or the same */
int ns_join_path(char *buf, size_t size, const char *a, const char *b); /* -1: too long */

struct ns_archive; /* see archive.c */

/* ---- dump ---- */

/* One namespace of a tree that is saved. */
struct ns_entry {
	struct ns_entry *next;
	dev_t dev;
	ino_t ino;
	struct task *first; /* in it, in pre-order */
	Stasis__Namespace rec;
	bool is_left_alone; /* a process that is not the tree's is in it too */
	bool is_written;    /* the content of its file systems is in some image */
	int *archives;	    /* memfd of each mount's files, -1 for none */
};

struct ns_save {
	struct session *s;
	struct tree *tree;
	ns_obstacle_fn obstacle;
	void *obstacle_arg;
	struct arena arena;
	struct ns_entry *entries; /* newest first */
	uint32_t nr;
	Stasis__Membership **members; /* by task index, NULL for most */
	struct ns_archive *archive;   /* NULL: not needed so far */
};

void ns_save_report(struct ns_save *n, struct task *t, const char *fmt, ...)
	__attribute__((__format__(__printf__, 3, 4)));
/* Id of the pid namespace whose first process is shown as number 1 in that /proc; 0 for another. */
uint32_t ns_save_pids_of(struct ns_save *n, int proc_dirfd);

/* Run fn(arg) in a process of its own that has joined the namespace `name` ("mnt") of t. Descriptors and
 * shared memory are how it gives results; its error becomes ours. */
typedef int (*ns_inside_fn)(void *arg, struct stasis_error *err);
int ns_run_inside(const struct task *t, const char *name, ns_inside_fn fn, void *arg,
		  struct stasis_error *err);

/* mounts_save.c, network.c, ipc.c: what is in a namespace of that type. */
int ns_save_mounts(struct ns_save *n, struct ns_entry *e, struct stasis_error *err);
int ns_save_network(struct ns_save *n, struct ns_entry *e, struct stasis_error *err);
int ns_save_ipc(struct ns_save *n, struct ns_entry *e, struct stasis_error *err);

/* cgroups_save.c: the roots of a cgroup namespace. */
int ns_save_cgroup_roots(struct ns_save *n, struct ns_entry *e, struct stasis_error *err);

/* archive.c: the files below dirfd, one file system only, as a pax archive, and back. To be opened (once:
 * *lib is NULL before) where the machine's own files are seen. */
int ns_archive_open(struct ns_archive **lib, struct stasis_error *err);
void ns_archive_close(struct ns_archive *lib); /* NULL is fine */
int ns_archive_write(const struct ns_archive *lib, int dirfd, int to_fd, struct stasis_error *err);
int ns_archive_extract(const struct ns_archive *lib, int from_fd, int dirfd, struct stasis_error *err);

/* ---- restart ---- */

/* One namespace to make. */
struct ns_made {
	const Stasis__Namespace *rec;
	struct image *image; /* with the content */
	int fd;		     /* refers to it; -1 before, and for a pid namespace */
	size_t first;	     /* index of the first process in it */
	int *bind_fds;	     /* of the restarter's file systems, by mount; -1 for none */
	size_t late_proc;    /* who mounts what only a process inside of other namespaces can */
};

struct ns_load {
	struct session *s;
	const struct ns_proc *procs;
	size_t nr_procs;
	struct ns_made *made; /* by id, from 1 */
	uint32_t nr;
	int own[NS_NR_KINDS]; /* the restarter's, by type */
	int procfs;	      /* its /proc */
	int procfs_mount;     /* a copy of that mount, standing nowhere */
	size_t at;	      /* ns_load_switch() */
	struct ns_archive *archive; /* NULL: no files to put back */
	struct ns_cgroups *cgroups; /* NULL: not asked for */
};

int ns_clone_mount(const char *path); /* a private copy that stands nowhere; -1 with errno */
int ns_load_open_binds(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_load_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_load_late_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_check_mounts(const Stasis__Namespace *rec, struct stasis_error *err);
bool ns_mount_is_late(const Stasis__Namespace *rec, size_t i);
int ns_load_network(const Stasis__Namespace *rec, struct stasis_error *err);

#endif
