/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Namespaces (namespaces(7)) that a tree has for itself: an unshare(1) or bubblewrap container running
 * in it. What of them is the restarter's own, or shared with processes outside of the tree, is
 * left alone.
 */
#ifndef NS_NS_H
#define NS_NS_H

#include "image/image.h"
#include "lib/arena.h"
#include "tree/tree.h"

/* ---- cgroups (cgroups(7)) ---- */

/* Where a process or thread is, from its file "cgroup" of /proc, in each hierarchy. */
int ns_cgroups_read(int procfd, const char *name, struct arena *a, Stasis__CgroupPlace ***ret,
		    size_t *ret_nr, struct stasis_error *err);

struct ns_cgroups_of {
	Stasis__CgroupPlace **list;
	size_t nr;
};
/* The same for a thread, of which only those are given that are not the leader's. */
int ns_cgroups_read_others(int procfd, const char *name, const struct ns_cgroups_of *leader,
			   struct arena *a, Stasis__CgroupPlace ***ret, size_t *ret_nr,
			   struct stasis_error *err);

struct ns_cgroups;

/*
 * For a restart in the cgroups of the checkpoint, or with `join` all in that one: the name of a cgroup as
 * /proc/PID/cgroup has it, or its folder. *ret must be freed after a failure too.
 */
int ns_cgroups_open(struct session *s, const char *join, struct ns_cgroups **ret,
		    struct stasis_error *err);
/* Open those of one process; to be called for each before anything is made. */
int ns_cgroups_add(struct ns_cgroups *c, Stasis__CgroupPlace *const *list, size_t nr,
		   struct stasis_error *err);
/* The calling process, which has one thread, goes there. */
int ns_cgroups_enter(struct ns_cgroups *c, Stasis__CgroupPlace *const *list, size_t nr,
		     struct stasis_error *err);
int ns_cgroups_place_thread(struct ns_cgroups *c, pid_t tid, Stasis__CgroupPlace *const *list, size_t nr,
			    struct stasis_error *err);
void ns_cgroups_free(struct ns_cgroups *c); /* NULL is fine */

/* ---- dump ---- */

struct ns_save;

typedef void (*ns_obstacle_fn)(void *arg, struct task *t, const char *text);

/*
 * Find the namespaces of a stopped tree that are not the caller's, and read what they are made of.
 * Tasks with a mount namespace of their own get their `rootfd`. What cannot be made again goes to
 * `obstacle`, in words for the user. Changes nothing.
 *
 * Returns 0, or -1 with *err when something could not be looked at.
 */
int ns_save_collect(struct session *s, struct tree *tree, ns_obstacle_fn obstacle, void *arg,
		    struct ns_save **ret, struct stasis_error *err);

/* What of them a task is in; the record belongs to n. NULL: none but the caller's. */
Stasis__Membership *ns_save_member(struct ns_save *n, const struct task *t);

/* Write a NAMESPACE record for each of them that the task is in, with the content of its file systems;
 * `fresh` makes ids for these. */
int ns_save_write(struct ns_save *n, const struct task *t, uint64_t (*fresh)(void *arg), void *arg,
		  struct image_writer *w, struct stasis_error *err);
void ns_save_free(struct ns_save *n); /* NULL is fine */

/* ---- restart ---- */

struct ns_load;

/* A process to restart. */
struct ns_proc {
	const char *comm;
	pid_t pid;
	struct image *image;
	const Stasis__Membership *in; /* NULL: in none but the restarter's */
};

/* Read and check the records of all processes; NULL in *ret when there is nothing to make. Changes
 * nothing. `procs` must stay. */
int ns_load_plan(struct session *s, const struct ns_proc *procs, size_t nr, struct ns_load **ret,
		 struct stasis_error *err);

/* Make them, each in a process of its own that ends when it is done; they live as long as n or a
 * process in them. Must be called where the tree's files are reachable. `cgroups` may be NULL: cgroup
 * namespaces have their roots in the caller's then. */
int ns_load_make(struct ns_load *n, struct ns_cgroups *cgroups, struct stasis_error *err);

/* In the master: see files and network as process `index` does, or as before (NS_OUTSIDE). */
#define NS_OUTSIDE ((size_t)-1)
int ns_load_switch(struct ns_load *n, size_t index, struct stasis_error *err);

/* In process `index`, right after its creation by `parent` (NS_OUTSIDE: the master): be in its
 * namespaces. The first one that can mounts what only it can (a /proc of its pid namespace). */
int ns_load_enter(struct ns_load *n, size_t parent, size_t index, struct stasis_error *err);

/* Who is to be born, and to whom. */
struct ns_birth {
	size_t creator; /* index of the calling process, NS_OUTSIDE for the master */
	size_t like;	/* index of the process itself, or of one in whose pid namespace it shall be */
	pid_t pid;	/* in the tree's pid namespace */
	pid_t own_pid;	/* in its own */
};

/*
 * clone3() with these ids, into the pid namespace of process `like`, which this makes when `like` is its
 * first. `args` has flags and exit signal; set_tid is filled in here. Returns as fork(), with *err when
 * it is not errno that tells what was wrong.
 */
struct clone_args;
pid_t ns_load_fork(struct ns_load *n, const struct ns_birth *b, struct clone_args *args);

/* In process `index`, when its children exist: a descriptor of the pid namespace where future ones
 * shall be, for setns(2) when there are threads too, which cannot be made after that. -1 with *err on
 * failure, -2 when that is its own. */
int ns_load_open_for_children(struct ns_load *n, size_t index, struct stasis_error *err);
void ns_load_free(struct ns_load *n); /* NULL is fine */

#endif
