/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restartable sequences, rseq(2). While a thread is inside a critical section the kernel sends it to
 * the section's abort handler whenever it was preempted; the section is named by the field rseq_cs in
 * the thread's rseq area. Code that we run in the thread must not meet a stale descriptor, so the
 * field is cleared and what the kernel would have done is done here: being stopped is a preemption.
 * The field stays clear, since the kernel clears it itself when it finds the thread outside (which it
 * would at the next return to user mode).
 */
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* include/uapi/linux/rseq.h */
struct rseq_area {
	uint32_t cpu_id_start, cpu_id;
	uint64_t rseq_cs;
};
struct rseq_section {
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};

enum { BATCH = 512 }; /* below UIO_MAXIOV */

static tracee_addr field_addr(const struct thread *th)
{
	return th->rseq_ptr + offsetof(struct rseq_area, rseq_cs);
}

/* The checks are those of kernel/rseq.c; a descriptor that fails them is left to the program. */
static bool find_abort_ip(struct thread *th, tracee_addr *ret)
{
	struct rseq_section cs;
	uint64_t ip = arch_ip(&th->regs);
	uint32_t sig;

	if (task_read_mem(th->task, th->rseq_cs, &cs, sizeof(cs), NULL) < 0 || cs.version)
		return false;
	if (cs.start_ip + cs.post_commit_offset < cs.start_ip ||
	    ip - cs.start_ip >= cs.post_commit_offset ||
	    cs.abort_ip - cs.start_ip < cs.post_commit_offset)
		return false;
	if (task_read_mem(th->task, cs.abort_ip - sizeof(sig), &sig, sizeof(sig), NULL) < 0)
		return false;
	*ret = cs.abort_ip;
	return sig == th->rseq_sig;
}

/* The instruction pointer first: if we are killed in between, the kernel finds the thread outside. */
static int leave_section(struct thread *th, struct stasis_error *err)
{
	const uint64_t none = 0;
	tracee_addr abort_ip;

	if (find_abort_ip(th, &abort_ip)) {
		arch_set_ip(&th->regs, abort_ip);
		if (ptrace(PTRACE_SETREGS, th->tid, NULL, &th->regs.u) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "set registers of thread %d",
						 th->tid);
	}
	return task_write_mem(th->task, field_addr(th), &none, sizeof(none), err);
}

/* Read the fields of up to BATCH threads by one call; what cannot be read counts as empty: the
 * program has unmapped it, and the kernel will tell it so. */
static void read_fields(struct task *t, size_t from, size_t nr)
{
	struct iovec local[BATCH], remote[BATCH];
	size_t done = 0;

	for (size_t i = 0; i < nr; i++) {
		struct thread *th = &t->threads[from + i];

		local[i] = (struct iovec){.iov_base = &th->rseq_cs, .iov_len = sizeof(th->rseq_cs)};
		remote[i] = (struct iovec){.iov_base = (void *)(uintptr_t)field_addr(th),
					   .iov_len = th->rseq_ptr ? sizeof(th->rseq_cs) : 0};
		if (!th->rseq_ptr)
			local[i].iov_len = 0;
	}
	while (done < nr) {
		ssize_t n = process_vm_readv(task_live_tid(t), local + done, nr - done, remote + done,
					     nr - done, 0);

		/* elements are transferred whole: step over them and the one that failed */
		for (; done < nr && n >= (ssize_t)local[done].iov_len; done++)
			n -= (ssize_t)local[done].iov_len;
		done++;
	}
}

int task_neutralise_rseq(struct task *t, struct stasis_error *err)
{
	for (size_t from = 0; from < t->nr_threads; from += BATCH) {
		size_t left = t->nr_threads - from;

		read_fields(t, from, left < BATCH ? left : BATCH);
	}
	for (size_t i = 0; i < t->nr_threads; i++)
		if (t->threads[i].rseq_cs && leave_section(&t->threads[i], err) < 0)
			return -1;
	return 0;
}
