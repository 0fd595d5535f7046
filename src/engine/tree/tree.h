/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TREE_TREE_H
#define TREE_TREE_H

#include "arch/arch.h"
#include "lib/proc.h"
#include "session.h"

#include <sys/stat.h>
#include <sys/types.h>

enum task_state {
	TASK_RUNNING,
	TASK_STOPPED, /* by job control (SIGSTOP, SIGTSTP, ...) before we came */
	TASK_ZOMBIE,
};

/* A timed system call in progress, seen before the thread was stopped; the kernel tells nobody how
 * much of a relative time-out is left, so it is measured: see tree/stop.c. */
struct timed_call {
	bool is_valid;
	uint64_t elapsed_ns; /* how long the thread had slept in it when it was stopped */
	uint64_t nr_switches; /* how often it had gone to sleep by then: see tree/timed.c */
	long behind_restart;  /* in restart_syscall(2): the call that goes on, -1 when unknown */
	long nr;	      /* the call it was in, and its arguments: also private to timed.c */
	uint64_t args[6];
};

enum { TREE_MAX_INNER = 4 }; /* pid namespaces nested in that of the tree */

/* One thread, in ptrace-stop between tree_stop() and tree_resume(). */
struct thread {
	struct task *task;
	pid_t tid;
	pid_t vtid; /* in the tree's pid namespace, as task.vpid */
	pid_t inner_tids[TREE_MAX_INNER]; /* as task.inner_pids */
	struct arch_regs regs;	/* as found at the stop, never changed afterwards (rseq fix-up aside) */
	void *xstate;		/* NT_X86_XSTATE area */
	size_t xstate_len;
	uint64_t sigmask;
	long repeated_nr;	/* system call that regs make again, see tree/interrupted.c; 0 for none */
	struct proc_status status; /* at the stop */
	struct timed_call timed;
	tracee_addr rseq_ptr;	/* 0: not registered */
	uint32_t rseq_len, rseq_sig;
	uint64_t rseq_cs;	/* value found in the area; the area holds 0 from then on: see tree/rseq.c */
	bool is_seized;		/* traced by us */
	bool is_stopped_by_us;	/* seized and in ptrace-stop now */
	bool has_regs;		/* they have been read */
	bool is_fit;		/* code of ours can run in it: see inject_check_thread() */
};

/* One process (thread group) of the tree. */
struct task {
	struct tree *tree;
	struct task *parent; /* NULL for the root */
	size_t index;	     /* position in tree->tasks */
	pid_t pid, ppid, pgid, sid;
	/* the same in the tree's pid namespace: see tree/ids.c */
	pid_t vpid, vppid, vpgid, vsid;
	/* its pid in pid namespaces below that one, from the outermost to its own */
	uint32_t nr_inner;
	pid_t inner_pids[TREE_MAX_INNER];
	pid_t own_pgid, own_sid; /* as the process itself sees them, 0: of an outer namespace */
	char comm[17];
	enum task_state state;
	const char *stand_in; /* its program is begun anew by a restart, see dump/stand_in.c: the label; else NULL */
	int exit_status; /* zombie: wait status */
	int stop_signal; /* stopped: which signal */
	/* O_DIRECTORY on /proc/PID. A process whose first thread has ended (main() called pthread_exit)
	 * has neither memory nor descriptors there: then it is /proc/TID of threads[0], and leaderfd is
	 * /proc/PID, else -1. */
	int procfd, leaderfd;
	int rootfd; /* O_PATH on its root when it has a mount namespace of its own, see ns/; else -1 */
	int pidfd;	 /* -1 for a zombie that pidfd_open() refuses */
	struct proc_stat stat; /* of procfd, when it stood still and nothing of ours was in it */
	char *auxv;	       /* the auxiliary vector, as /proc has it; NULL for a zombie */
	size_t auxv_len;
	size_t nr_threads;
	struct thread *threads; /* leader first unless it has ended, then ascending tid; none for a zombie */
	struct inject *inject;	/* set by inject_open(), NULL when not injected */
};

