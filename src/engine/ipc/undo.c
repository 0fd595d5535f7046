/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel adds to semaphores at the end of a process (SEM_UNDO). No interface shows these numbers,
 * but semop(2) tells by ERANGE when one would leave its bounds, before it does anything. So a process
 * is made to try operations that cannot succeed in any case: their last one would make a semaphore
 * negative. Either that (EAGAIN) or the bound (ERANGE) stops them, and nothing has changed.
 */
#include "ipc/ipc_priv.h"

#include "inject/inject.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* One call takes at most 500 operations (SEMOPM, sysctl kernel.sem); a semaphore needs up to four. */
enum { CHUNK = 100, MAX_OPS = 4 * CHUNK + 1, MAX_TRIES = 100 };

/* The set that is being looked at, as process t sees it. */
struct undo_probe {
	struct task *t;
	int32_t id;
	size_t nr;
	unsigned short *values;
};

/* A process that never used SEM_UNDO has no list, like this one of ours: kcmp(2) finds no difference. */
static pid_t idle_process(struct ipc_save *i)
{
	if (i->idle)
		return i->idle;
	i->idle = fork();
	if (i->idle == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* by our end of their lines the parasites know that we live */
		(void)syscall(SYS_close_range, 0, ~0u, 0);
		for (;;)
			(void)pause();
	}
	return i->idle;
}

void ipc_undo_done(struct ipc_save *i)
{
	if (i->idle <= 0)
		return;
	(void)kill(i->idle, SIGKILL);
	(void)waitpid(i->idle, NULL, 0);
	i->idle = 0;
}

static bool is_like(const struct task *t, pid_t pid)
{
	return syscall(SYS_kcmp, task_live_tid(t), pid, KCMP_SYSVSEM, 0, 0) == 0;
}

/* We have none either as a rule, which spares a process; no list is ours and the program's together. */
static bool has_list(struct ipc_save *i, const struct task *t)
{
	pid_t idle;

	if (is_like(t, getpid()))
		return false;
	idle = idle_process(i);
	return idle < 0 || !is_like(t, idle);
}

/* ---- trying ---- */

static void add(struct sembuf *ops, size_t *nr, size_t num, int op, int flags)
{
	if (op)
		ops[(*nr)++] = (struct sembuf){(unsigned short)num, (short)op, (short)(flags | IPC_NOWAIT)};
}

/* A positive number is moved up to its bound, a negative one down. */
static void add_move(const struct undo_probe *p, struct sembuf *ops, size_t *nr, size_t num, int by)
{
	if (by > 0) { /* 1..32767: taking away adds to the number */
		add(ops, nr, num, IPC_MAX_SEM_VALUE - p->values[num], 0);
		add(ops, nr, num, -by, SEM_UNDO);
		return;
	}
	add(ops, nr, num, -(int)p->values[num], 0);
	add(ops, nr, num, by < -IPC_MAX_SEM_VALUE ? IPC_MAX_SEM_VALUE : -by, SEM_UNDO);
	if (by >= -IPC_MAX_SEM_VALUE)
		return;
	add(ops, nr, num, -IPC_MAX_SEM_VALUE, 0);
	add(ops, nr, num, 1, SEM_UNDO);
}

/* 1: a bound was hit; 0: none; -1: *err; -2: not allowed to change the set, so it never did. */
static int try(const struct undo_probe *p, struct sembuf *ops, size_t nr, struct stasis_error *err)
{
	const uint64_t args[6] = {(uint64_t)p->id, 0, nr + 1};
	int64_t result;

	ops[nr] = (struct sembuf){ops[0].sem_num, -IPC_MAX_SEM_VALUE - 1, IPC_NOWAIT};
	if (inject_syscall_data(p->t, SYS_semop, args, 1u << 1, ops, (nr + 1) * sizeof(*ops), &result, err) < 0)
		return -1;
	if (result == -EAGAIN)
		return 0;
	if (result == -ERANGE)
		return 1;
	if (result == -EACCES || result == -EIDRM || result == -EINVAL)
		return -2;
	return stasis_fail(err, STASIS_E_INTERNAL, "semop on set %d gives %lld", p->id, (long long)result);
}

static int try_range(const struct undo_probe *p, size_t from, size_t to, int by, struct stasis_error *err)
{
	struct sembuf ops[MAX_OPS];
	size_t nr = 0;

	for (size_t num = from; num < to; num++)
		add_move(p, ops, &nr, num, by);
	return try(p, ops, nr, err);
}

