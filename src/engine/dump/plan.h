/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DUMP_PLAN_H
#define DUMP_PLAN_H

#include "lib/arena.h"
#include "lib/proc.h"
#include "ipc/ipc.h"
#include "memory/memory.h"
#include "ns/ns.h"
#include "resource/resource.h"

enum { DUMP_STOP_TIMEOUT_MS = 10000 };

/* Something that cannot be saved. fd -1: not a descriptor. */
struct dump_obstacle {
	struct task *task;
	int fd;
	char *text;
};

/* Seccomp of a process; see seccomp.c. */
struct task_seccomp {
	size_t nr_filters; /* the different ones of all threads */
	Stasis__SeccompFilter **filters;
	struct thread_seccomp { /* as task->threads */
		uint32_t mode;
		size_t nr;
		uint32_t *list; /* into filters, oldest first */
	} *threads;
};

/* A stopped tree and what is known of it; zero it to start. */
struct dump_plan {
	struct session *s;
	bool warns; /* -F: obstacles are told as they are found, and passed by */
	struct tree *tree;
	struct ns_save *ns;
	struct mem_save *mem;
	struct ipc_memory segments; /* of mem, for ipc */
	struct ipc_save *ipc;
	struct fd_save *fds;
	size_t nr_obstacles;
	struct dump_obstacle *obstacles;
	struct arena arena;	       /* what `seccomp` points to */
	struct task_seccomp *seccomp; /* of each task, in the order of tree->tasks */
};

/* Stop the tree and look. On failure the plan still holds the obstacles found and, as far as it got,
 * the stopped tree; dump_plan_done() is due in any case and resumes it. */
int dump_plan_make(struct session *s, const struct stasis_dump_opts *opts, struct dump_plan *p,
		   struct stasis_error *err);
void dump_plan_add_obstacle(struct dump_plan *p, struct task *t, int fd, const char *text);

/* An id for an object that is neither memory nor a descriptor's; arg is the plan. */
uint64_t dump_plan_fresh_object(void *arg);

/* obstacles.c: what is neither memory nor descriptor. UNSUPPORTED with the first, unless forced. */
int dump_check_tasks(struct dump_plan *p, struct stasis_error *err);
void dump_plan_done(struct dump_plan *p); /* for scoped() */

/* seccomp.c */
int dump_seccomp_read(struct dump_plan *p, struct task *t, struct task_seccomp *ret,
		      struct stasis_error *err);

#endif
