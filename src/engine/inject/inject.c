/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gets the parasite into a stopped process; close.c gets it out again. The order of every step is such
 * that the engine may be killed after it: a thread that is let go by the kernel at that moment finds its
 * way home by the code its registers point to.
 *
 *  - Registers go first, then the signal mask. In the pad the program's own stack pointer is kept, so
 *    that a handler may run there; the pad blocks signals itself before it needs to.
 *  - Vector registers: the parasite saves and restores them itself.
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

int inject_to_pad(struct inject *in, size_t entry, long nr, const uint64_t args[6],
		  struct stasis_error *err)
{
	struct arch_regs r = inject_leader(in)->regs;

	arch_set_call(&r, in->pad + entry, nr, args);
	return remote_set_regs(inject_leader(in), &r, err);
}

static int begin_mmap(struct inject *in, int prot, struct stasis_error *err)
{
	const uint64_t args[6] = {0, in->at.len, (uint64_t)prot, MAP_PRIVATE | MAP_ANONYMOUS,
				  (uint64_t)-1, 0};

	if (inject_to_pad(in, arch_pad().call, SYS_mmap, args, err) < 0)
		return -1;
	in->phase = INJECT_AT_PAD;
	if (remote_set_mask(inject_leader(in), MASK_INSIDE, err) < 0)
		return -1;
	return remote_go(inject_leader(in), PTRACE_SYSCALL, err);
}

/* From the entry of a system call to its exit. */
static int pass_entry(struct inject *in, struct stasis_error *err)
{
	if (remote_wait(inject_leader(in), REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0)
		return -1;
	return remote_go(inject_leader(in), PTRACE_SYSCALL, err);
}

static int pass_exit(struct inject *in, int64_t *ret, struct stasis_error *err)
{
	struct arch_regs r;

	if (remote_wait(inject_leader(in), REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0 ||
	    remote_get_regs(inject_leader(in), &r, err) < 0)
		return -1;
	*ret = arch_syscall_result(&r);
	return 0;
}

static int fail_mmap(const struct inject *in, int64_t result, struct stasis_error *err)
{
	if (result == -ENOMEM)
		return stasis_fail(err, STASIS_E_NOMEM,
				   "process %d (%s) has no address space left for %zu KiB (see "
				   "ulimit -v, sysctl vm.max_map_count)",
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

int inject_note_area(struct inject *in, int64_t result, struct stasis_error *err)
{
	const struct arch_pad pad = arch_pad();

	if (result < 0 && result > -4096)
		return fail_mmap(in, result, err);
	in->area = (uint64_t)result;
	in->phase = INJECT_IN_AREA;
	return task_write_mem(in->t, in->pad + pad.area, &in->area, sizeof(in->area), err);
}

/* Another system call in the pad, with the area at stake: when we die the area goes. */
int inject_call_in_pad(struct inject *in, long nr, const uint64_t args[6], int64_t *ret,
		       struct stasis_error *err)
{
	if (inject_to_pad(in, arch_pad().finish, nr, args, err) < 0 ||
	    remote_go(inject_leader(in), PTRACE_SYSCALL, err) < 0 || pass_entry(in, err) < 0)
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
	    pass_exit(in, &result, err) < 0 || inject_note_area(in, result, err) < 0)
		return -1;
	args[0] = in->area + in->at.data;
	args[1] = in->at.len - in->at.data;
	args[2] = PROT_READ | PROT_WRITE;
	if (inject_call_in_pad(in, SYS_mprotect, args, &result, err) < 0)
		return -1;
	return result < 0 ? fail_mmap(in, result, err) : 0;
}

static int end_mmap(struct inject *in, struct stasis_error *err)
{
	int64_t result;

	if (pass_exit(in, &result, err) < 0)
		return -1;
	return is_denied(result) ? map_apart(in, err) : inject_note_area(in, result, err);
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
		.moving = inject_leader(in)->rseq_ptr,
		.moving_len = inject_leader(in)->rseq_ptr ? inject_leader(in)->rseq_len : 0,
		.may_gather = !inject_leader(in)->status.seccomp,
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
	struct arch_regs r = inject_leader(in)->regs;
	struct wire_blob head;

	memcpy(&head, stasis_parasite_blob_start, sizeof(head));
	if (write_area(in, err) < 0)
		return -1;
	arch_set_entry(&r, in->area + head.leader_entry, in->area + in->at.data);
	if (remote_set_regs(inject_leader(in), &r, err) < 0)
		return -1;
	return remote_go(inject_leader(in), PTRACE_SYSCALL, err);
}

static int take_line(struct inject *in, struct stasis_error *err)
{
	const struct timeval silence = {.tv_usec = RECEIVE_TIMEOUT_MS * 1000};

	if (inject_read(in, in->at.data + offsetof(struct wire_area, socks), in->its_socks,
			sizeof(in->its_socks), err) < 0)
		return -1;
	in->sock = task_get_fd(in->t, in->its_socks[0], err);
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
	if (take_line(in, err) < 0 || remote_go(inject_leader(in), PTRACE_CONT, err) < 0)
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
	*in = (struct inject){.s = s, .t = t, .sock = -1, .its_socks = {-1, -1}};
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
	if (t->inject || !task_is_saved(t))
		return 0;
	if (open_tasks(s, &t, 1, err) == 0)
		return 0;
	inject_close(&t, 1);
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
		if (!t->inject && task_is_saved(t))
			todo[nr++] = t;
	if (open_tasks(s, todo, nr, err) == 0)
		return 0;
	inject_close(todo, nr);
	return -1;
}

tracee_addr inject_area(const struct task *t)
{
	return t->inject ? t->inject->area : 0;
}