/* The least move from 1 to `most` in that direction that hits the bound. */
static int find_bound(const struct undo_probe *p, size_t num, int most, int sign, int *ret,
		      struct stasis_error *err)
{
	int low = 1, high = most;

	while (low < high) {
		int mid = low + (high - low) / 2;
		int hit = try_range(p, num, num + 1, sign * mid, err);

		if (hit < 0)
			return hit;
		if (hit)
			high = mid;
		else
			low = mid + 1;
	}
	*ret = low;
	return 0;
}

static int number_of(const struct undo_probe *p, size_t num, int *ret, struct stasis_error *err)
{
	int up = try_range(p, num, num + 1, IPC_MAX_SEM_VALUE, err);
	int down = try_range(p, num, num + 1, -IPC_MAX_SEM_VALUE - 1, err);
	int bound;

	*ret = 0;
	if (up < 0 || down < 0)
		return up == -1 || down == -1 ? -1 : -2;
	if (up) {
		up = find_bound(p, num, IPC_MAX_SEM_VALUE, 1, &bound, err);
		if (up < 0)
			return up;
		*ret = IPC_MAX_SEM_VALUE + 1 - bound;
	} else if (down) {
		down = find_bound(p, num, IPC_MAX_SEM_VALUE + 1, -1, &bound, err);
		if (down < 0)
			return down;
		*ret = bound - IPC_MAX_SEM_VALUE - 2;
	}
	return 0;
}

/* ---- a set, a task ---- */

static int read_values(struct undo_probe *p, struct stasis_error *err)
{
	const uint64_t args[6] = {(uint64_t)p->id, 0, GETALL};
	int64_t result;

	if (inject_syscall_data(p->t, SYS_semctl, args, 1u << 3, p->values, p->nr * sizeof(*p->values), &result,
				err) < 0)
		return -1;
	return result < 0 ? -2 : 0;
}

static int append(struct ipc_save *i, Stasis__Process *ret, const struct undo_probe *p, size_t num, int value,
		  struct stasis_error *err)
{
	Stasis__SemUndo **list = arena_alloc(&i->arena, (ret->n_sem_undo + 1) * sizeof(*list));
	Stasis__SemUndo *u = arena_alloc(&i->arena, sizeof(*u));

	if (!list || !u)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for semaphores");
	for (size_t k = 0; k < ret->n_sem_undo; k++)
		list[k] = ret->sem_undo[k];
	stasis__sem_undo__init(u);
	u->id = p->id;
	u->num = (uint32_t)num;
	u->value = value;
	list[ret->n_sem_undo++] = u;
	ret->sem_undo = list;
	return 0;
}

/* What is others' too has been undone by the time of a restart, and taken by them. */
static int check_is_ours(const struct ipc_save *i, int32_t id, struct stasis_error *err)
{
	for (const struct ipc_saved *o = i->saved; o; o = o->next)
		if (ipc_type_of(o->rec) == IPC_SEM && o->rec->sysv->id == id && !o->rec->sysv->is_outside)
			return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "it has changed semaphore set %d with SEM_UNDO, and processes outside of those that "
			   "are saved use the set, too; wait until it has undone that",
			   id);
}

static int look_at_chunk(const struct undo_probe *p, size_t from, size_t to, int *numbers,
			 struct stasis_error *err)
{
	int up = try_range(p, from, to, IPC_MAX_SEM_VALUE, err);
	int down = up == -2 ? -2 : try_range(p, from, to, -IPC_MAX_SEM_VALUE - 1, err);
	int result = 0;

	if (up == -1 || down == -1)
		return -1;
	for (size_t num = from; result == 0 && (up > 0 || down > 0) && num < to; num++)
		result = number_of(p, num, &numbers[num], err);
	return result;
}

/* 1: done; 0: somebody else has changed a value meanwhile, which tells a bound where there is none; -2: may not
 * be looked at. */
static int look_once(struct undo_probe *p, unsigned short *again, int *numbers, struct stasis_error *err)
{
	unsigned short *before = p->values;
	int result = read_values(p, err);

	memset(numbers, 0, p->nr * sizeof(*numbers));
	for (size_t from = 0; result == 0 && from < p->nr; from += CHUNK)
		result = look_at_chunk(p, from, from + CHUNK < p->nr ? from + CHUNK : p->nr, numbers, err);
	if (result < 0)
		return result;
	p->values = again;
	result = read_values(p, err);
	p->values = before;
	if (result < 0)
		return result;
	return memcmp(before, again, p->nr * sizeof(*again)) == 0;
}

