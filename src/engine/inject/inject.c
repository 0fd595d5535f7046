/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gets the parasite into a stopped process and out again. The order of every step is such that the
 * engine may be killed after it: a thread that is let go by the kernel at that moment finds its way
 * home by the code its registers point to.
 *
 *  - Registers go first, then the signal mask; on the way back the mask first, then the registers.
 *    In the pad the program's own stack pointer is kept, so that a handler may run there; the pad
 *    blocks signals itself before it needs to.
 *  - Vector registers: the parasite saves and restores them itself; before its code is left by ptrace
 *    they are put back.
 *  - The parasite's line to us is in our hands before the process closes that end.
 */
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <elf.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

extern __attribute__((__visibility__("hidden"))) const uint8_t stasis_parasite_blob_start[];
extern __attribute__((__visibility__("hidden"))) const uint32_t stasis_parasite_blob_len;

enum { RECEIVE_TIMEOUT_MS = 20, XSAVE_ALIGN = 64 };

/* All signals but those that tell us about vanished memory; see request.c. */
#define MASK_INSIDE (~(1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1)))

static struct thread *leader_of(struct inject *in)
{
	return &in->t->threads[0];
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static struct layout plan_layout(const struct inject *in)
{
	const size_t page = (size_t)in->s->caps.page_size, nr = in->t->nr_threads;
	struct layout at = {.pad_stride = round_up(arch_pad().len, 16)};

	at.pads = round_up(stasis_parasite_blob_len, 16);
	at.data = round_up(at.pads + (nr - 1) * at.pad_stride, page);
	at.xsave = at.data + round_up(sizeof(struct wire_area), XSAVE_ALIGN);
	at.stack_top = round_up(at.xsave + in->s->caps.xsave_size + WIRE_STACK_BYTES, page);
	at.buffer = at.stack_top;
	at.threads = at.buffer + WIRE_BUFFER_BYTES;
	at.len = round_up(at.threads + nr * WIRE_THREAD_BYTES, page);
	return at;
}

/* ---- the area */

static int send_to_pad(struct inject *in, size_t entry, long nr, const uint64_t args[6],
		       struct stasis_error *err)
{
	struct arch_regs r = leader_of(in)->regs;

