/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads what ptrace tells about stopped threads. */
#include "lib/io.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef PTRACE_GET_RSEQ_CONFIGURATION /* Linux 5.13 */
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

enum { SIGSET_BYTES = 8, MIN_XSTATE_BYTES = 576, AUXV_MAX_BYTES = 4096 };

struct rseq_configuration { /* struct ptrace_rseq_configuration */
	uint64_t ptr;
	uint32_t len, signature, flags, padding;
};

static int fail_ptrace(const struct thread *th, const char *what, struct stasis_error *err)
{
	return stasis_fail_errno(err, STASIS_E_IO, "read the %s of thread %d", what, th->tid);
}

static int read_xstate(struct thread *th, size_t room, struct stasis_error *err)
{
	struct iovec iov = {.iov_base = malloc(room), .iov_len = room};

	if (!iov.iov_base)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for registers");
	th->xstate = iov.iov_base;
	if (ptrace(PTRACE_GETREGSET, th->tid, (void *)(uintptr_t)NT_X86_XSTATE, &iov) < 0)
		return fail_ptrace(th, "vector registers", err);
	th->xstate_len = iov.iov_len;
	return 0;
}

static int read_thread(struct thread *th, size_t xstate_room, struct stasis_error *err)
{
	struct rseq_configuration rseq = {0};

	if (!th->has_regs && ptrace(PTRACE_GETREGS, th->tid, NULL, &th->regs.u) < 0)
		return fail_ptrace(th, "registers", err);
	if (ptrace(PTRACE_GETSIGMASK, th->tid, (void *)(uintptr_t)SIGSET_BYTES, &th->sigmask) < 0)
		return fail_ptrace(th, "signal mask", err);
	if (read_xstate(th, xstate_room, err) < 0)
		return -1;
	/* an old kernel: then no restart would register it either */
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->tid, (void *)sizeof(rseq), &rseq) > 0) {
		th->rseq_ptr = rseq.ptr;
		th->rseq_len = rseq.len;
		th->rseq_sig = rseq.signature;
	}
	return 0;
}

int thread_read_status(struct thread *th, struct stasis_error *err)
{
	char name[48];

	(void)snprintf(name, sizeof(name), "task/%d/status", th->tid);
	return proc_read_status(th->task->procfd, name, &th->status, err);
}

int task_read_state(struct session *s, struct task *t, struct stasis_error *err)
{
	size_t room = s->caps.xsave_size > MIN_XSTATE_BYTES ? s->caps.xsave_size : MIN_XSTATE_BYTES;

	if (io_read_file_at(t->procfd, "auxv", AUXV_MAX_BYTES, &t->auxv, &t->auxv_len, err) < 0)
		return -1;
	for (size_t i = 0; i < t->nr_threads; i++)
		if (read_thread(&t->threads[i], room, err) < 0)
			return -1;
	return task_neutralise_rseq(t, err);
}

bool thread_has_our_filters(const struct thread *th)
{
	const struct proc_status *own = &th->task->tree->own, *its = &th->status;

	return its->seccomp == own->seccomp &&
	       (!its->seccomp || (its->nr_seccomp_filters && /* Linux 5.9 */
				  its->nr_seccomp_filters == own->nr_seccomp_filters));
}
