/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions to the parasite. It answers from inside a process that may be hostile or die at any time:
 * nothing is believed but that bytes have come, and every wait looks after the process too.
 */
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

extern __attribute__((__visibility__("hidden"))) const uint8_t stasis_parasite_blob_start[];

enum { MAX_SILENCE_S = 120 }; /* one request is at most 64 KiB of runs, but disks can be slow */

int inject_read(struct inject *in, size_t offset, void *to, size_t len, struct stasis_error *err)
{
	if (inject_settle(in, err) < 0)
		return -1;
	return task_read_mem(in->t, in->area + offset, to, len, err);
}

int inject_write(struct inject *in, size_t offset, const void *from, size_t len,
		 struct stasis_error *err)
{
	const struct iovec remote = {.iov_base = (void *)(uintptr_t)(in->area + offset),
				     .iov_len = len};
	struct iovec local;

	if (inject_settle(in, err) < 0)
		return -1;
	memcpy(&local.iov_base, &from, sizeof(from)); /* iovec has no const */
	local.iov_len = len;
	if (process_vm_writev(task_live_tid(in->t), &local, 1, &remote, 1, 0) == (ssize_t)len)
		return 0;
	return task_write_mem(in->t, in->area + offset, from, len, err);
}

static int send_request(struct inject *in, const struct wire_request *req, int fd,
			struct stasis_error *err)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct wire_request copy = *req;
	struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(in->sock, &msg, MSG_NOSIGNAL) != (ssize_t)sizeof(copy))
		return stasis_fail_errno(err, STASIS_E_IO, "talk to process %d", in->t->pid);
	return 0;
}

static int fail_lost(struct inject *in, struct stasis_error *err)
{
	in->phase = INJECT_LOST;
	return stasis_fail(err, STASIS_E_GONE, "process %d (%s) has ended", in->t->pid, in->t->comm);
}

/* Memory vanished while the parasite read it: send it to its way out of that. */
static int handle_fault(struct inject *in, int sig, struct stasis_error *err)
{
	struct thread *leader = &in->t->threads[0];
	struct wire_blob head;
	struct arch_regs r;
	uint64_t guard;

	memcpy(&head, stasis_parasite_blob_start, sizeof(head));
	if (inject_read(in, in->at.data + offsetof(struct wire_area, guard_sp), &guard,
			sizeof(guard), err) < 0 ||
	    remote_get_regs(leader, &r, err) < 0)
		return -1;
	if (!guard)
		return stasis_fail(err, STASIS_E_INTERNAL, "code run in process %d failed by signal %d",
				   in->t->pid, sig);
	arch_set_entry(&r, in->area + head.fault_entry, in->area + in->at.data);
	if (remote_set_regs(leader, &r, err) < 0)
		return -1;
	return remote_go(leader, PTRACE_CONT, err);
}

/* Has something happened to the leader instead of an answer? */
static int look_after_leader(struct inject *in, struct stasis_error *err)
{
	struct thread *leader = &in->t->threads[0];
	siginfo_t info = {.si_code = 0};
	int status, sig;
	pid_t got = waitpid(leader->tid, &status, __WALL | WNOHANG);

	if (got == 0)
		return 0;
	if (got < 0 || !WIFSTOPPED(status)) {
		leader->is_seized = leader->is_stopped_by_us = false;
		return fail_lost(in, err);
	}
	sig = WSTOPSIG(status);
	if (status >> 16)
		return remote_go(leader, PTRACE_CONT, err);
	if (sig == SIGSEGV || sig == SIGBUS) {
		if (ptrace(PTRACE_GETSIGINFO, leader->tid, NULL, &info) == 0 && info.si_code > 0)
			return handle_fault(in, sig, err);
		in->held_signals |= 1ull << (sig - 1); /* sent by somebody: for later */
		return remote_go(leader, PTRACE_CONT, err);
	}
	if (ptrace(PTRACE_CONT, leader->tid, NULL, (void *)(intptr_t)sig) < 0 && errno != ESRCH)
		return stasis_fail_errno(err, STASIS_E_IO, "start thread %d", leader->tid);
	return 0;
}

