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

/* The file itself, to be freed; and whether another one of a thread says the same. */
int ns_cgroups_read_text(int procfd, const char *name, char **ret, struct stasis_error *err);
bool ns_cgroups_are(int procfd, const char *name, const char *text);

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

/* Run fn(arg) in a process of its own that is in the namespace `name` ("mnt") of t. Descriptors and
 * shared memory are how it gives results; its error becomes ours. */
typedef int (*ns_inside_fn)(void *arg, struct stasis_error *err);
/* The same in no other namespaces than ours; `what` for an error. */
int ns_run_apart(ns_inside_fn fn, void *arg, const char *what, struct stasis_error *err);
int ns_run_inside(const struct task *t, const char *name, ns_inside_fn fn, void *arg,
		  struct stasis_error *err);

/* ---- restart ---- */

struct ns_load;

/* Id in a Membership that no image has: of an IPC namespace that a restart adds. */
enum { NS_MAX = 64, NS_MOVED_IPC = NS_MAX + 1 };

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

/* In the master: be in the IPC namespace of process `index`, or in that before (NS_OUTSIDE). */
int ns_load_switch_ipc(struct ns_load *n, size_t index, struct stasis_error *err);

/* In process `index`, right after its creation: be in its namespaces, but for the user namespace. The first
 * one that can mounts what only it can (a /proc of its pid namespace). */
int ns_load_enter(struct ns_load *n, size_t index, struct stasis_error *err);

/*
 * Into its user namespace, with all privileges in that and none outside: the last thing that needs some must
 * have been done.
 */
int ns_load_enter_user(struct ns_load *n, size_t index, struct stasis_error *err);

/* Is the calling process still outside of all of them, and process `index` not to be? */
bool ns_load_leaves_ours(const struct ns_load *n, size_t index);

/* Is process `index` in a user namespace of the tree's own? n may be NULL. */
bool ns_load_has_user(const struct ns_load *n, size_t index);
/* What an id of ours is in there; UINT32_MAX for nothing. */
uint32_t ns_load_id(struct ns_load *n, size_t index, bool is_gid, uint32_t id);
/* Can it be given these groups by setgroups(2) from inside? */
bool ns_load_may_set_groups(struct ns_load *n, size_t index, const uint32_t *groups, size_t nr);

/*
 * How ids are placed that the process that forks may not choose: begin() makes `pid` the next one in the
 * outermost pid namespace (0: one that nobody of the tree has), which stays so until end().
 */
struct ns_pids {
	int (*begin)(void *arg, pid_t pid);
	void (*end)(void *arg);
	void *arg;
};
void ns_load_set_pids(struct ns_load *n, const struct ns_pids *pids);

/* May process `index` have threads besides the first? */
int ns_load_check_threads(struct ns_load *n, size_t index, struct stasis_error *err);
/* In how many pid namespaces, from its own outwards, process `index` may choose ids. */
size_t ns_load_free_levels(struct ns_load *n, size_t index);

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
/*
 * Whether a pid namespace must be made from inside of a user namespace where the caller is not: then he forks a
 * child that calls ns_load_cross() and then ns_load_fork() with CLONE_PARENT.
 */
bool ns_load_needs_crossing(struct ns_load *n, const struct ns_birth *b);
int ns_load_cross(struct ns_load *n, const struct ns_birth *b, struct stasis_error *err);
pid_t ns_load_fork(struct ns_load *n, const struct ns_birth *b, struct clone_args *args);

/* In process `index`, when its children exist: a descriptor of the pid namespace where future ones
 * shall be, for setns(2) when there are threads too, which cannot be made after that. -1 with *err on
 * failure, -2 when that is its own. */
int ns_load_open_for_children(struct ns_load *n, size_t index, struct stasis_error *err);
void ns_load_free(struct ns_load *n); /* NULL is fine */

#endif
