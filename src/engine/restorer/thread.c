/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The per-thread half of the restorer. The order matters where privileges do: scheduling needs them,
 * changing ids loses them (and clears the parent-death signal), capabilities go last.
 */
#include "restorer/restorer_priv.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stdbool.h>

enum {
	SS_ONSTACK_FLAG = 1,
	IOPRIO_WHO_PROCESS_ID = 1,
	NR_CAPS = 64,
	WAKE_ALL = 0x7fffffff,
	PRCTL_SET_MDWE = 65, /* Linux 6.3 */
	CLONE_FS_FLAG = 0x200,
	PARENT_POLL_NS = 100000000,
};

static const struct restorer_args *args_of(const struct restorer_thread *t)
{
	return (const struct restorer_args *)t->args;
}

static void must(const struct restorer_thread *t, enum restorer_step step, long result,
		 uint64_t info)
{
	if (result < 0)
		restorer_fail(args_of(t), step, result, info);
}

static void set_user_areas(const struct restorer_thread *t)
{
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} stack = {t->altstack_sp, t->altstack_flags & ~(uint32_t)SS_ONSTACK_FLAG, 0,
		   t->altstack_size};

	SYS1(set_tid_address, t->clear_child_tid);
	/* also when it has none: the first thread has that of the program that restarts it */
	must(t, RESTORER_STEP_ALTSTACK, SYS2(sigaltstack, &stack, 0), stack.sp);
	if (t->robust_list)
		must(t, RESTORER_STEP_ROBUST_LIST,
		     SYS2(set_robust_list, t->robust_list, t->robust_list_len), t->robust_list);
	if (t->rseq_ptr)
		must(t, RESTORER_STEP_RSEQ,
		     SYS4(rseq, t->rseq_ptr, t->rseq_len, 0, t->rseq_sig), t->rseq_ptr);
}

static void set_scheduling(const struct restorer_thread *t)
{
	must(t, RESTORER_STEP_SCHED, SYS3(sched_setattr, 0, t->sched_attr, 0), 0);
	/* processors that this host does not have: the rest of the mask, or all of them */
	if (t->affinity_len)
		SYS3(sched_setaffinity, 0, t->affinity_len, t->affinity);
	if (t->ioprio)
		SYS3(ioprio_set, IOPRIO_WHO_PROCESS_ID, 0, t->ioprio);
	if (t->timerslack_ns)
		SYS5(prctl, PR_SET_TIMERSLACK, t->timerslack_ns, 0, 0, 0);
	must(t, RESTORER_STEP_PERSONALITY, SYS1(personality, t->personality), t->personality);
}

/* Where memory comes from; this machine may have other nodes, and then it comes from anywhere. */
static void set_policy(const struct restorer_thread *t)
{
	const uint64_t bits = 8 * sizeof(t->policy_nodes) + 1; /* the kernel takes one less */

	if (t->policy_mode)
		SYS3(set_mempolicy, t->policy_mode, t->policy_nodes ? &t->policy_nodes : 0,
		     t->policy_nodes ? bits : 0);
}

static void set_prctls(const struct restorer_thread *t)
{
	must(t, RESTORER_STEP_NAME, SYS5(prctl, PR_SET_NAME, t->comm, 0, 0, 0), 0);
	if (t->mce_kill != PR_MCE_KILL_DEFAULT)
		SYS5(prctl, PR_MCE_KILL, PR_MCE_KILL_SET, t->mce_kill, 0, 0);
	if (t->tsc_mode == PR_TSC_SIGSEGV)
		must(t, RESTORER_STEP_PRCTL, SYS5(prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0),
		     PR_SET_TSC);
	if (t->io_flusher)
		must(t, RESTORER_STEP_PRCTL, SYS5(prctl, PR_SET_IO_FLUSHER, 1, 0, 0, 0),
		     PR_SET_IO_FLUSHER);
}

/* Before ids change: whoever could go there then may not be allowed to now. */
static void set_place(const struct restorer_thread *t)
{
	if (!t->cwd)
		return;
	must(t, RESTORER_STEP_PLACE, SYS1(unshare, CLONE_FS_FLAG), 0);
	if (t->root)
		must(t, RESTORER_STEP_PLACE, SYS1(chroot, t->root), 1);
	must(t, RESTORER_STEP_PLACE, SYS1(chdir, t->cwd), 2);
	SYS1(umask, t->umask);
}

/* What differs from what the restarter has, as far as this machine lets it be set. */
static void set_speculation(const struct restorer_thread *t)
{
	const uint32_t states = PR_SPEC_ENABLE | PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE |
				PR_SPEC_DISABLE_NOEXEC;

	for (int i = 0; i < RESTORER_NR_SPECULATION; i++) {
		uint32_t wanted = t->speculation[i];
		long now = SYS5(prctl, PR_GET_SPECULATION_CTRL, i, 0, 0, 0);

		if (wanted & PR_SPEC_PRCTL && now >= 0 && (uint32_t)now & PR_SPEC_PRCTL &&
		    (uint32_t)now != wanted)
			SYS5(prctl, PR_SET_SPECULATION_CTRL, i, wanted & states, 0, 0);
	}
}

