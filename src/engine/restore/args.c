/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lays out the zone: the one area of a process that lives on while its memory is replaced. First the
 * shared page (the same in every process), then the restorer's code, then its arguments, all private.
 */
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <linux/sched/types.h> /* struct sched_attr; clashes with <sched.h> */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum {
	ARGS_ALIGN = 64,
	ARGS_SLACK_BYTES = 1 << 20, /* alignment, own small tables, the vDSO's copies */
	ARGS_MAX_GROUPS = 65536,
	ARGS_MAX_SPECIALS = 8,
	EXTRA_RANGES = 4,
};

#define TASK_SIZE_47 0x7ffffffff000ull /* end of what mmap() gives out unasked on x86-64 */

extern const uint8_t stasis_restorer_start[];
extern const uint32_t stasis_restorer_len;

/* Hands out the zone's private part piece by piece. */
struct zone {
	uint64_t at, end;
	bool is_full;
};

static size_t blob_bytes(void)
{
	return stasis_restorer_len;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

uint64_t args_blob_address(const struct restore *r)
{
	return mem_load_zone(r->mem) + r->shared_len;
}

static uint64_t args_address(const struct restore *r)
{
	return args_blob_address(r) + round_up(blob_bytes(), RESTORER_PAGE);
}

uint64_t args_thread_address(const struct restore *r, size_t k)
{
	return args_address(r) + round_up(sizeof(struct restorer_args), ARGS_ALIGN) +
	       k * sizeof(struct restorer_thread);
}

uint64_t args_gadget_address(const struct restore *r)
{
	static const uint8_t syscall_insn[] = {0x0f, 0x05};
	const uint8_t *p = memmem(stasis_restorer_start, blob_bytes(), syscall_insn,
				  sizeof(syscall_insn));

	return p ? args_blob_address(r) + (uint64_t)(p - stasis_restorer_start) : 0;
}

static size_t leader_bytes(const Stasis__Thread *th)
{
	return sizeof(struct restorer_thread) + RESTORER_STACK + 4 * ARGS_ALIGN +
	       th->affinity.len + th->creds->n_groups * sizeof(uint32_t);
}

static size_t proc_bytes(const struct restore *r, const struct restore_proc *p)
{
	size_t bytes = sizeof(struct restorer_args) + ARGS_SLACK_BYTES;

	if (!p->mm)
		return 0;
	bytes += p->mm->n_vmas * (sizeof(struct restorer_move) + sizeof(struct restorer_range)) * 2;
	bytes += p->fdtable->n_locks * sizeof(struct restorer_lock);
	bytes += p->process->n_timers * sizeof(struct restorer_timer);
	bytes += p->process->n_pending * RESTORER_SIGINFO;
	bytes += vdso_space(r, p) + 2 * RESTORER_PAGE;
	for (size_t k = 0; k < p->nr_threads; k++) {
		const Stasis__Thread *th = p->threads[k];

		bytes += sizeof(struct restorer_thread) + RESTORER_STACK + 4 * ARGS_ALIGN;
		bytes += th->n_pending * RESTORER_SIGINFO + th->affinity.len;
		bytes += th->creds->n_groups * sizeof(uint32_t);
		bytes += th->n_seccomp * sizeof(uint32_t) + ARGS_ALIGN;
		if (th->place)
			bytes += strlen(th->place->cwd) + strlen(th->place->root) + 4 * ARGS_ALIGN;
	}
	for (size_t i = 0; i < p->process->n_seccomp_filters; i++)
		bytes += p->process->seccomp_filters[i]->program.len +
			 sizeof(struct restorer_filter) + ARGS_ALIGN;
	if (p->process->leader)
		bytes += leader_bytes(p->process->leader);
	return bytes;
}

void args_plan(struct restore *r)
{
	size_t most = 0;

	for (size_t i = 0; i < r->nr; i++) {
		size_t bytes = proc_bytes(r, &r->procs[i]);

		if (bytes > most)
			most = bytes;
	}
	r->zone_bytes = r->shared_len + round_up(blob_bytes(), RESTORER_PAGE) +
			round_up(most, RESTORER_PAGE);
}

size_t args_zone_bytes(const struct restore *r)
{
	return r->zone_bytes;
}

static uint64_t take(struct zone *z, size_t len, size_t align)
{
	uint64_t at = round_up(z->at, align);

	if (at > z->end || len > z->end - at) {
		z->is_full = true;
		return 0;
	}
	z->at = at + len;
	return at;
}

static uint64_t put(struct zone *z, const void *bytes, size_t len)
{
	uint64_t at = take(z, len, ARGS_ALIGN);

	if (at && len)
		memcpy((void *)at, bytes, len);
	return at;
}

static int map_zone(struct restore *r, struct stasis_error *err)
{
	uint64_t start = args_blob_address(r);
	size_t len = args_zone_bytes(r) - r->shared_len;

	if (mmap((void *)start, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "map the restorer's zone");
	memcpy((void *)start, stasis_restorer_start, blob_bytes());
	if (mprotect((void *)start, round_up(blob_bytes(), RESTORER_PAGE), PROT_READ | PROT_EXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make the restorer executable");
	return 0;
}

static void fill_sched(const Stasis__Thread *th, struct restorer_thread *t)
{
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = th->sched_policy,
		.sched_flags = th->sched_flags,
		.sched_nice = th->sched_nice,
		.sched_priority = th->sched_priority,
		.sched_runtime = th->sched_runtime,
		.sched_deadline = th->sched_deadline,
		.sched_period = th->sched_period,
		.sched_util_min = th->sched_util_min,
		.sched_util_max = th->sched_util_max,
	};

	_Static_assert(sizeof(attr) <= sizeof(t->sched_attr), "struct sched_attr");
	memcpy(t->sched_attr, &attr, sizeof(attr));
}

static int put_pending(struct zone *z, const ProtobufCBinaryData *infos, size_t nr,
		       uint64_t *ret_at, struct stasis_error *err)
{
	uint64_t at = take(z, nr * RESTORER_SIGINFO, ARGS_ALIGN);

	for (size_t i = 0; at && i < nr; i++) {
		if (infos[i].len != RESTORER_SIGINFO)
			return stasis_fail(err, STASIS_E_CORRUPT, "a queued signal has %zu bytes",
					   infos[i].len);
		memcpy((void *)(at + i * RESTORER_SIGINFO), infos[i].data, RESTORER_SIGINFO);
	}
	*ret_at = at;
	return 0;
}

/* The call to sleep in: its own arguments, but for the time-out. */
static void fill_timed(struct zone *z, const Stasis__Thread *th, const struct arch_regs *regs,
		       struct restorer_thread *t)
{
	int64_t ts[2] = {(int64_t)(th->remaining_ns / 1000000000),
			 (int64_t)(th->remaining_ns % 1000000000)};
	uint64_t at;

	t->timed_nr = -1;
	if (!th->has_remaining)
		return;
	at = put(z, ts, sizeof(ts));
	for (unsigned i = 0; i < 6; i++)
		t->timed_args[i] = arch_syscall_arg(regs, i);
	switch (th->timed_nr) {
	case SYS_nanosleep:
		t->timed_args[0] = at;
		break;
	case SYS_clock_nanosleep:
		t->timed_args[2] = at;
		break;
	case SYS_futex:
		t->timed_args[3] = at;
		break;
	case SYS_poll:
		t->timed_args[2] = (th->remaining_ns + 999999) / 1000000;
		break;
	default:
		return; /* an image of somebody else's making: no such call is made */
	}
	t->timed_nr = th->timed_nr;
}

static int fill_thread_creds(struct restore *r, struct zone *z, const struct restore_proc *p,
			     const Stasis__Thread *th, struct restorer_thread *t, struct stasis_error *err)
{
	scoped_free uint32_t *groups = calloc(ARGS_MAX_GROUPS, sizeof(*groups));

	if (!groups)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for group ids");
	if (creds_fill(r, p, th, &t->creds, groups, ARGS_MAX_GROUPS, err) < 0)
		return -1;
	if (t->creds.nr_groups != RESTORER_KEEP_GROUPS)
		t->creds.groups = put(z, groups, t->creds.nr_groups * sizeof(*groups));
	return 0;
}

/* load.c made sure that they fit. */
static void fill_tids(const struct restore *r, const struct restore_proc *p, const Stasis__Thread *th,
		      struct restorer_thread *t)
{
	size_t nr_free = r->ns ? ns_load_free_levels(r->ns, p->index) : 1;

	for (size_t i = th->n_inner_tids; i-- > 0;)
		t->tids[t->nr_tids++] = th->inner_tids[i];
	t->tids[t->nr_tids++] = (int32_t)th->tid;
	if (nr_free >= t->nr_tids)
		return;
	t->placed_tid = (int32_t)th->tid;
	t->nr_tids = (uint32_t)nr_free;
}

uint32_t args_pdeath_signal(const struct restore *r, const struct restore_proc *p, size_t k)
{
	if (p->index && r->procs[p->parent].process->leader)
		return 0;
	return k ? p->threads[k]->pdeath_signal : SIGKILL;
}

/* What a thread that has ended still has. */
static int fill_ended(struct restore *r, struct zone *z, const struct restore_proc *p,
		      const Stasis__Thread *th, uint64_t args, struct restorer_thread *t,
		      struct stasis_error *err)
{
	t->args = args;
	t->stack_top = take(z, RESTORER_STACK, ARGS_ALIGN) + RESTORER_STACK;
	fill_tids(r, p, th, t);
	t->timed_nr = -1;
	fill_sched(th, t);
	t->affinity = put(z, th->affinity.data, th->affinity.len);
	t->affinity_len = (uint32_t)th->affinity.len;
	t->ioprio = th->ioprio;
	t->personality = th->personality;
	(void)snprintf(t->comm, sizeof(t->comm), "%s", th->comm);
	return fill_thread_creds(r, z, p, th, t, err);
}

static void fill_place(struct zone *z, const Stasis__Process *p, const Stasis__Thread *th,
		       struct restorer_thread *t)
{
	if (!th->place)
		return;
	t->cwd = put(z, th->place->cwd, strlen(th->place->cwd) + 1);
	if (strcmp(th->place->root, p->root) != 0)
		t->root = put(z, th->place->root, strlen(th->place->root) + 1);
	t->umask = th->place->umask;
}

static void fill_filters(const struct restore *r, struct zone *z, const Stasis__Thread *th,
			 struct restorer_thread *t)
{
	if (!seccomp_is_wanted(r, th))
		return;
	t->seccomp_mode = th->seccomp_mode;
	t->nr_filters = th->n_seccomp;
	t->filters = put(z, th->seccomp, th->n_seccomp * sizeof(th->seccomp[0]));
}

/* The programs that the threads' lists refer to. */
static void fill_programs(struct zone *z, const Stasis__Process *p, struct restorer_args *a)
{
	struct restorer_filter *list = (struct restorer_filter *)take(
		z, p->n_seccomp_filters * sizeof(*list), ARGS_ALIGN);

	for (size_t i = 0; list && i < p->n_seccomp_filters; i++) {
		const Stasis__SeccompFilter *f = p->seccomp_filters[i];

		list[i] = (struct restorer_filter){
			.insns = put(z, f->program.data, f->program.len),
			.nr_insns = (uint32_t)(f->program.len / sizeof(struct sock_filter)),
			.flags = f->flags,
		};
	}
	a->filters = (uint64_t)list;
}

/* As they are when a process confines itself before it makes threads. A leader that ends must not be
 * reached: it is not traced. */
static bool have_same_filters(const struct restore *r, const struct restore_proc *p)
{
	const Stasis__Thread *first = p->threads[0];

	if (!seccomp_is_wanted(r, first) || !first->n_seccomp || p->nr_threads < 2 ||
	    p->process->leader)
		return false;
	for (size_t k = 1; k < p->nr_threads; k++) {
		const Stasis__Thread *th = p->threads[k];

		if (th->n_seccomp != first->n_seccomp ||
		    th->creds->no_new_privs != first->creds->no_new_privs ||
		    memcmp(th->seccomp, first->seccomp, first->n_seccomp * sizeof(uint32_t)) != 0)
			return false;
	}
	return true;
}

static void fill_policy(const Stasis__Mm *mm, uint32_t tid, struct restorer_thread *t)
{
	for (size_t i = 0; i < mm->n_policies; i++)
		if (mm->policies[i]->tid == tid) {
			t->policy_mode = mm->policies[i]->mode;
			t->policy_nodes = mm->policies[i]->nodes;
		}
}

static int fill_thread(struct restore *r, struct zone *z, struct restore_proc *p, size_t k,
		       uint64_t args, struct stasis_error *err)
{
	struct restorer_thread *t = (struct restorer_thread *)args_thread_address(r, k);
	const Stasis__Thread *th = p->threads[k];
	struct arch_regs regs = restore_regs(p, k);

	if (fill_ended(r, z, p, th, args, t, err) < 0)
		return -1;
	t->altstack_sp = th->altstack_sp;
	t->altstack_size = th->altstack_size;
	t->altstack_flags = th->altstack_flags;
	t->robust_list = th->robust_list;
	t->robust_list_len = th->robust_list_len;
	t->clear_child_tid = th->clear_child_tid;
	t->rseq_ptr = th->rseq_ptr;
	t->rseq_len = th->rseq_len;
	t->rseq_sig = th->rseq_sig;
	fill_policy(p->mm, th->tid, t);
	t->timerslack_ns = th->timerslack_ns;
	t->pdeath_signal = args_pdeath_signal(r, p, k);
	t->mce_kill = th->mce_kill;
	t->tsc_mode = th->tsc_mode;
	t->io_flusher = th->io_flusher;
	t->nr_pending = (uint32_t)th->n_pending;
	fill_filters(r, z, th, t);
	fill_place(z, p->process, th, t);
	for (size_t i = 0; i < th->n_speculation && i < RESTORER_NR_SPECULATION; i++)
		t->speculation[i] = th->speculation[i];
	fill_timed(z, th, &regs, t);
	return put_pending(z, th->pending, th->n_pending, &t->pending, err);
}

/* A leader that has ended is the one behind the others; all there is to do for it is to end again. */
static int fill_leader(struct restore *r, struct zone *z, const struct restore_proc *p,
		       struct restorer_args *a, struct stasis_error *err)
{
	struct restorer_thread *t =
		(struct restorer_thread *)args_thread_address(r, p->nr_threads);

	if (!p->process->leader)
		return 0;
	if (fill_ended(r, z, p, p->process->leader, args_address(r), t, err) < 0)
		return -1;
	t->altstack_flags = SS_DISABLE;
	t->mce_kill = PR_MCE_KILL_DEFAULT;
	t->clear_child_tid = (uint64_t)&a->leader_lives;
	a->leader = (uint64_t)t;
	a->leader_lives = 1;
	a->leader_exit_code = p->process->leader_exit_status >> 8 & 0xff;
	return 0;
}

static int compare_timer_ids(const void *a, const void *b)
{
	int32_t x = ((const struct restorer_timer *)a)->id, y = ((const struct restorer_timer *)b)->id;

	return (x > y) - (x < y);
}

/* In the order of their ids: kernels before 6.15 can only count up to them. */
static void fill_timers(struct zone *z, const Stasis__Process *p, struct restorer_args *a)
{
	struct restorer_timer *timers =
		(struct restorer_timer *)take(z, p->n_timers * sizeof(*timers), ARGS_ALIGN);

	for (size_t i = 0; timers && i < p->n_timers; i++) {
		const Stasis__PosixTimer *t = p->timers[i];

		timers[i] = (struct restorer_timer){
			.id = t->id,
			.clock = t->clock,
			.notify = t->notify,
			.signo = t->signo,
			.notify_tid = t->notify_tid,
			.sigval = t->sigval,
			.value_ns = t->value_ns,
			.interval_ns = t->interval_ns,
		};
	}
	if (timers && p->n_timers)
		qsort(timers, p->n_timers, sizeof(*timers), compare_timer_ids);
	a->timers = (uint64_t)timers;
	a->nr_timers = p->n_timers;
	for (size_t i = 0; i < p->n_itimers; i++)
		if (p->itimers[i]->which < 3)
			a->itimers[p->itimers[i]->which] = (struct restorer_itimer){
				p->itimers[i]->interval_us, p->itimers[i]->value_us};
}

static void fill_locks(const struct restore *r, struct zone *z, const struct restore_proc *p,
		       struct restorer_args *a)
{
	pid_t pid = (pid_t)p->process->pid;
	struct restorer_lock *list = (struct restorer_lock *)take(
		z, p->fdtable->n_locks * sizeof(*list), ARGS_ALIGN);
	struct fd_lock lock;

	a->process_index = p->index;
	a->locks = (uint64_t)list;
	for (size_t at = 0; list && (at = fd_load_next_lock(r->fds, pid, at, &lock)) != 0;)
		list[a->nr_locks++] = (struct restorer_lock){
			.start = lock.range.l_start,
			.len = lock.range.l_len,
			.fd = lock.fd,
			.type = lock.range.l_type,
			.index = lock.index,
		};
}

/* The kernel counts a new process's processor time from zero: what has been used is taken off. */
static void take_used_cpu(const Stasis__Process *p, uint64_t limit[2])
{
	const uint64_t used_s = (p->utime_ns + p->stime_ns) / 1000000000;

	for (int i = 0; i < 2; i++)
		if (limit[i] != RLIM_INFINITY)
			limit[i] = limit[i] > used_s ? limit[i] - used_s : 1;
}

/* A limit above our own hard limit needs CAP_SYS_RESOURCE: without it ours is the most there is. */
bool args_limit(struct restore *r, const struct restore_proc *p, const Stasis__Rlimit *l,
		uint64_t ret[2])
{
	bool may_raise = r->own_caps >> CAP_SYS_RESOURCE & 1 && !ns_load_has_user(r->ns, p->index);
	struct rlimit own;

	if (l->resource >= RESTORER_NLIMITS || getrlimit((int)l->resource, &own) < 0)
		return false;
	ret[0] = l->cur;
	ret[1] = l->max;
	if (l->resource == RLIMIT_CPU)
		take_used_cpu(p->process, ret);
	if (l->max > own.rlim_max && !may_raise) {
		s_info(r->s, "%s(%u): limit %u stays at this session's hard limit", p->process->comm,
		       p->process->pid, l->resource);
		ret[1] = own.rlim_max;
		if (l->cur > own.rlim_max)
			ret[0] = own.rlim_max;
	}
	return true;
}

static void fill_rlimits(struct restore *r, struct zone *z, const struct restore_proc *proc,
			 struct restorer_args *a)
{
	const Stasis__Process *p = proc->process;
	uint64_t limits[RESTORER_NLIMITS][2] = {{0}};

	for (size_t i = 0; i < p->n_rlimits; i++)
		if (args_limit(r, proc, p->rlimits[i], limits[p->rlimits[i]->resource % RESTORER_NLIMITS]))
			a->rlimits_mask |= 1u << p->rlimits[i]->resource;
	a->rlimits = put(z, limits, sizeof(limits));
}

static void fill_mm(struct zone *z, const Stasis__Mm *mm, const struct args_fds *fds,
		    struct restorer_args *a)
{
	struct prctl_mm_map map = {
		.start_code = mm->start_code,
		.end_code = mm->end_code,
		.start_data = mm->start_data,
		.end_data = mm->end_data,
		.start_brk = mm->start_brk,
		.brk = mm->brk,
		.start_stack = mm->start_stack,
		.arg_start = mm->arg_start,
		.arg_end = mm->arg_end,
		.env_start = mm->env_start,
		.env_end = mm->env_end,
		.auxv_size = (uint32_t)mm->auxv.len,
		.exe_fd = (uint32_t)fds->exe,
	};

	map.auxv = (void *)put(z, mm->auxv.data, mm->auxv.len);
	a->mm_map = put(z, &map, sizeof(map));
	a->mm_map_len = sizeof(map);
	a->exe_fd = fds->exe;
	a->pids_for_children_fd = fds->pids_for_children;
}

static void fill_future(const struct restore_proc *p, struct restorer_args *a)
{
	/* an image of before the flags knew yes or no */
	a->thp_disable = p->mm->thp_disable ? p->mm->thp_disable | 1 : (uint32_t)p->process->thp_disable;
	a->lock_future = p->mm->lock_future & (MCL_FUTURE | MCL_ONFAULT);
}

static void fill_sigactions(const Stasis__Process *p, struct restorer_args *a)
{
	for (size_t i = 0; i < p->n_sigactions; i++) {
		const Stasis__SigAction *sa = p->sigactions[i];

		if (sa->signo >= 1 && sa->signo <= RESTORER_NSIG)
			a->sigactions[sa->signo - 1] = (struct restorer_sigaction){
				sa->handler, sa->flags, sa->restorer, sa->mask};
	}
}

static int fill_ranges(struct restore *r, struct zone *z, struct restore_proc *p,
		       struct restorer_args *a, struct stasis_error *err)
{
	scoped_free struct mem_range *keep = NULL;
	struct restorer_range *ranges;
	size_t nr, at = 0;
	struct mem_range zone = {a->zone, a->zone + a->zone_len};

	if (mem_load_keep(r->mem, p->index, &keep, &nr, err) < 0)
		return -1;
	ranges = (struct restorer_range *)take(z, (nr + EXTRA_RANGES) * sizeof(*ranges), ARGS_ALIGN);
	if (!ranges)
		return 0; /* noticed by the caller */
	for (size_t i = 0; i <= nr; i++) {
		if (zone.start && (i == nr || keep[i].start > zone.start)) {
			ranges[at++] = (struct restorer_range){zone.start, zone.end};
			zone.start = 0;
		}
		if (i < nr)
			ranges[at++] = (struct restorer_range){keep[i].start, keep[i].end};
	}
	a->ranges = (uint64_t)ranges;
	a->nr_ranges = at;
	return 0;
}

static int fill_moves(struct restore *r, struct zone *z, struct restore_proc *p,
		      struct restorer_args *a, struct stasis_error *err)
{
	struct restorer_special specials[ARGS_MAX_SPECIALS];
	scoped_free struct mem_move *moves = NULL;
	struct restorer_move *list, patch;
	uint64_t space = take(z, vdso_space(r, p), RESTORER_PAGE);
	size_t nr, nr_specials;
	bool has_patch;

	if (!space || mem_load_moves(r->mem, p->index, &moves, &nr, err) < 0 ||
	    vdso_plan(r, p, space, specials, ARGS_MAX_SPECIALS, &nr_specials, &patch, &has_patch,
		      err) < 0)
		return -1;
	list = (struct restorer_move *)take(z, (nr + 1) * sizeof(*list), ARGS_ALIGN);
	for (size_t i = 0; list && i < nr; i++)
		list[i] = (struct restorer_move){
			.from = moves[i].from,
			.to = moves[i].to,
			.len = moves[i].len,
			.advice = (uint32_t)moves[i].advice,
		};
	if (list && has_patch)
		list[nr++] = patch;
	a->moves = (uint64_t)list;
	a->nr_moves = nr;
	a->specials = put(z, specials, nr_specials * sizeof(specials[0]));
	a->nr_specials = nr_specials;
	return 0;
}

static void fill_process(struct restore *r, const Stasis__Process *p, struct restorer_args *a)
{
	a->control = mem_load_zone(r->mem);
	a->zone = a->control;
	a->zone_len = args_zone_bytes(r);
	a->task_size = TASK_SIZE_47;
	a->has_timer_restore = r->s->caps.has_timer_restore;
	a->dumpable = p->dumpable;
	a->child_subreaper = p->child_subreaper;
	a->mdwe = p->mdwe;
	a->memory_merge = p->memory_merge;
	if (p->memory_merge && !(r->own_caps >> CAP_SYS_RESOURCE & 1))
		s_warn(r->s, "%s(%u): memory is not merged any more (PR_SET_MEMORY_MERGE): that needs "
			     "CAP_SYS_RESOURCE",
		       p->comm, p->pid);
	fill_sigactions(p, a);
}

int args_build(struct restore *r, struct restore_proc *p, const struct args_fds *fds, uint64_t *ret_args,
	       uint64_t *ret_stack, struct stasis_error *err)
{
	struct restorer_args *a = (struct restorer_args *)args_address(r);
	struct zone z = {.end = mem_load_zone(r->mem) + args_zone_bytes(r)};

	if (map_zone(r, err) < 0)
		return -1;
	z.at = args_thread_address(r, p->nr_threads + (p->process->leader != NULL));
	fill_process(r, p->process, a);
	a->threads = args_thread_address(r, 0);
	a->nr_threads = p->nr_threads;
	for (size_t k = 0; k < p->nr_threads; k++)
		if (fill_thread(r, &z, p, k, args_address(r), err) < 0)
			return -1;
	if (fill_leader(r, &z, p, a, err) < 0)
		return -1;
	fill_programs(&z, p->process, a);
	a->syncs_filters = have_same_filters(r, p);
	fill_timers(&z, p->process, a);
	fill_locks(r, &z, p, a);
	fill_rlimits(r, &z, p, a);
	fill_mm(&z, p->mm, fds, a);
	fill_future(p, a);
	a->nr_pending = p->process->n_pending;
	if (put_pending(&z, p->process->pending, p->process->n_pending, &a->pending, err) < 0 ||
	    fill_ranges(r, &z, p, a, err) < 0 || fill_moves(r, &z, p, a, err) < 0)
		return -1;
	if (z.is_full)
		return stasis_fail(err, STASIS_E_INTERNAL, "the restorer's zone is too small");
	*ret_args = args_address(r);
	*ret_stack = ((struct restorer_thread *)(a->leader ? a->leader : a->threads))->stack_top;
	return 0;
}
