/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan of a dump's memory: the order in which the tasks are looked at (a parent before its
 * children, because pages are compared with the parent's), and the record made of it.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/io.h"
#include "lib/parallel.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define VDSO_MAX (1u << 20) /* two pages today */

/* Device of the kernel's own tmpfs, which has no mount point: that of any memfd. */
static int find_shm_dev(struct mem_save *m, struct stasis_error *err)
{
	scoped_fd int fd = memfd_create("stasis", MFD_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "memfd_create");
	m->shm_dev = st.st_dev;
	return 0;
}

/* A child of vfork() or clone(CLONE_VM) would come back with a copy. */
static void check_shared_mm(struct mem_save *m, struct task *t)
{
	struct stasis_error e;

	if (!t->parent || t->parent->state == TASK_ZOMBIE ||
	    syscall(SYS_kcmp, task_live_tid(t), task_live_tid(t->parent), KCMP_VM, 0, 0) != 0)
		return;
	(void)stasis_fail(&e, STASIS_E_UNSUPPORTED,
			  "memory shared with process %d (vfork or clone with CLONE_VM); wait until "
			  "it has called exec",
			  (int)t->parent->pid);
	e.pid = t->pid;
	if (m->obstacle)
		m->obstacle(m->obstacle_arg, t, -1, e.text);
	if (m->nr_obstacles++ == 0)
		m->first = e;
}

/* Now, while it is as the kernel made it: the engine's remote calls start from its unused end. */
static int read_vdso(struct mem_save *m, struct save_task *st, struct stasis_error *err)
{
	uint64_t len = st->vdso_end - st->vdso_start;

	if (len == 0)
		return 0;
	if (len > VDSO_MAX)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "vDSO of %llu bytes",
				   (unsigned long long)len);
	st->vdso = arena_alloc(&m->arena, len);
	if (!st->vdso)
		return stasis_fail(err, STASIS_E_NOMEM, "copy of the vDSO");
	return task_read_mem(st->t, st->vdso_start, st->vdso, len, err);
}

static int plan_task(struct mem_save *m, size_t task, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[task];

	st->sv = calloc(st->vmas.nr + 1, sizeof(*st->sv));
	if (!st->sv)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	for (size_t i = 0; i < st->vmas.nr; i++) {
		if (save_classify(m, task, i, err) < 0)
			return -1;
		if (st->sv[i].kind == STASIS__VMA_KIND__VMA_VDSO) {
			st->vdso_start = st->vmas.v[i].start;
			st->vdso_end = st->vmas.v[i].end;
		}
	}
	check_shared_mm(m, st->t);
	if (read_vdso(m, st, err) < 0)
		return -1;
	return save_find_pages(m, task, err);
}

static int fail_task(const struct task *t, struct stasis_error *err)
{
	if (err)
		err->pid = t->pid;
	return stasis_fail_prefix(err, "task %d (%s)", (int)t->pid, t->comm);
}

/* Of one task; the text takes the kernel long to make. */
static int list_mappings(void *arg, size_t task, struct stasis_error *err)
{
	struct mem_save *m = arg;
	struct save_task *st = &m->tasks[task];

	if (!task_is_saved(st->t) || vma_list_read(st->t->procfd, &st->vmas, err) == 0)
		return 0;
	return fail_task(st->t, err);
}

static int plan_all(struct mem_save *m, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	if (parallel_each(m->nr_tasks, list_mappings, m, err) < 0)
		return -1;
	tree_for_each(m->tree, i, t)
		if (task_is_saved(t) && plan_task(m, i, err) < 0)
			return fail_task(t, err);
	return 0;
}

static void close_pagemaps(struct mem_save *m)
{
	for (size_t i = 0; i < m->nr_tasks; i++)
		if (m->tasks[i].pagemap_fd >= 0) {
			(void)close(m->tasks[i].pagemap_fd); /* only read from */
			m->tasks[i].pagemap_fd = -1;
		}
}