static void set_ids(const struct restorer_thread *t)
{
	const struct restorer_creds *c = &t->creds;

	/* keep capabilities across the change of ids: they are set one by one below */
	must(t, RESTORER_STEP_CREDS,
	     SYS5(prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS, 0, 0, 0), 0);
	if (c->nr_groups != RESTORER_KEEP_GROUPS)
		must(t, RESTORER_STEP_CREDS, SYS2(setgroups, c->nr_groups, c->groups), 1);
	must(t, RESTORER_STEP_CREDS, SYS3(setresgid, c->rgid, c->egid, c->sgid), 2);
	SYS1(setfsgid, c->fsgid);
	must(t, RESTORER_STEP_CREDS, SYS3(setresuid, c->ruid, c->euid, c->suid), 3);
	SYS1(setfsuid, c->fsuid);
}

static void set_caps(const struct restorer_thread *t)
{
	const struct restorer_creds *c = &t->creds;
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)c->cap_eff, (uint32_t)c->cap_prm, (uint32_t)c->cap_inh},
		{(uint32_t)(c->cap_eff >> 32), (uint32_t)(c->cap_prm >> 32),
		 (uint32_t)(c->cap_inh >> 32)},
	};

	for (uint64_t cap = 0; cap < NR_CAPS; cap++)
		if (!(c->cap_bnd >> cap & 1))
			SYS5(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0); /* EINVAL past the last */
	/* needs CAP_SETPCAP, so only when there is something to set */
	if (SYS5(prctl, PR_GET_SECUREBITS, 0, 0, 0, 0) != (long)c->securebits)
		must(t, RESTORER_STEP_CAPS, SYS5(prctl, PR_SET_SECUREBITS, c->securebits, 0, 0, 0),
		     1);
	must(t, RESTORER_STEP_CAPS, SYS2(capset, &hdr, data), 2);
	for (uint64_t cap = 0; cap < NR_CAPS; cap++)
		if (c->cap_amb >> cap & 1)
			must(t, RESTORER_STEP_CAPS,
			     SYS5(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), 3);
}

static void queue_signals(const struct restorer_thread *t)
{
	uint64_t pid = (uint64_t)SYS0(getpid);

	for (uint64_t i = 0; i < t->nr_pending; i++) {
		uint64_t info = t->pending + i * RESTORER_SIGINFO;

		must(t, RESTORER_STEP_SIGNAL,
		     SYS4(rt_tgsigqueueinfo, pid, t->tids[0], *(const int32_t *)info, info), i);
	}
}

/* Sleep in the call the program slept in, with what was left of its time-out. The builder's interrupt
 * leaves a restart block behind that the kernel goes on with; the registers are the builder's part. */
static void sleep_in_timed_call(struct restorer_thread *t)
{
	if (t->timed_nr < 0)
		return;
	t->timed_result = raw_syscall(t->timed_nr, t->timed_args[0], t->timed_args[1],
				      t->timed_args[2], t->timed_args[3], t->timed_args[4],
				      t->timed_args[5]);
	__atomic_store_n(&t->is_timed_done, 1, __ATOMIC_SEQ_CST);
}

static const struct restorer_thread *args_first(const struct restorer_args *a)
{
	return (const struct restorer_thread *)a->threads;
}

static void install_filters(const struct restorer_thread *t, const struct restorer_args *a)
{
	const struct restorer_filter *filters = (const struct restorer_filter *)a->filters;
	const uint32_t *list = (const uint32_t *)t->filters;
	const uint64_t sync = a->syncs_filters ? SECCOMP_FILTER_FLAG_TSYNC : 0;

	for (uint64_t i = 0; i < t->nr_filters; i++) {
		const struct restorer_filter *f = &filters[list[i]];
		struct sock_fprog prog = {
			.len = (unsigned short)f->nr_insns,
			.filter = (struct sock_filter *)f->insns,
		};
		long r = SYS3(seccomp, SECCOMP_SET_MODE_FILTER, f->flags | sync, &prog);

		/* a positive result is the id of a thread that cannot follow */
		must(t, RESTORER_STEP_SECCOMP, r > 0 ? -EBUSY_NR : r, i + 1);
	}
}

/* With the filters in force but suspended by the builder's trace; their installation needs privileges
 * that the ids may lack, so it comes before those. */