static int keep_numbers(struct ipc_save *i, const struct undo_probe *p, const int *numbers, Stasis__Process *ret,
			struct stasis_error *err)
{
	for (size_t num = 0; num < p->nr; num++)
		if (numbers[num] && (check_is_ours(i, p->id, err) < 0 ||
				     append(i, ret, p, num, numbers[num], err) < 0))
			return -1;
	return 0;
}

static int look_at_set(struct ipc_save *i, struct task *t, const struct ipc_row *row, Stasis__Process *ret,
		       struct stasis_error *err)
{
	scoped_free unsigned short *values = calloc(2 * row->size + 1, sizeof(*values));
	scoped_free int *numbers = calloc(row->size + 1, sizeof(*numbers));
	struct undo_probe p = {.t = t, .id = row->id, .nr = row->size, .values = values};
	int result = row->size > IPC_MAX_SEMAPHORES ? -2 : 0;

	if (!values || !numbers)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for semaphores");
	for (int tries = 0; result == 0 && tries < MAX_TRIES; tries++)
		result = look_once(&p, values + row->size, numbers, err);
	if (result == 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "semaphore set %d, on which it may have used SEM_UNDO, is changed by others all the "
				   "time; try again",
				   row->id);
	return result == -2 ? 0 : result < 0 ? -1 : keep_numbers(i, &p, numbers, ret, err);
}

static const struct ipc_space *space_of(const struct ipc_save *i, const struct task *t)
{
	const struct ipc_space *sp = i->spaces;
	struct stat st;

	if (fstatat(t->procfd, "ns/ipc", &st, 0) < 0)
		return NULL;
	while (sp && sp->ino != st.st_ino)
		sp = sp->next;
	return sp;
}

int ipc_save_undo(struct ipc_save *i, struct task *t, Stasis__Process *ret, struct stasis_error *err)
{
	const struct ipc_space *sp = i->spaces ? space_of(i, t) : NULL;
	bool may_have = false;

	for (size_t n = 0; sp && n < sp->rows.nr; n++)
		may_have |= sp->rows.v[n].type == IPC_SEM;
	if (!may_have || !has_list(i, t))
		return 0;
	for (size_t n = 0; n < sp->rows.nr; n++)
		if (sp->rows.v[n].type == IPC_SEM && look_at_set(i, t, &sp->rows.v[n], ret, err) < 0)
			return -1;
	return 0;
}

/* ---- restart, in the process itself ---- */

static int value_of(int32_t id, size_t num, struct stasis_error *err)
{
	union ipc_semun none = {0};
	int value = semctl(id, (int)num, GETVAL, none);

	return value < 0 ? stasis_fail_errno(err, STASIS_E_IO, "value of semaphore %zu of set %d", num, id) :
			   value;
}

static int operate(int32_t id, struct sembuf *ops, size_t nr, struct stasis_error *err)
{
	if (semop(id, ops, nr) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "change semaphore set %d", id);
	return 0;
}

/* By pairs of operations that leave the value, in steps for which there is room. */
int ipc_undo_set(const Stasis__SemUndo *u, struct stasis_error *err)
{
	int value = value_of(u->id, u->num, err), rest = u->value < 0 ? -u->value : u->value;
	bool goes_up = value < IPC_MAX_SEM_VALUE / 2;
	int room = goes_up ? IPC_MAX_SEM_VALUE - value : value;
	/* adding with SEM_UNDO makes the number less */
	bool is_first_counted = goes_up == (u->value < 0);

	for (int step; value >= 0 && rest; rest -= step) {
		struct sembuf ops[2];
		size_t nr = 0;

		step = rest < room ? rest : room;
		add(ops, &nr, u->num, goes_up ? step : -step, is_first_counted ? SEM_UNDO : 0);
		add(ops, &nr, u->num, goes_up ? -step : step, is_first_counted ? 0 : SEM_UNDO);
		if (operate(u->id, ops, nr, err) < 0)
			return -1;
	}
	return value < 0 ? -1 : 0;
}

int ipc_undo_touch(int32_t id, size_t num, struct stasis_error *err)
{
	int value = value_of(id, num, err), by = value < IPC_MAX_SEM_VALUE ? 1 : -1;
	struct sembuf ops[2];
	size_t nr = 0;

	if (value < 0)
		return -1;
	add(ops, &nr, num, by, 0);
	add(ops, &nr, num, -by, 0);
	return operate(id, ops, nr, err);
}
