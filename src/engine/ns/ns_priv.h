/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder know of each other. */
#ifndef NS_NS_PRIV_H
#define NS_NS_PRIV_H

#include "lib/arena.h"
#include "lib/scoped.h"
#include "ns/ns.h"

#include <sys/stat.h>

enum { NS_MAX_MOUNTS = 4096, NS_MAX_HIERARCHIES = 64, NS_NR_KINDS = 8 };

#define NS_NO_ID UINT32_MAX

/* ---- users_map.c ---- */

struct ns_users {
	const Stasis__Namespace *(*find)(void *arg, uint32_t id); /* a record that was checked */
	void *arg;
};

/* An id of ours in that user namespace; NS_NO_ID when it has none. */
uint32_t ns_map_id(const struct ns_users *u, uint32_t ns, bool is_gid, uint32_t id);
bool ns_is_user_below(const struct ns_users *u, uint32_t ns, uint32_t above); /* or the same */

/* ---- mountinfo.c ---- */

/* A line of /proc/PID/mountinfo, proc(5). */
struct mount_line {
	int id, parent;
	unsigned major, minor;
	char *root, *point, *attributes, *type, *source, *options;
	bool is_shared;
	bool is_covered; /* a later one stands at the same place, or above: no path leads there */
};

struct mount_list {
	size_t nr;
	struct mount_line *v;
	char *text;
};

/* `name`: /proc/PID/mountinfo. */
int ns_mounts_read(int procfd, const char *name, struct mount_list *ret, struct stasis_error *err);
/* Does the other stand right on m, or was it mounted above m on what both stand on? */
bool ns_mount_covers(const struct mount_line *other, const struct mount_line *m);
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

bool ns_stat(int procfd, const char *name, struct stat *ret); /* a link of /proc/PID/ns */
struct ns_entry *ns_save_find(struct ns_save *n, const struct stat *ns);
struct ns_entry *ns_save_new(struct ns_save *n, struct task *t, Stasis__NamespaceType type,
			     const struct stat *ns);
/* A process outside of the tree that is in this namespace, 0 for none. */
pid_t ns_save_outsider(struct ns_save *n, const char *name, const struct stat *ns);
Stasis__Membership *ns_save_member_of(struct ns_save *n, const struct task *t); /* made if need be */

/* pids_save.c: ids of t in the pid namespaces below the tree's, and these. */
int ns_save_pids(struct ns_save *n, struct task *t, struct stasis_error *err);

/* users_save.c: the user namespace a task is in; the one that the namespace e, the link of e->first,
 * belongs to. */
int ns_save_user(struct ns_save *n, struct task *t, struct stasis_error *err);
int ns_save_owner(struct ns_save *n, struct ns_entry *e, const char *link, struct stasis_error *err);
bool ns_is_own_user(int ns_fd);

/* In a user namespace that was just joined: be its root, so that files that are made have an owner. */
void ns_become_root(void);

/* mounts_save.c: what is in a namespace of that type. */
int ns_save_mounts(struct ns_save *n, struct ns_entry *e, struct stasis_error *err);

/* links_save.c: interfaces, addresses and routes of all network namespaces, when all are known. */
int ns_save_links(struct ns_save *n, struct stasis_error *err);

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
	int proc_fd, sys_fd; /* copies of the restarter's /proc and /sys */
	bool *is_whole;	     /* with all that is mounted on it, which then comes along */
	bool *comes_along;
	size_t late_proc;    /* who mounts what only a process inside of other namespaces can */
};

struct ns_load {
	struct session *s;
	const struct ns_proc *procs;
	size_t nr_procs;
	struct ns_made *made; /* by id, from 1 */
	uint32_t nr;
	Stasis__Namespace moved_ipc; /* see NS_MOVED_IPC */
	int own[NS_NR_KINDS]; /* the restarter's, by type */
	int procfs;	      /* its /proc */
	size_t at, at_ipc;    /* ns_load_switch(), ns_load_switch_ipc() */
	struct ns_archive *archive; /* NULL: no files to put back */
	bool keeps_net; /* the restarter's network cannot be joined again: it belongs to somebody above */
	struct ns_cgroups *cgroups; /* NULL: not asked for */
	/* of the calling process, which copies it at its birth: whose namespaces and which user namespace */
	size_t here;
	uint32_t user;
	const struct ns_pids *pids;
};

struct ns_made *ns_made_of(struct ns_load *n, uint32_t id); /* NULL: the restarter's */
const Stasis__Membership *ns_member_of(const struct ns_load *n, size_t index);
/* In the calling process: into the namespaces of process `index`, but for those of pids and users. */
int ns_join_all(struct ns_load *n, size_t index, struct stasis_error *err);

/* users_load.c */
int ns_check_owner(struct ns_load *n, const Stasis__Namespace *rec, struct stasis_error *err);
int ns_check_user(struct ns_load *n, uint32_t from, uint32_t to, struct stasis_error *err);
int ns_make_user(struct ns_load *n, const Stasis__Namespace *rec, struct stasis_error *err);
int ns_load_join_user(struct ns_load *n, uint32_t id, struct stasis_error *err);
uint32_t ns_owner_of_pids(const struct ns_load *n, uint32_t id);
/* Of `nr_levels` pid namespaces, `pids` and those above it, in how many somebody in `user` may choose. */
size_t ns_free_levels(struct ns_load *n, uint32_t pids, size_t nr_levels, uint32_t user);

/* A private copy that stands nowhere, with what is mounted on it when `is_whole`; -1 with errno. */
int ns_clone_mount(const char *path, bool is_whole);
int ns_load_open_binds(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_stand_binds(struct ns_made *m, struct stasis_error *err); /* outside of its user namespace */
int ns_load_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_load_late_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err);
int ns_check_mounts(const Stasis__Namespace *rec, struct stasis_error *err);
bool ns_mount_is_late(const Stasis__Namespace *rec, size_t i);
/* links_load.c: when all network namespaces are there. */
int ns_check_links(const Stasis__Namespace *rec, struct stasis_error *err);
int ns_load_links(struct ns_load *n, struct stasis_error *err);

#endif