static struct mem_save *new_plan(struct session *s, struct tree *tree, obstacle_fn obstacle,
				 void *arg)
{
	struct mem_save *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->s = s;
	m->tree = tree;
	m->obstacle = obstacle;
	m->obstacle_arg = arg;
	m->next_id = 1;
	m->tasks = calloc(tree->nr_tasks + 1, sizeof(*m->tasks));
	if (!m->tasks)
		return m;
	m->nr_tasks = tree->nr_tasks;
	for (size_t i = 0; i < m->nr_tasks; i++) {
		m->tasks[i].t = tree->tasks[i];
		m->tasks[i].pagemap_fd = -1;
	}
	return m;
}

static void mem_save_freep(struct mem_save **m)
{
	mem_save_free(*m);
}

int mem_save_plan(struct session *s, struct tree *tree, obstacle_fn obstacle, void *arg,
		  struct mem_save **ret, struct stasis_error *err)
{
	scoped(mem_save_freep) struct mem_save *m = new_plan(s, tree, obstacle, arg);

	if (!m || !m->tasks)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	if (find_shm_dev(m, err) < 0 || pagemap_init(s, &m->pm, err) < 0 || plan_all(m, err) < 0)
		return -1;
	close_pagemaps(m);
	if (m->nr_obstacles && !s->is_forced) {
		if (err)
			*err = m->first;
		return -1;
	}
	save_aio_settle(m);
	*ret = ptr_take(&m);
	return 0;
}

/* ---- the record ---- */

static void fill_stat(const struct task *t, Stasis__Mm *ret)
{
	const struct proc_stat *ps = &t->stat;

	ret->start_code = ps->start_code;
	ret->end_code = ps->end_code;
	ret->start_data = ps->start_data;
	ret->end_data = ps->end_data;
	ret->start_brk = ps->start_brk;
	ret->start_stack = ps->start_stack;
	ret->arg_start = ps->arg_start;
	ret->arg_end = ps->arg_end;
	ret->env_start = ps->env_start;
	ret->env_end = ps->env_end;
}

/* The break is not on a page boundary in general: only the task itself can say where it is. */
static int fill_brk(struct task *t, const struct save_task *st, Stasis__Mm *ret,
		    struct stasis_error *err)
{
	const struct parasite_thread *threads;
	const struct parasite_task *own;

	if (t->inject) {
		if (inject_collect(t, &own, &threads, err) < 0)
			return -1;
		ret->brk = own->brk;
		return 0;
	}
	ret->brk = ret->start_brk;
	for (size_t i = 0; i < st->vmas.nr; i++)
		if (st->vmas.v[i].path && strcmp(st->vmas.v[i].path, "[heap]") == 0)
			ret->brk = st->vmas.v[i].end;
	return 0;
}

static int fill_auxv(struct mem_save *m, const struct task *t, Stasis__Mm *ret,
		     struct stasis_error *err)
{
	ret->auxv.data = arena_memdup(&m->arena, t->auxv, t->auxv_len);
	ret->auxv.len = t->auxv_len;
	return ret->auxv.data ? 0 : stasis_fail(err, STASIS_E_NOMEM, "auxiliary vector");
}

