/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fills the Thread record: everything of one thread but its registers, which are in the core notes. */
#include "dump/dump_priv.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <linux/sched/types.h> /* struct sched_attr; clashes with <sched.h> */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SMALL_FILE_BYTES = 256,
	AFFINITY_BYTES = 1024, /* 8,192 processors */
	IOPRIO_WHO_PROCESS = 1,
};

static char *read_small(struct task *t, pid_t tid, const char *name, struct stasis_error *err)
{
	char path[64];
	char *text;
	size_t len;

	(void)snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	return io_read_file_at(t->procfd, path, SMALL_FILE_BYTES, &text, &len, err) < 0 ? NULL
											 : text;
}

static int fill_comm(struct thread *th, struct arena *a, Stasis__Thread *ret,
		     struct stasis_error *err)
{
	scoped_free char *comm = read_small(th->task, th->tid, "comm", err);
	size_t len;

	if (!comm)
		return -1;
	len = strlen(comm);
	if (len && comm[len - 1] == '\n')
		comm[len - 1] = '\0';
	ret->comm = arena_strdup(a, comm);
	return ret->comm ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

static int fill_personality(struct thread *th, Stasis__Thread *ret, struct stasis_error *err)
{
	scoped_free char *text = read_small(th->task, th->tid, "personality", err);

	if (!text)
		return -1;
	ret->personality = (uint32_t)strtoul(text, NULL, 16);
	return 0;
}

/* The file is reachable for any thread id directly below /proc, not below task/ (Linux 4.6). A kernel
 * without it has the default, which restart leaves alone. */
static void fill_timerslack(struct thread *th, Stasis__Thread *ret)
{
	scoped_free char *text = NULL;
	char path[64];
	size_t len;

	(void)snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", th->tid);
	if (io_read_file_at(-1, path, SMALL_FILE_BYTES, &text, &len, NULL) == 0)
		ret->timerslack_ns = strtoull(text, NULL, 10);
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

static int fill_creds(struct thread *th, const struct parasite_thread *inside, struct arena *a,
		      Stasis__Thread *ret, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	Stasis__Creds *c = arena_alloc(a, sizeof(*c));
	char name[64];

	(void)snprintf(name, sizeof(name), "task/%d/status", th->tid);
	if (proc_read_status(th->task->procfd, name, &st, err) < 0)
		return -1;
	if (!c)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	stasis__creds__init(c);
	c->ruid = st.uid[0];
	c->euid = st.uid[1];
	c->suid = st.uid[2];
	c->fsuid = st.uid[3];
	c->rgid = st.gid[0];
	c->egid = st.gid[1];
	c->sgid = st.gid[2];
	c->fsgid = st.gid[3];
	c->n_groups = st.nr_groups;
	c->groups = arena_memdup(a, st.groups, st.nr_groups * sizeof(*st.groups));
	c->cap_inh = st.cap_inh;
	c->cap_prm = st.cap_prm;
	c->cap_eff = st.cap_eff;
	c->cap_bnd = st.cap_bnd;
	c->cap_amb = st.cap_amb;
	c->no_new_privs = st.no_new_privs;
	c->securebits = inside->securebits;
	ret->creds = c;
	return c->groups ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
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

static void fill_from_inside(const struct parasite_thread *inside, Stasis__Thread *ret)
{
	ret->altstack_sp = inside->altstack_sp;
	ret->altstack_flags = inside->altstack_flags;
	ret->altstack_size = inside->altstack_size;
	ret->clear_child_tid = inside->clear_child_tid;
	ret->pdeath_signal = inside->pdeath_signal;
	ret->mce_kill = inside->mce_kill;
	ret->tsc_mode = inside->tsc_mode;
	ret->io_flusher = inside->io_flusher;
}

int dump_thread_record(struct session *s, struct thread *th,
		       const struct parasite_thread *from_inside, const struct pending *pending,
		       struct arena *a, Stasis__Thread *ret, struct stasis_error *err)
{
	(void)s;
	stasis__thread__init(ret);
	ret->tid = (uint32_t)th->tid;
	ret->sigmask = th->sigmask;
	ret->rseq_ptr = th->rseq_ptr;
	ret->rseq_len = th->rseq_len;
	ret->rseq_sig = th->rseq_sig;
	ret->pending = pending->list;
	ret->n_pending = pending->nr;
	dump_timed_call(th, ret);
	fill_from_inside(from_inside, ret);
	fill_timerslack(th, ret);
	if (fill_comm(th, a, ret, err) < 0 || fill_personality(th, ret, err) < 0 ||
	    fill_sched(th, a, ret, err) < 0 || fill_creds(th, from_inside, a, ret, err) < 0 ||
	    fill_robust_list(th, ret, err) < 0)
		return stasis_fail_prefix(err, "thread %d", th->tid);
	return 0;
}
