/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TREE_TREE_PRIV_H
#define TREE_TREE_PRIV_H

#include "tree/tree.h"

/* A process or thread that was attached to us at birth. */
struct newborn {
	pid_t pid;
	bool must_go; /* it is to be detached as soon as it has stopped */
};

enum { TREE_MAX_CPUS = 1024 };

/* A tree while it is being stopped. */
struct stopper {
	struct tree *tree;
	pid_t self_tid, self_pid;
	const struct tree_pick *pick;
	unsigned timeout_ms;
	bool is_recursive;
	struct rq_clock {	/* timed.c: of each processor, as far as asked for */
		bool is_known, is_unknowable;
		int64_t offset_ns;
	} rq_clocks[TREE_MAX_CPUS];
	struct newborn *newborns; /* attached to us at birth */
	size_t nr_newborns;
};

/* ids.c: fill vpid and the like of every task and thread. A tree that spreads over several pid
 * namespaces is UNSUPPORTED. */
int tree_read_ids(struct tree *t, struct stasis_error *err);

/* find.c: who belongs to it. */
struct task *tree_add_task(struct stopper *st, pid_t pid, struct task *parent,
			   struct stasis_error *err);
struct task *tree_add_zombie(struct stopper *st, pid_t pid, struct task *parent, int exit_status,
			     struct stasis_error *err);
int tree_add_children(struct stopper *st, size_t from, size_t to, bool leaders_only,
		      struct stasis_error *err);
int tree_put_in_order(struct tree *t, struct stasis_error *err);
void task_free(struct task *t);

/* stop.c: make the threads of tasks[from..to) stand still; to == nr_tasks. Tasks that end meanwhile
 * are taken out. */
int stop_tasks(struct stopper *st, size_t from, struct stasis_error *err);

/* seize.c */
enum seize_result { SEIZE_OK, SEIZE_GONE, SEIZE_ZOMBIE, SEIZE_FAILED };
enum seize_result thread_seize(struct stopper *st, struct task *t, pid_t tid,
			       struct stasis_error *err);

/* wait.c */
enum wait_result { WAIT_RUNNING, WAIT_STOPPED, WAIT_GONE };
enum wait_result thread_poll_stop(struct stopper *st, struct thread *th);
int fail_no_stop(const struct thread *th, unsigned timeout_ms, struct stasis_error *err);
void newborns_poll(struct stopper *st);
void newborns_release_strangers(struct stopper *st);

/* timed.c: look at a thread that has not been disturbed yet; and, when it stands still, whether it was
 * still in the same call. */
void timed_call_measure(struct stopper *st, struct task *t, pid_t tid, struct timed_call *ret);
void timed_call_confirm(struct thread *th);

/* state.c: status of a stopped thread, in any thread of ours; then registers and the like of all of a task's. */
int thread_read_status(struct thread *th, struct stasis_error *err);
int task_read_state(struct session *s, struct task *t, struct stasis_error *err);

/* rseq.c */
int task_neutralise_rseq(struct task *t, struct stasis_error *err);

/* interrupted.c: undo what the stop itself did to a system call, as soon as the thread stands still: if
 * we are killed before, the program sees EINTR. */
void thread_repair_syscall(struct thread *th);

#endif