static int fill_exe(struct mem_save *m, struct task *t, Stasis__Mm *ret, struct stasis_error *err)
{
	static const char deleted[] = " (deleted)";
	scoped_free char *path = proc_readlink(t->procfd, "exe", err);
	size_t len = path ? strlen(path) : 0;
	size_t tail = sizeof(deleted) - 1;
	struct stat st, at_path;

	if (!path)
		return -1;
	if (fstatat(t->procfd, "exe", &st, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "stat the executable '%s'", path);
	ret->exe = arena_alloc(&m->arena, sizeof(*ret->exe));
	if (!ret->exe)
		return stasis_fail(err, STASIS_E_NOMEM, "name of the executable");
	stasis__file_id__init(ret->exe);
	save_file_id(ret->exe, &st);
	ret->exe->deleted = task_stat_path(t, path, 0, &at_path) < 0 ||
			    at_path.st_dev != st.st_dev || at_path.st_ino != st.st_ino;
	if (ret->exe->deleted && len > tail && strcmp(path + len - tail, deleted) == 0)
		path[len - tail] = '\0';
	ret->exe->path = arena_strdup(&m->arena, path);
	return ret->exe->path ? 0 : stasis_fail(err, STASIS_E_NOMEM, "name of the executable");
}

static void fill_vma(struct mem_save *m, const struct vma *v, const struct save_vma *sv,
		     Stasis__Vma *ret)
{
	stasis__vma__init(ret);
	ret->start = v->start;
	ret->end = v->end;
	ret->prot = v->prot;
	ret->kind = sv->kind;
	ret->flags = v->flags;
	ret->pkey = (uint32_t)v->pkey;
	ret->pgoff = v->pgoff;
	ret->object = sv->object;
	ret->file_flags = sv->file_flags;
	if (sv->file != NO_FILE)
		ret->file = &m->files[sv->file].id;
	else if (v->path)
		ret->name = v->path;
}

static int fill_vmas(struct mem_save *m, const struct save_task *st, Stasis__Mm *ret,
		     struct stasis_error *err)
{
	Stasis__Vma *all = arena_alloc(&m->arena, st->vmas.nr * sizeof(*all) + 1);
	Stasis__Vma **list = arena_alloc(&m->arena, st->vmas.nr * sizeof(*list) + 1);

	if (!all || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "records of mappings");
	ret->vmas = list;
	for (size_t i = 0; i < st->vmas.nr; i++) {
		if (st->sv[i].is_skipped)
			continue;
		list[ret->n_vmas] = &all[ret->n_vmas];
		fill_vma(m, &st->vmas.v[i], &st->sv[i], &all[ret->n_vmas]);
		if (st->sv[i].kind == STASIS__VMA_KIND__VMA_AIO &&
		    save_aio_record(m, st, &st->vmas.v[i], &all[ret->n_vmas], err) < 0)
			return -1;
		ret->n_vmas++;
	}
	return 0;
}

static int fill_runs(struct mem_save *m, const struct run_list *runs,
		     Stasis__InheritedRun ***ret, size_t *ret_nr, struct stasis_error *err)
{
	size_t nr = runs->nr;
	Stasis__InheritedRun *all = arena_alloc(&m->arena, nr * sizeof(*all) + 1);
	Stasis__InheritedRun **list = arena_alloc(&m->arena, nr * sizeof(*list) + 1);

	if (!all || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "records of pages");
	for (size_t i = 0; i < nr; i++) {
		list[i] = &all[i];
		stasis__inherited_run__init(&all[i]);
		all[i].start = runs->v[i].addr;
		all[i].len = runs->v[i].len;
	}
	*ret = list;
	*ret_nr = nr;
	return 0;
}

int mem_save_record(struct mem_save *m, struct task *t, Stasis__Mm *ret, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[t->index];

	stasis__mm__init(ret);
	fill_stat(t, ret);
	if (fill_brk(t, st, ret, err) < 0 ||
	    fill_auxv(m, t, ret, err) < 0 || fill_exe(m, t, ret, err) < 0 ||
	    fill_vmas(m, st, ret, err) < 0)
		return -1;
	ret->vdso.data = st->vdso;
	ret->vdso.len = st->vdso_end - st->vdso_start;
	if (save_lock_future(st, &ret->lock_future, err) < 0 || save_policies(m, t, ret, err) < 0)
		return -1;
	if (fill_runs(m, &st->inherited, &ret->inherited, &ret->n_inherited, err) < 0)
		return -1;
	return fill_runs(m, &st->guards, &ret->guards, &ret->n_guards, err);
}