static void confine(const struct restorer_thread *t)
{
	struct restorer_args *a = (struct restorer_args *)t->args;
	struct restorer_control *c = (struct restorer_control *)a->control;

	if (!t->seccomp_mode)
		return;
	__atomic_add_fetch(&c->nr_confined, 1, __ATOMIC_SEQ_CST);
	SYS3(futex, &c->nr_confined, FUTEX_WAKE, WAKE_ALL);
	while (!__atomic_load_n(&c->confine_gate, __ATOMIC_SEQ_CST))
		SYS4(futex, &c->confine_gate, FUTEX_WAIT, 0, 0);
	if (t->seccomp_mode == SECCOMP_MODE_STRICT)
		must(t, RESTORER_STEP_SECCOMP,
		     SYS5(prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0), 0);
	if (a->syncs_filters && t != args_first(a)) {
		while (!__atomic_load_n(&a->has_filters, __ATOMIC_SEQ_CST))
			SYS4(futex, &a->has_filters, FUTEX_WAIT, 0, 0);
		return;
	}
	install_filters(t, a);
	if (a->syncs_filters) {
		__atomic_store_n(&a->has_filters, 1, __ATOMIC_SEQ_CST);
		SYS3(futex, &a->has_filters, FUTEX_WAKE, WAKE_ALL);
	}
}

void restorer_thread_set(struct restorer_thread *t)
{
	set_prctls(t);
	set_user_areas(t);
	set_scheduling(t);
	set_place(t);
	set_speculation(t);
	set_policy(t);
	confine(t);
	if (t->creds.mode == RESTORER_CREDS_ALL)
		set_ids(t);
	if (t->creds.mode != RESTORER_CREDS_KEEP)
		set_caps(t);
	if (t->creds.no_new_privs)
		must(t, RESTORER_STEP_CAPS, SYS5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 4);
}

/* Threads besides the first, a leader that ends among them. */
static uint32_t nr_others(const struct restorer_args *a)
{
	return (uint32_t)a->nr_threads - 1 + (a->leader != 0);
}

/* The kernel makes a process undumpable whenever one of its threads changes ids, so the first thread
 * waits for all others before it sets that. */
static void set_dumpable(struct restorer_args *a)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(&a->nr_set, __ATOMIC_SEQ_CST)) < nr_others(a))
		SYS4(futex, &a->nr_set, FUTEX_WAIT, seen, 0);
	SYS5(prctl, PR_SET_DUMPABLE, a->dumpable == 1, 0, 0, 0);
	/* nothing more is mapped or protected from here on */
	if (a->mdwe)
		must(args_first(a), RESTORER_STEP_PRCTL,
		     SYS5(prctl, PRCTL_SET_MDWE, a->mdwe, 0, 0, 0), PRCTL_SET_MDWE);
}

void restorer_note_set(struct restorer_args *a)
{
	if (__atomic_add_fetch(&a->nr_set, 1, __ATOMIC_SEQ_CST) >= nr_others(a))
		SYS3(futex, &a->nr_set, FUTEX_WAKE, WAKE_ALL);
}

/* The builder must not take our memory away before the leader has left it. */
static void watch_leader_end(struct restorer_args *a)
{
	struct restorer_control *c = (struct restorer_control *)a->control;
	uint32_t lives;

	while ((lives = __atomic_load_n(&a->leader_lives, __ATOMIC_SEQ_CST)) != 0)
		SYS4(futex, &a->leader_lives, FUTEX_WAIT, lives, 0);
	__atomic_add_fetch(&c->nr_ended, 1, __ATOMIC_SEQ_CST);
	SYS3(futex, &c->nr_ended, FUTEX_WAKE, WAKE_ALL);
}

void restorer_wait(const struct restorer_args *a, uint32_t *word, uint32_t while_it_is, bool looks)
{
	const int64_t poll[2] = {0, PARENT_POLL_NS};

	SYS4(futex, word, FUTEX_WAIT, while_it_is, looks ? poll : 0);
	if (looks && SYS0(getppid) != a->parent)
		SYS1(exit_group, 1);
}

void restorer_thread_main(void *thread)
{
	struct restorer_thread *t = thread;
	struct restorer_args *a = (struct restorer_args *)t->args;
	struct restorer_control *c = (struct restorer_control *)a->control;
	bool is_first = t == (struct restorer_thread *)a->threads;

	restorer_thread_set(t);
	if (is_first)
		set_dumpable(a);
	else
		restorer_note_set(a);
	queue_signals(t);
	SYS5(prctl, PR_SET_PDEATHSIG, t->pdeath_signal, 0, 0, 0);
	/* new ids had taken away what bound us to the parent */
	if (is_first && SYS0(getppid) != a->parent)
		SYS1(exit_group, 1);
	/* the builder waits for the last one */
	if (__atomic_add_fetch(&c->ready, 1, __ATOMIC_SEQ_CST) >= c->nr_threads)
		SYS3(futex, &c->ready, FUTEX_WAKE, WAKE_ALL);
	if (is_first && a->leader)
		watch_leader_end(a);
	sleep_in_timed_call(t);
	for (;;)
		restorer_wait(a, &c->never, 0, is_first && !t->pdeath_signal);
}
