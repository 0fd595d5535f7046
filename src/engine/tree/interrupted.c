/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Some calls fail with EINTR as soon as their thread is stopped, even without a signal handler (see
 * signal(7), "Interruption of system calls and library functions by stop signals"). The program shall
 * not notice: such a call is made again, with what is left of its time-out where the time-out is in a
 * register. A time-out in memory starts afresh, since the memory may not be ours to write.
 */
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

enum { NS_PER_MS = 1000000, EPOLL_TIMEOUT_ARG = 3 };

/* Calls that may be made again after EINTR as if for the first time: none has done anything yet. */
static bool is_repeatable(long nr)
{
	switch (nr) {
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_io_getevents:
	case SYS_io_pgetevents:
	case SYS_io_uring_enter:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_msgsnd:
	case SYS_msgrcv:
	case SYS_rt_sigtimedwait:
	case SYS_read: /* and the next ones: sockets with SO_RCVTIMEO, SO_SNDTIMEO; old inotify */
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
		return true;
	default:
		return false;
	}
}

/* A signal that will reach a handler ends the call anyway. Also said when nothing can be found out. */
static bool has_signal_coming(const struct thread *th)
{
	enum { SIGSET_BYTES = 8 };
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	uint64_t mask = 0;
	char name[48];

	(void)snprintf(name, sizeof(name), "task/%d/status", th->tid);
	if (proc_read_status(th->task->procfd, name, &st, NULL) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, th->tid, (void *)(uintptr_t)SIGSET_BYTES, &mask) < 0)
		return true;
	/* traced threads also get signals that they ignore */
	return ((st.sig_pnd | st.shd_pnd) & ~mask & ~st.sig_ign) != 0;
}

static void shorten_timeout(struct thread *th, long nr)
{
	int timeout_ms = (int)arch_syscall_arg(&th->regs, EPOLL_TIMEOUT_ARG);
	uint64_t gone_ms = th->timed.elapsed_ns / NS_PER_MS;

	if (nr != SYS_epoll_pwait
#ifdef SYS_epoll_wait
	    && nr != SYS_epoll_wait
#endif
	)
		return;
	if (timeout_ms <= 0 || !th->timed.is_valid)
		return;
	timeout_ms = gone_ms < (uint64_t)timeout_ms ? timeout_ms - (int)gone_ms : 0;
	arch_set_syscall_arg(&th->regs, EPOLL_TIMEOUT_ARG, (uint64_t)timeout_ms);
}

void thread_repair_syscall(struct thread *th)
{
	long nr;

	if (ptrace(PTRACE_GETREGS, th->tid, NULL, &th->regs.u) < 0)
		return; /* killed meanwhile */
	th->has_regs = true;
	timed_call_confirm(th);
	nr = arch_syscall_nr(&th->regs);
	if (nr < 0 || arch_syscall_result(&th->regs) != -EINTR || !is_repeatable(nr) ||
	    has_signal_coming(th))
		return;
	shorten_timeout(th, nr);
	arch_rewind_syscall(&th->regs);
	(void)ptrace(PTRACE_SETREGS, th->tid, NULL, &th->regs.u); /* killed meanwhile */
	th->repeated_nr = nr;
}