/* A thread that was asked to stop twice stops again as soon as it is sent into the parasite. */
static int look_after_threads(struct inject *in, struct stasis_error *err)
{
	for (size_t i = 1; i <= in->nr_inside; i++) {
		struct thread *th = &in->t->threads[i];
		int status, sig;
		pid_t got = waitpid(th->tid, &status, __WALL | WNOHANG);

		if (got == 0)
			continue;
		if (got < 0 || !WIFSTOPPED(status)) {
			th->is_seized = th->is_stopped_by_us = false;
			return stasis_fail(err, STASIS_E_GONE, "thread %d has ended", th->tid);
		}
		sig = status >> 16 ? 0 : WSTOPSIG(status); /* SIGSTOP cannot be blocked */
		(void)ptrace(PTRACE_CONT, th->tid, NULL, (void *)(intptr_t)sig); /* killed */
	}
	return 0;
}

/* The socket gives up after RECEIVE_TIMEOUT_MS of silence, see inject.c. */
static int receive_answer(struct inject *in, struct wire_answer *ans, struct stasis_error *err)
{
	struct timespec start, now;
	ssize_t n;

	(void)clock_gettime(CLOCK_MONOTONIC, &start); /* cannot fail */
	for (;;) {
		n = recv(in->sock, ans, sizeof(*ans), 0);
		if (n == (ssize_t)sizeof(*ans) && ans->seq == in->seq)
			return 0;
		if (n >= 0)
			break;
		if (errno != EAGAIN && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "hear from process %d",
						 in->t->pid);
		if (look_after_leader(in, err) < 0 || look_after_threads(in, err) < 0)
			return -1;
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > MAX_SILENCE_S)
			return stasis_fail(err, STASIS_E_TIMEOUT, "process %d does not answer",
					   in->t->pid);
	}
	if (n == 0 && look_after_leader(in, err) < 0)
		return -1;
	return stasis_fail(err, STASIS_E_INTERNAL, "process %d gives a wrong answer (%zd bytes)",
			   in->t->pid, n);
}

static int take_answer(struct inject *in, int64_t *ret_result, struct stasis_error *err)
{
	struct wire_answer ans;

	if (receive_answer(in, &ans, err) < 0)
		return -1;
	if (ans.error) {
		errno = ans.error;
		return stasis_fail_errno(err, STASIS_E_IO, "process %d refused a request",
					 in->t->pid);
	}
	if (ret_result)
		*ret_result = ans.result;
	return 0;
}

static int begin_request(struct inject *in, struct wire_request *req, int fd, struct stasis_error *err)
{
	if (in->phase != INJECT_SERVING)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite",
				   in->t->pid);
	if (inject_settle(in, err) < 0)
		return -1;
	req->seq = ++in->seq;
	return send_request(in, req, fd, err);
}

int inject_request(struct inject *in, struct wire_request *req, int fd, int64_t *ret_result,
		   struct stasis_error *err)
{
	return begin_request(in, req, fd, err) < 0 ? -1 : take_answer(in, ret_result, err);
}

int inject_ask(struct inject *in, struct wire_request *req, int fd,
	       int (*settle)(struct inject *in, struct stasis_error *err), struct stasis_error *err)
{
	if (begin_request(in, req, fd, err) < 0)
		return -1;
	in->settle = settle;
	return 0;
}

int inject_settle(struct inject *in, struct stasis_error *err)
{
	int (*settle)(struct inject *in, struct stasis_error *err) = in->settle;

	if (!settle)
		return 0;
	in->settle = NULL;
	return take_answer(in, NULL, err) < 0 ? -1 : settle(in, err);
}

void inject_drop(struct inject *in)
{
	bool is_asked = in->settle;

	in->settle = NULL;
	if (is_asked && in->phase == INJECT_SERVING)
		(void)take_answer(in, NULL, NULL); /* all has failed anyway */
}
