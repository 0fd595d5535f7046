/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DUMP_DUMP_PRIV_H
#define DUMP_DUMP_PRIV_H

#include "image/image.h"
#include "inject/inject.h"
#include "lib/arena.h"
#include "tree/tree.h"

struct thread_seccomp; /* plan.h */

/* Queued signals, each a siginfo_t, in order. */
struct pending {
	size_t nr;
	ProtobufCBinaryData *list;
};

/* The queues of one process. They can be read only while nothing of ours runs in it (ptrace wants it
 * stopped), so before the parasite goes in. */
struct task_pending {
	struct pending shared;
	struct pending *threads; /* as task->threads */
};

int dump_pending_read(struct task *t, struct arena *a, struct task_pending *ret,
		      struct stasis_error *err);

/* Records of one process, filled from /proc, the parasite and ptrace; strings live in the arena. */
int dump_process_record(struct session *s, struct task *t, const struct parasite_task *from_inside,
			const struct pending *pending, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err);

/* One thread. */
int dump_thread_record(struct session *s, struct thread *th,
		       const struct parasite_thread *from_inside, const struct pending *pending,
		       const struct thread_seccomp *seccomp, struct arena *a, Stasis__Thread *ret,
		       struct stasis_error *err);

/* Ids and capabilities of a thread. */
int dump_fill_creds(const struct thread *th, uint32_t securebits, struct arena *a,
		    Stasis__Creds **ret, struct stasis_error *err);

/* A process that a restart begins anew (task.stand_in): its place, and what it is begun with. */
int dump_stand_in_record(struct task *t, struct arena *a, Stasis__Process *ret,
			 struct stasis_error *err);
/* stand_in.c: the latter. */
int dump_fill_stand_in(struct task *t, struct arena *a, Stasis__StandIn **ret,
		       struct stasis_error *err);

/* The first thread of a process, which has ended: name, ids and scheduling, which others still see. */
int dump_leader_record(struct task *t, const struct parasite_thread *living, struct arena *a,
		       Stasis__Process *ret, struct stasis_error *err);

/* seccomp_run.c: name of a system call of our injected code for which the filter kills, or NULL. */
struct sock_filter;
const char *seccomp_deadly_call(const struct sock_filter *f, size_t nr);
bool seccomp_asks_supervisor(const struct sock_filter *f, size_t nr);

/* clocks.c */
struct dump_clocks {
	int64_t monotonic_ns, boottime_ns; /* now, as the process sees them */
	bool has_namespace;		   /* they are not the machine's */
};
int dump_read_clocks(const struct task *t, struct dump_clocks *ret, struct stasis_error *err);

/* What is left of the time-out of the call the thread sleeps in, if it is one that the kernel would
 * continue by restart_syscall(2); fills has_remaining, remaining_ns and timed_nr. */
void dump_timed_call(struct thread *th, Stasis__Thread *ret);

/* The notes a debugger reads, for one thread; the leader's come first and hold PRPSINFO and AUXV. */
int dump_core_notes(struct session *s, struct thread *th, struct image_writer *w,
		    struct stasis_error *err);

#endif
