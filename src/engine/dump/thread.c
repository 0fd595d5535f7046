/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fills the Thread record: everything of one thread but its registers, which are in the core notes. */
#include "dump/dump_priv.h"
#include "dump/plan.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <linux/seccomp.h>
#include <linux/sched/types.h> /* struct sched_attr; clashes with <sched.h> */
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	AFFINITY_BYTES = 1024, /* 8,192 processors */
	IOPRIO_WHO_PROCESS = 1,
};

/* What comes from inside need not end. */
static int fill_comm(const struct parasite_thread *inside, struct arena *a, Stasis__Thread *ret,
		     struct stasis_error *err)
{
	char comm[sizeof(inside->comm) + 1] = "";

	memcpy(comm, inside->comm, sizeof(inside->comm));
	ret->comm = arena_strdup(a, comm);
	return ret->comm ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

/* sched_setattr(2), Linux 3.14; the structure grew twice: the kernel fills as much as it knows. */
static int fill_sched(struct thread *th, struct arena *a, Stasis__Thread *ret,
		      struct stasis_error *err)
{
	struct sched_attr attr = {.size = sizeof(attr)};
	uint8_t mask[AFFINITY_BYTES];
	long len;

	if (syscall(SYS_sched_getattr, th->tid, &attr, sizeof(attr), 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read the scheduling of %d", th->tid);
	ret->sched_policy = attr.sched_policy;
	ret->sched_flags = attr.sched_flags;
	ret->sched_nice = attr.sched_nice;
	ret->sched_priority = attr.sched_priority;
	ret->sched_runtime = attr.sched_runtime;
	ret->sched_deadline = attr.sched_deadline;
	ret->sched_period = attr.sched_period;
	ret->sched_util_min = attr.sched_util_min;
	ret->sched_util_max = attr.sched_util_max;
	len = syscall(SYS_sched_getaffinity, th->tid, sizeof(mask), mask);
	if (len < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read the affinity of %d", th->tid);
	ret->affinity.len = (size_t)len;
	ret->affinity.data = arena_memdup(a, mask, (size_t)len);
	ret->ioprio = (uint32_t)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, th->tid);
	return ret->affinity.data ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

int dump_fill_creds(const struct thread *th, uint32_t securebits, struct arena *a,
		    Stasis__Creds **ret, struct stasis_error *err)
{
	const struct proc_status *st = &th->status;
	Stasis__Creds *c = arena_alloc(a, sizeof(*c));

	if (!c)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	stasis__creds__init(c);
	c->ruid = st->uid[0];
	c->euid = st->uid[1];
	c->suid = st->uid[2];
	c->fsuid = st->uid[3];
	c->rgid = st->gid[0];
	c->egid = st->gid[1];
	c->sgid = st->gid[2];
	c->fsgid = st->gid[3];
	c->n_groups = st->nr_groups;
	c->groups = arena_memdup(a, st->groups, st->nr_groups * sizeof(*st->groups));
	c->cap_inh = st->cap_inh;
	c->cap_prm = st->cap_prm;
	c->cap_eff = st->cap_eff;
	c->cap_bnd = st->cap_bnd;
	c->cap_amb = st->cap_amb;
	c->no_new_privs = st->no_new_privs;
	c->securebits = securebits;
	*ret = c;
	return c->groups ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

/* A thread that called unshare(CLONE_FS), as file servers do to have a folder for each client. */
static int fill_place(struct thread *th, struct arena *a, Stasis__Thread *ret,
		      struct stasis_error *err)
{
	scoped_free char *cwd = NULL, *root = NULL;
	const int self = th->task->procfd;
	Stasis__Place *place;
	struct stat st;
	char name[64];

	if (th == th->task->threads ||
	    syscall(SYS_kcmp, th->task->threads[0].tid, th->tid, KCMP_FS, 0, 0) <= 0)
		return 0;
	(void)snprintf(name, sizeof(name), "task/%d/cwd", th->tid);
	cwd = proc_readlink(self, name, err);
	if (!cwd || fstatat(self, name, &st, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "current working directory");
	if (!st.st_nlink)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "its own working directory has been removed, which is not supported");
	(void)snprintf(name, sizeof(name), "task/%d/root", th->tid);
	root = proc_readlink(self, name, err);
	if (!root)
		return -1;
	place = arena_alloc(a, sizeof(*place));
	if (!place)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	stasis__place__init(place);
	place->cwd = arena_strdup(a, cwd);
	place->root = arena_strdup(a, root);
	place->umask = th->status.umask;
	ret->place = place;
	return place->cwd && place->root ? 0
					 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

static int fill_robust_list(struct thread *th, Stasis__Thread *ret, struct stasis_error *err)
{
	uint64_t head = 0;
	size_t len = 0;

	if (syscall(SYS_get_robust_list, th->tid, &head, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read the robust list of %d", th->tid);
	ret->robust_list = head;
	ret->robust_list_len = len;
	return 0;
}

static int fill_from_inside(const struct parasite_thread *inside, struct arena *a,
			    Stasis__Thread *ret, struct stasis_error *err)
{
	ret->altstack_sp = inside->altstack_sp;
	ret->altstack_flags = inside->altstack_flags;
	ret->altstack_size = inside->altstack_size;
	ret->clear_child_tid = inside->clear_child_tid;
	ret->pdeath_signal = inside->pdeath_signal;
	ret->mce_kill = inside->mce_kill;
	ret->tsc_mode = inside->tsc_mode;
	ret->io_flusher = inside->io_flusher;
	ret->personality = inside->personality;
	ret->timerslack_ns = inside->timerslack_ns;
	ret->speculation = arena_memdup(a, inside->speculation, sizeof(inside->speculation));
	ret->n_speculation = ret->speculation ? PARASITE_NR_SPECULATION : 0;
	return ret->speculation ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

int dump_thread_record(struct session *s, struct thread *th,
		       const struct parasite_thread *from_inside, const struct pending *pending,
		       const struct thread_seccomp *seccomp, struct arena *a, Stasis__Thread *ret,
		       struct stasis_error *err)
{
	(void)s;
	stasis__thread__init(ret);
	ret->tid = (uint32_t)th->vtid;
	ret->n_inner_tids = th->task->nr_inner;
	ret->inner_tids = arena_memdup(a, th->inner_tids, sizeof(th->inner_tids));
	if (!ret->inner_tids)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	ret->sigmask = th->sigmask;
	ret->rseq_ptr = th->rseq_ptr;
	ret->rseq_len = th->rseq_len;
	ret->rseq_sig = th->rseq_sig;
	ret->pending = pending->list;
	ret->n_pending = pending->nr;
	ret->seccomp_mode = seccomp->mode;
	ret->seccomp = seccomp->list;
	ret->n_seccomp = seccomp->nr;
	dump_timed_call(th, ret);
	if (fill_from_inside(from_inside, a, ret, err) < 0 || fill_place(th, a, ret, err) < 0 ||
	    fill_comm(from_inside, a, ret, err) < 0 || fill_sched(th, a, ret, err) < 0 ||
	    dump_fill_creds(th, from_inside->securebits, a, &ret->creds, err) < 0 ||
	    fill_robust_list(th, ret, err) < 0)
		return stasis_fail_prefix(err, "thread %d", th->tid);
	return 0;
}

static void leader_done(struct thread *leader)
{
	proc_status_done(&leader->status);
}

int dump_leader_record(struct task *t, const struct parasite_thread *living, struct arena *a,
		       Stasis__Process *ret, struct stasis_error *err)
{
	scoped(leader_done) struct thread leader = {.task = t, .tid = t->pid, .vtid = t->vpid};
	Stasis__Thread *record = arena_alloc(a, sizeof(*record));
	struct proc_stat st;

	if (!record)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	stasis__thread__init(record);
	record->tid = (uint32_t)t->vpid;
	record->comm = t->comm;
	record->personality = living->personality;
	if (proc_read_status(t->leaderfd, "status", &leader.status, err) < 0 ||
	    fill_sched(&leader, a, record, err) < 0 ||
	    dump_fill_creds(&leader, living->securebits, a, &record->creds, err) < 0 ||
	    proc_read_stat(t->leaderfd, "stat", &st, err) < 0)
		return stasis_fail_prefix(err, "ended thread %d", t->pid);
	ret->leader = record;
	ret->leader_exit_status = (uint32_t)st.exit_code;
	return 0;
}