/* Processes in pre-order: a parent comes before its children. */
struct tree {
	struct session *s;
	size_t nr_tasks;
	struct task **tasks;
	uint64_t stopped_at_ns; /* CLOCK_MONOTONIC when the first thread stood still */
	uint64_t frozen_at_ns;	/* and when all did */
	struct proc_status own; /* ours */
};

/*
 * Stop a process (recursive: with all its descendants): seize every thread until two passes over
 * /proc find nothing new. Fills regs, xstate, sigmask, rseq and timed of each thread, and neutralises
 * the rseq areas. The calling thread becomes the tracer, so all later calls must come from it.
 *
 *   pick       NULL: all of them
 *   skip       pids that are not touched, nor their descendants
 *   stand_ins  processes whose descendants are not touched: task.stand_in is set
 *   timeout_ms longest wait for one task to stop (uninterruptible sleep)
 *
 * Errors: GONE no such process; DENIED not ours, or already traced (names the tracer); TIMEOUT
 * names the task and where in the kernel it sleeps. On failure everything runs again.
 */
struct tree_pick {
	const pid_t *skip;
	size_t nr_skip;
	const struct stasis_stand_in *stand_ins;
	size_t nr_stand_ins;
};
int tree_stop(struct session *s, pid_t root, bool recursive, const struct tree_pick *pick,
	      unsigned timeout_ms, struct tree **ret, struct stasis_error *err);

/* The id by which the tree's root knows a process or thread of ours; 0 when it is not in the tree
 * and they are in another pid namespace. */
pid_t tree_vpid_of(const struct tree *t, pid_t id);

/* The id by which the threads of a task know one of them that we know as tid; 0 when it has none. */
pid_t tree_own_tid(const struct task *t, pid_t tid);

/* What the processes shall do next. */
struct tree_after {
	int signal_root; /* 0: none */
	int signal_all;	 /* 0: none; sent to every process while all are still stopped */
};

/* Take the parasites out, put registers and rseq back, send the signals, let everything run, free
 * the tree. NULL after: just resume. */
void tree_resume(struct tree *t, const struct tree_after *after);
void tree_resumep(struct tree **t); /* for scoped(): resumes without signals; NULL is fine */

/* Is it confined by as many seccomp filters as we are? In a container everybody has the container's, which
 * what is restarted there inherits; and ones that let the engine work will do for what it runs inside. */
bool thread_has_our_filters(const struct thread *th);

/* Has it memory and a state that are to be saved? */
static inline bool task_is_saved(const struct task *t)
{
	return t->state != TASK_ZOMBIE && !t->stand_in;
}

/* The id of a thread that lives, for calls that look at memory or descriptors of what they are given
 * (kcmp, process_vm_readv): the process's own unless its first thread has ended. */
static inline pid_t task_live_tid(const struct task *t)
{
	return t->nr_threads ? t->threads[0].tid : t->pid;
}

/* /proc/PID of the process itself, for what stays there even when its first thread has ended. */
static inline int task_leaderfd(const struct task *t)
{
	return t->leaderfd >= 0 ? t->leaderfd : t->procfd;
}

/* Memory of a stopped task. Whole transfer or error. */
int task_read_mem(struct task *t, tracee_addr from, void *to, size_t len, struct stasis_error *err);
int task_write_mem(struct task *t, tracee_addr to, const void *from, size_t len,
		   struct stasis_error *err);

/* stat(2) of a path as the tree's files are named: in the mount namespace of the task. */
int task_stat_path(const struct task *t, const char *path, int flags, struct stat *ret);

/* open(2) of a path, the same. */
int task_open_path(const struct task *t, const char *path, int flags);

/* A duplicate, in this process, of a descriptor of the task (pidfd_getfd, Linux 5.6). */
int task_get_fd(struct task *t, int fd, struct stasis_error *err);

#define tree_for_each(tree, i, t) \
	for ((i) = 0; (i) < (tree)->nr_tasks && ((t) = (tree)->tasks[i], true); (i)++)

#endif