	arch_set_call(&r, in->pad + entry, nr, args);
	return remote_set_regs(leader_of(in), &r, err);
}

static int begin_mmap(struct inject *in, int prot, struct stasis_error *err)
{
	const uint64_t args[6] = {0, in->at.len, (uint64_t)prot, MAP_PRIVATE | MAP_ANONYMOUS,
				  (uint64_t)-1, 0};

	if (send_to_pad(in, arch_pad().call, SYS_mmap, args, err) < 0)
		return -1;
	in->phase = INJECT_AT_PAD;
	if (remote_set_mask(leader_of(in), MASK_INSIDE, err) < 0)
		return -1;
	return remote_go(leader_of(in), PTRACE_SYSCALL, err);
}

/* From the entry of a system call to its exit. */
static int pass_entry(struct inject *in, struct stasis_error *err)
{
	if (remote_wait(leader_of(in), REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0)
		return -1;
	return remote_go(leader_of(in), PTRACE_SYSCALL, err);
}

static int pass_exit(struct inject *in, int64_t *ret, struct stasis_error *err)
{
	struct arch_regs r;

	if (remote_wait(leader_of(in), REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0 ||
	    remote_get_regs(leader_of(in), &r, err) < 0)
		return -1;
	*ret = arch_syscall_result(&r);
	return 0;
}

static int fail_mmap(const struct inject *in, int64_t result, struct stasis_error *err)
{
	if (result == -ENOMEM)
		return stasis_fail(err, STASIS_E_NOMEM,
				   "process %d (%s) has no address space left for %zu KiB (see "
				   "ulimit -v)",
				   in->t->pid, in->t->comm, in->at.len >> 10);
	errno = (int)-result;
	return stasis_fail_errno(err, STASIS_E_UNSUPPORTED,
				 "process %d (%s) cannot map memory to run code in", in->t->pid,
				 in->t->comm);
}

static bool is_denied(int64_t result)
{
	return result == -EACCES || result == -EPERM;
}

static int note_area(struct inject *in, int64_t result, struct stasis_error *err)
{
	const struct arch_pad pad = arch_pad();

	if (result < 0 && result > -4096)
		return fail_mmap(in, result, err);
	in->area = (uint64_t)result;
	in->phase = INJECT_IN_AREA;
	return task_write_mem(in->t, in->pad + pad.area, &in->area, sizeof(in->area), err);
}

/* Another system call in the pad, with the area at stake: when we die the area goes. */
static int call_in_pad(struct inject *in, long nr, const uint64_t args[6], int64_t *ret,
		       struct stasis_error *err)
{
	if (send_to_pad(in, arch_pad().finish, nr, args, err) < 0 ||
	    remote_go(leader_of(in), PTRACE_SYSCALL, err) < 0 || pass_entry(in, err) < 0)
		return -1;
	return pass_exit(in, ret, err);
}

/* Memory that is writable and executable at once may be forbidden (PR_SET_MDWE, some LSM): then map
 * it executable, which we can write to all the same, and make its second part writable only. */
static int map_apart(struct inject *in, struct stasis_error *err)
{
	int64_t result;
	uint64_t args[6] = {0};

	if (begin_mmap(in, PROT_READ | PROT_EXEC, err) < 0 || pass_entry(in, err) < 0 ||
	    pass_exit(in, &result, err) < 0 || note_area(in, result, err) < 0)
		return -1;
	args[0] = in->area + in->at.data;
	args[1] = in->at.len - in->at.data;
	args[2] = PROT_READ | PROT_WRITE;
	if (call_in_pad(in, SYS_mprotect, args, &result, err) < 0)
		return -1;
	return result < 0 ? fail_mmap(in, result, err) : 0;
}

static int end_mmap(struct inject *in, struct stasis_error *err)
{
	int64_t result;

	if (pass_exit(in, &result, err) < 0)
		return -1;
	return is_denied(result) ? map_apart(in, err) : note_area(in, result, err);
}

/* ---- the parasite */

static int write_area(struct inject *in, struct stasis_error *err)
{
	const struct arch_pad pad = arch_pad();
	const struct layout *at = &in->at;
	struct wire_area a = {
		.xsave = in->area + at->xsave,
		.stack_top = in->area + at->stack_top,
		.pad_unmap = in->pad + pad.unmap,
		.pad_leave = in->pad + pad.leave,
		.start = in->area,
		.len = at->len,
		.buffer = in->area + at->buffer,
		.threads = in->area + at->threads,
		.nr_threads = (uint32_t)in->t->nr_threads,
		.has_fast_hash = arch_has_fast_hash(),
		.socks = {-1, -1},
		.moving = leader_of(in)->rseq_ptr,
		.moving_len = leader_of(in)->rseq_ptr ? leader_of(in)->rseq_len : 0,
	};

	if (inject_write(in, 0, stasis_parasite_blob_start, stasis_parasite_blob_len, err) < 0)
		return -1;
	if (inject_write(in, at->data, &a, sizeof(a), err) < 0)
		return -1;
	in->is_written = true;
	return 0;
}

/* Send the leader into the parasite, as far as the entry of its first call, socketpair(). */
static int start_parasite(struct inject *in, struct stasis_error *err)
{
	struct arch_regs r = leader_of(in)->regs;
	struct wire_blob head;

	memcpy(&head, stasis_parasite_blob_start, sizeof(head));
	if (write_area(in, err) < 0)
		return -1;
	arch_set_entry(&r, in->area + head.leader_entry, in->area + in->at.data);
	if (remote_set_regs(leader_of(in), &r, err) < 0)
		return -1;
	return remote_go(leader_of(in), PTRACE_SYSCALL, err);
}

static int take_line(struct inject *in, struct stasis_error *err)
{
	const struct timeval silence = {.tv_usec = RECEIVE_TIMEOUT_MS * 1000};
	int socks[2];

	if (inject_read(in, in->at.data + offsetof(struct wire_area, socks), socks, sizeof(socks),
			err) < 0)
		return -1;
	in->sock = task_get_fd(in->t, socks[0], err);
	if (in->sock < 0)
		return -1;
	if (setsockopt(in->sock, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set up the line to process %d",
					 in->t->pid);
	return 0;
}

static int end_start(struct inject *in, struct stasis_error *err)
{
	int64_t result;

	if (pass_exit(in, &result, err) < 0)
		return -1;
	if (result < 0) {
		errno = (int)-result;
		return stasis_fail_errno(err,
					 result == -EMFILE ? STASIS_E_UNSUPPORTED : STASIS_E_IO,
					 "process %d (%s) has no two free descriptors for the "
					 "checkpoint",
					 in->t->pid, in->t->comm);
	}
	if (take_line(in, err) < 0 || remote_go(leader_of(in), PTRACE_CONT, err) < 0)
		return -1;
	in->phase = INJECT_SERVING;
	return 0;
}

/* ---- opening */

static struct inject *inject_create(struct session *s, struct task *t, struct stasis_error *err)
{
	struct inject *in = calloc(1, sizeof(*in));

	if (!in)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for process %d", t->pid);
	*in = (struct inject){.s = s, .t = t, .sock = -1};
	t->inject = in;
	return in;
}

static int step_prepare(struct session *s, struct task *t, struct stasis_error *err)
{
	struct inject *in = inject_create(s, t, err);

	if (!in || seccomp_suspend(in, err) < 0 || inject_check(in, err) < 0)
		return -1;
	in->at = plan_layout(in);
	if (place_find(t, &in->pad, err) < 0 || place_fill(in, err) < 0)
		return -1;
	return begin_mmap(in, PROT_READ | PROT_WRITE | PROT_EXEC, err);
}

static int step_map_entry(struct session *s, struct task *t, struct stasis_error *err)
{
	(void)s;
	return pass_entry(t->inject, err);
}

static int step_map_exit(struct session *s, struct task *t, struct stasis_error *err)
{
	(void)s;
	if (end_mmap(t->inject, err) < 0)
		return -1;
	return start_parasite(t->inject, err);
}

static int step_line_exit(struct session *s, struct task *t, struct stasis_error *err)
{
	(void)s;
	return end_start(t->inject, err);
}

/* Each step ends with the leader on its way; while it runs, the others take the same step. */
static int (*const steps[])(struct session *, struct task *, struct stasis_error *) = {
	step_prepare, step_map_entry, step_map_exit, step_map_entry, step_line_exit,
};

enum { NR_STEPS = sizeof(steps) / sizeof(steps[0]) };

static int open_tasks(struct session *s, struct task **tasks, size_t nr, struct stasis_error *err)
{
	for (size_t step = 0; step < NR_STEPS; step++)
		for (size_t i = 0; i < nr; i++)
			if (steps[step](s, tasks[i], err) < 0)
				return stasis_fail_prefix(err, "process %d (%s)", tasks[i]->pid,
							  tasks[i]->comm);
	return 0;
}

int inject_open(struct session *s, struct task *t, struct stasis_error *err)
{
	if (t->inject || t->state == TASK_ZOMBIE)
		return 0;
	if (open_tasks(s, &t, 1, err) == 0)
		return 0;
	inject_close(t);
	return -1;
}

int inject_open_all(struct session *s, struct tree *tree, struct stasis_error *err)
{
	scoped_free struct task **todo = malloc((tree->nr_tasks + 1) * sizeof(struct task *));
	size_t nr = 0, i;
	struct task *t;

	if (!todo)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu processes",
				   tree->nr_tasks);
	tree_for_each(tree, i, t)
		if (!t->inject && t->state != TASK_ZOMBIE)
			todo[nr++] = t;
	if (open_tasks(s, todo, nr, err) == 0)
		return 0;
	for (i = 0; i < nr; i++)
		inject_close(todo[i]);
	return -1;
}

/* ---- closing */

/* To a stop from which the kernel's own restart logic goes on: only PTRACE_EVENT_STOP is one. */
static int stop_leader(struct inject *in)
{
	struct thread *leader = leader_of(in);

	if (remote_interrupt(leader, NULL) < 0)
		return -1;
	/* in another stop it has to leave that first, which runs nothing in user mode */
	if (in->phase != INJECT_SERVING && remote_go(leader, PTRACE_CONT, NULL) < 0)
		return -1;
	return remote_wait(leader, REMOTE_EVENT, PTRACE_CONT, NULL);
}

/* The mmap may have been made without our having seen its result (another process failed first). */
static int find_area(struct inject *in)
{
	struct arch_regs r;

	if (remote_get_regs(leader_of(in), &r, NULL) < 0)
		return -1;
	if (arch_ip(&r) == in->pad + arch_pad().call || arch_syscall_nr(&r) != SYS_mmap ||
	    (arch_syscall_result(&r) < 0 && arch_syscall_result(&r) > -4096))
		return 0;
	return note_area(in, arch_syscall_result(&r), NULL);
}

/* From a call in the pad to the munmap behind it, and to the stop we need behind that. */
static int finish_in_pad(struct inject *in)
{
	struct thread *leader = leader_of(in);

	if (remote_go(leader, PTRACE_SYSCALL, NULL) < 0 ||
	    remote_wait(leader, REMOTE_SYSCALL, PTRACE_SYSCALL, NULL) < 0 ||
	    remote_interrupt(leader, NULL) < 0 || remote_go(leader, PTRACE_CONT, NULL) < 0)
		return -1;
	return remote_wait(leader, REMOTE_EVENT, PTRACE_CONT, NULL);
}

/* Close the parasite's descriptors and unmap the area, from the pad. */
static int remove_area(struct inject *in)
{
	struct thread *leader = leader_of(in);
	const struct iovec iov = {.iov_base = leader->xstate, .iov_len = leader->xstate_len};
	int socks[2] = {-1, -1};
	int64_t result;

	if (in->is_written &&
	    inject_read(in, in->at.data + offsetof(struct wire_area, socks), socks, sizeof(socks),
			NULL) < 0)
		return -1;
	if (ptrace(PTRACE_SETREGSET, leader->tid, (void *)(uintptr_t)NT_X86_XSTATE, &iov) < 0)
		return -1;
	/* a serving parasite has closed the first itself */
	if (in->phase != INJECT_SERVING && socks[0] >= 0 &&
	    call_in_pad(in, SYS_close, (const uint64_t[6]){(uint64_t)socks[0]}, &result, NULL) < 0)
		return -1;
	if (call_in_pad(in, SYS_close, (const uint64_t[6]){(uint64_t)socks[1]}, &result, NULL) < 0)
		return -1;
	return finish_in_pad(in);
}

static int put_back(struct inject *in)
{
	struct thread *leader = leader_of(in);

	if (in->phase == INJECT_AT_PAD && find_area(in) < 0)
		return -1;
	if (in->area && remove_area(in) < 0)
		return -1;
	if (remote_set_mask(leader, leader->sigmask, NULL) < 0)
		return -1;
	return remote_set_regs(leader, &leader->regs, NULL);
}

/* A parasite that has not been asked anything may not even have closed the engine's end. */
static void wait_until_served(struct inject *in)
{
	struct wire_request nothing = {.op = 0};

	if (in->phase == INJECT_SERVING && in->seq == 0)
		(void)inject_request(in, &nothing, -1, NULL, NULL); /* refused, but answered */
}

static void send_held_signals(struct inject *in)
{
	for (int sig = 1; sig <= 64; sig++)
		if (in->held_signals >> (sig - 1) & 1)
			(void)syscall(SYS_tgkill, in->t->pid, leader_of(in)->tid, sig);
}

void inject_close(struct task *t)
{
	struct inject *in = t->inject;
	int saved = errno;

	if (!in)
		return;
	threads_bring_home(in);
	wait_until_served(in);
	if (in->phase != INJECT_NOTHING && in->phase != INJECT_LOST && leader_of(in)->is_seized) {
		if (stop_leader(in) == 0 && put_back(in) == 0)
			place_wipe(in);
		else if (leader_of(in)->is_seized)
			s_warn(in->s, "process %d: the parasite could not be taken out", t->pid);
		send_held_signals(in);
	} else if (in->phase == INJECT_NOTHING) {
		place_wipe(in);
	}
	seccomp_resume(in);
	if (in->sock >= 0)
		(void)close(in->sock);
	free(in->threads);
	free(in);
	t->inject = NULL;
	errno = saved;
}

tracee_addr inject_area(const struct task *t)
{
	return t->inject ? t->inject->area : 0;
}
