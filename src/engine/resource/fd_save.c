/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors of a whole dump: lists them, finds which are one description, has each description
 * saved by its kind once, and writes tables and records. Keeps all obstacles, so that a user learns of
 * them at once.
 */
#include "lib/parallel.h"
#include "resource/resource_priv.h"

#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>

void *fd_save_alloc(struct fd_save *c, size_t len)
{
	return arena_alloc(&c->arena, len);
}

char *fd_save_strdup(struct fd_save *c, const char *text)
{
	return arena_strdup(&c->arena, text);
}

void fd_save_report(struct fd_save *c, struct task *t, int fd, const char *text,
		    enum stasis_errclass cls)
{
	struct stasis_error full;

	if (fd >= 0)
		(void)stasis_fail(&full, cls, "%s(%d) fd %d: %s", t->comm, t->pid, fd, text);
	else
		(void)stasis_fail(&full, cls, "%s(%d): %s", t->comm, t->pid, text);
	full.pid = t->pid;
	/* one that passes is none to speak of beside one that stays */
	if (!c->nr_obstacles++ || (c->first_obstacle.cls == STASIS_E_BUSY && cls != STASIS_E_BUSY))
		c->first_obstacle = full;
	if (c->obstacle)
		c->obstacle(c->obstacle_arg, t, fd, text);
	else if (c->s->is_forced)
		s_warn(c->s, "%s", full.text);
}

static long same_table(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_FILES, 0, 0) == 0;
}

/* A table of descriptors belongs to one process, all its threads included, in what we restore. */
static void check_tables(struct fd_save *c, struct task *t)
{
	char text[160];

	for (size_t i = 1; i < t->nr_threads; i++) {
		if (syscall(SYS_kcmp, t->threads[0].tid, t->threads[i].tid, KCMP_FILES, 0, 0) <= 0)
			continue;
		(void)snprintf(text, sizeof(text),
			       "thread %d has a descriptor table of its own (unshare or clone), "
			       "which is not supported; create it with CLONE_FILES",
			       t->threads[i].tid);
		fd_save_report(c, t, -1, text, STASIS_E_UNSUPPORTED);
	}
	if (!t->parent || t->parent->state == TASK_ZOMBIE || !same_table(task_live_tid(t), task_live_tid(t->parent)))
		return;
	(void)snprintf(text, sizeof(text),
		       "shares its descriptor table with process %d (CLONE_FILES or vfork), which is "
		       "not supported; wait until it has called exec or unshare",
		       t->parent->pid);
	fd_save_report(c, t, -1, text, STASIS_E_UNSUPPORTED);
}

static int list_task(void *arg, size_t i, struct stasis_error *err)
{
	struct fd_save *c = arg;
	struct task *t = c->tree->tasks[i];

	return t->state == TASK_ZOMBIE ? 0 : probe_list(t, &c->lists[i], err);
}

/* One after the other, as the tasks are. */
static int join_lists(struct fd_save *c, struct stasis_error *err)
{
	size_t nr = 0;

	for (size_t i = 0; i < c->tree->nr_tasks; i++)
		nr += c->lists[i].nr;
	c->entries = calloc(nr + 1, sizeof(*c->entries));
	if (!c->entries)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	for (size_t i = 0; i < c->tree->nr_tasks; i++) {
		struct fd_list *l = &c->lists[i];

		c->task_first[i] = c->nr_entries;
		if (l->nr)
			memcpy(c->entries + c->nr_entries, l->entries, l->nr * sizeof(*l->entries));
		c->nr_entries += l->nr;
		free(l->entries);
		l->entries = NULL;
	}
	c->task_first[c->tree->nr_tasks] = c->nr_entries;
	return 0;
}

/*
 * What the new program is to find is 0, 1 and 2. A file that this one writes to is kept, too, so that a restart can
 * cut it back; the new program opens it by itself. Its other descriptors are its own affair.
 */
static void choose_of_stand_in(struct fd_save *c, const struct task *t)
{
	for (size_t i = c->task_first[t->index]; i < c->task_first[t->index + 1]; i++) {
		struct fd_entry *e = &c->entries[i];
		char name[24];
		struct stat st;

		e->is_cloexec = e->fd > STDERR_FILENO;
		if (!e->is_cloexec)
			continue;
		(void)snprintf(name, sizeof(name), "fd/%d", e->fd);
		e->is_ignored = (e->flags & O_ACCMODE) == O_RDONLY || e->flags & O_PATH ||
				fstatat(t->procfd, name, &st, 0) < 0 || !S_ISREG(st.st_mode) ||
				!st.st_nlink;
	}
}

static int list_all(struct fd_save *c, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	c->lists = calloc(c->tree->nr_tasks + 1, sizeof(*c->lists));
	c->task_first = calloc(c->tree->nr_tasks + 1, sizeof(*c->task_first));
	if (!c->lists || !c->task_first)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	c->nr_lists = c->tree->nr_tasks;
	if (parallel_each(c->tree->nr_tasks, list_task, c, err) < 0 || join_lists(c, err) < 0)
		return -1;
	tree_for_each(c->tree, i, t)
		if (t->state != TASK_ZOMBIE) {
			if (t->stand_in)
				choose_of_stand_in(c, t);
			check_tables(c, t);
		}
	return 0;
}

static void free_lists(struct fd_save *c)
{
	for (size_t i = 0; i < c->nr_lists; i++) {
		free(c->lists[i].entries);
		arena_done(&c->lists[i].arenas[0]);
		arena_done(&c->lists[i].arenas[1]);
	}
	free(c->lists);
}

static struct task *find_task(struct tree *tree, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->pid == pid)
			return t;
	return NULL;
}

static int apply_choices(struct fd_save *c, const struct stasis_fd_choice *choices, size_t nr,
			 struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++) {
		const struct stasis_fd_choice *choice = &choices[i];
		struct task *t = find_task(c->tree, choice->pid);
		struct fd_entry *e = t ? fd_save_find(c, t, choice->fd) : NULL;

		if (!e)
			return stasis_fail(err, STASIS_E_USAGE, "process %d has no descriptor %d",
					   choice->pid, choice->fd);
		e->is_ignored = choice->action == STASIS_FD_IGNORE;
		e->wants_copy = choice->action == STASIS_FD_COPY;
	}
	return 0;
}

/* Ignored descriptors count when ends of pipes are looked for, but their descriptions are saved only
 * for the sake of others. */
static void mark_used(struct fd_save *c)
{
	for (size_t i = 0; i < c->nr_entries; i++) {
		struct fd_entry *e = &c->entries[i];

		if (!e->is_ignored)
			e->desc->is_used = true;
		if (e->wants_copy)
			e->desc->wants_copy = true;
	}
}

/* Who gets SIGIO (F_SETOWN) and with which signal (F_SETSIG). */
static void save_owner(const struct fd_probe *p, Stasis__Description *rec)
{
	struct f_owner_ex owner = {0};
	int sig;

	if (p->local_fd < 0 || p->is_path)
		return;
	if (fcntl(p->local_fd, F_GETOWN_EX, &owner) == 0 && owner.pid > 0) {
		rec->owner_type = (uint32_t)owner.type;
		rec->owner_pid = tree_vpid_of(p->task->tree, owner.pid);
	}
	sig = fcntl(p->local_fd, F_GETSIG);
	if (sig > 0)
		rec->owner_sig = (uint32_t)sig;
}

static int save_forced(struct fd_save *c, struct fd_desc *d, const char *what,
		       struct stasis_error *err)
{
	Stasis__Unsupported *u = fd_save_alloc(c, sizeof(*u));

	if (!u)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	stasis__unsupported__init(u);
	u->what = fd_save_strdup(c, what);
	if (!u->what)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	d->rec.kind_case = STASIS__DESCRIPTION__KIND_UNSUPPORTED;
	d->rec.unsupported = u;
	return 0;
}

/* An obstacle of one description: kept, reported, and with -F lived with. */
static int take_obstacle(struct fd_save *c, struct fd_desc *d, struct stasis_error *why,
			 struct stasis_error *err)
{
	if (d->first->local_fd >= 0)
		(void)stasis_fail_prefix(why, "descriptor in flight in a socket");
	if (why->cls != STASIS_E_UNSUPPORTED && why->cls != STASIS_E_DENIED &&
	    !(why->cls == STASIS_E_BUSY && c->s->is_patient)) {
		if (err)
			*err = *why;
		return -1;
	}
	d->obstacle = fd_save_strdup(c, why->text);
	if (!d->obstacle)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	fd_save_report(c, d->first->task, d->first->fd, why->text, why->cls);
	if (d->rec.kind_case != STASIS__DESCRIPTION__KIND__NOT_SET)
		return 0;
	return save_forced(c, d, why->text, err);
}

static const struct resource_kind *match_kind(const struct fd_probe *p)
{
	size_t i = 0;

	while (!resource_kinds[i]->match(p)) /* the last one matches everything */
		i++;
	return resource_kinds[i];
}

static int save_probed(struct fd_save *c, struct fd_desc *d, const struct fd_probe *p,
		       struct stasis_error *err)
{
	struct stasis_error why;

	d->kind = match_kind(p);
	save_owner(p, &d->rec);
	if (d->kind->save(c->s, c, p, &d->rec, &why) < 0)
		return take_obstacle(c, d, &why, err);
	return 0;
}

/* Look at a description and save it, unless it is an end of a pipe: these are first counted. */
static int save_desc(struct fd_save *c, struct fd_desc *d, struct stasis_error *err)
{
	scoped(probe_closep) struct fd_probe *p = NULL;

	d->rec.flags = d->first->flags;
	d->rec.pos = d->first->pos;
	if (probe_open(c, d, &p, err) < 0)
		return -1;
	if (!d->is_counted && pipe_count(c, d, err) < 0)
		return -1;
	d->is_counted = true;
	if (d->pipe || !d->is_used)
		return 0;
	d->is_saved = true;
	return save_probed(c, d, p, err);
}

static int save_pipe(struct fd_save *c, struct fd_desc *d, struct stasis_error *err)
{
	scoped(probe_closep) struct fd_probe *p = NULL;

	if (probe_open(c, d, &p, err) < 0)
		return -1;
	return save_probed(c, d, p, err);
}

static int fail_at(const struct fd_desc *d, struct stasis_error *err)
{
	const struct fd_entry *e = d->first;

	return stasis_fail_prefix(err, "%s(%d) fd %d", e->task->comm, e->task->pid, e->fd);
}

static bool wants_save(const struct fd_desc *d)
{
	return !d->is_counted || (d->is_used && !d->is_saved && !d->pipe);
}

/* Not for what could not be saved at all. */
static int settle_all(struct fd_save *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		struct fd_desc *d = c->descs[i];
		struct stasis_error why;

		if (!d->is_saved || !d->kind->settle || d->kind->tag != d->rec.kind_case ||
		    d->kind->settle(c->s, c, d, &why) == 0)
			continue;
		if (take_obstacle(c, d, &why, err) < 0)
			return fail_at(d, err);
	}
	return 0;
}

/* Saving one may add others to the list, or make use of one that was passed over: again then. */
static int save_all(struct fd_save *c, struct stasis_error *err)
{
	for (bool is_done = false; !is_done;) {
		is_done = true;
		for (size_t i = 0; i < c->nr_descs; i++) {
			if (!wants_save(c->descs[i]))
				continue;
			is_done = false;
			if (save_desc(c, c->descs[i], err) < 0)
				return fail_at(c->descs[i], err);
		}
	}
	pipe_find_holders(c);
	for (size_t i = 0; i < c->nr_descs; i++)
		if (c->descs[i]->pipe && c->descs[i]->is_used &&
		    save_pipe(c, c->descs[i], err) < 0)
			return fail_at(c->descs[i], err);
	return settle_all(c, err);
}

static int collect(struct fd_save *c, const struct stasis_fd_choice *choices, size_t nr_choices,
		   struct stasis_error *err)
{
	if (list_all(c, err) < 0 || apply_choices(c, choices, nr_choices, err) < 0 ||
	    sharing_find(c, err) < 0)
		return -1;
	mark_used(c);
	if (save_all(c, err) < 0 || locks_save(c, err) < 0)
		return -1;
	if (c->nr_obstacles && !c->s->is_forced) {
		if (err)
			*err = c->first_obstacle;
		return -1;
	}
	return 0;
}

static void fd_save_freep(struct fd_save **c)
{
	fd_save_free(*c);
}

int fd_save_collect(struct session *s, struct tree *tree, const struct stasis_fd_choice *choices,
		    size_t nr_choices, fd_obstacle_fn obstacle, void *obstacle_arg,
		    const struct object_source *objects, struct fd_save **ret,
		    struct stasis_error *err)
{
	scoped(fd_save_freep) struct fd_save *c = calloc(1, sizeof(*c));

	if (!c)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	c->s = s;
	c->tree = tree;
	c->objects = *objects;
	c->obstacle = obstacle;
	c->obstacle_arg = obstacle_arg;
	c->scratch[0] = c->scratch[1] = -1;
	c->copies_dirfd = -1;
	c->probe = fd_save_alloc(c, sizeof(*c->probe));
	if (!c->probe)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	c->probe->local_fd = -1;
	if (collect(c, choices, nr_choices, err) < 0)
		return -1;
	*ret = ptr_take(&c);
	return 0;
}

/* ---- writing ---- */

static int put_table(struct fd_save *c, const struct task *t, struct image_writer *w,
		     struct stasis_error *err)
{
	size_t first = c->task_first[t->index], nr = c->task_first[t->index + 1] - first;
	scoped_free Stasis__Fd *fds = calloc(nr + 1, sizeof(*fds));
	scoped_free Stasis__Fd **list = calloc(nr + 1, sizeof(Stasis__Fd *));
	Stasis__FdTable table = STASIS__FD_TABLE__INIT;

	if (!fds || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu descriptors", nr);
	for (size_t i = 0; i < nr; i++) {
		const struct fd_entry *e = &c->entries[first + i];
		Stasis__Fd *fd = &fds[table.n_fds];

		if (e->is_ignored)
			continue;
		stasis__fd__init(fd);
		fd->fd = (uint32_t)e->fd;
		fd->cloexec = e->is_cloexec;
		fd->desc = e->desc->rec.id;
		list[table.n_fds++] = fd;
	}
	table.fds = list;
	if (!t->stand_in && locks_save_table(c, t, &table, err) < 0)
		return -1;
	return image_put_record(w, IMAGE_TAG_FDTABLE, &table.base, err);
}

/* A description with all it refers to, each once in a file. */
static int put_desc(struct fd_save *c, struct task *t, struct fd_desc *d, struct image_writer *w,
		    struct stasis_error *err)
{
	const struct resource_kind *kind = d->kind;

	if (d->written == t->index + 1)
		return 0;
	d->written = t->index + 1;
	if (image_put_record(w, IMAGE_TAG_DESCRIPTION, &d->rec.base, err) < 0)
		return -1;
	if (kind && kind->write && kind->tag == d->rec.kind_case &&
	    kind->write(c->s, c, t, d, w, err) < 0)
		return -1;
	for (size_t i = 0; i < d->nr_refers; i++)
		if (put_desc(c, t, d->refers[i], w, err) < 0)
			return -1;
	return 0;
}

int fd_save_write(struct fd_save *c, struct task *t, struct image_writer *w,
		  struct stasis_error *err)
{
	if (put_table(c, t, w, err) < 0)
		return -1;
	for (size_t i = c->task_first[t->index]; i < c->task_first[t->index + 1]; i++) {
		struct fd_entry *e = &c->entries[i];

		if (!e->is_ignored && put_desc(c, t, e->desc, w, err) < 0)
			return stasis_fail_prefix(err, "%s(%d) fd %d", t->comm, t->pid, e->fd);
	}
	return 0;
}

void fd_save_free(struct fd_save *c)
{
	int saved = errno;

	if (!c)
		return;
	pipe_objects_free(c);
	tcp_save_free(c);
	unix_save_done(c);
	mqueue_save_done(c);
	for (size_t i = 0; i < c->nr_descs; i++) {
		scoped_close_fd(&c->descs[i]->first->local_fd);
		free(c->descs[i]->refers);
		free(c->descs[i]->rec.refers);
	}
	scoped_close_fd(&c->scratch[0]);
	scoped_close_fd(&c->scratch[1]);
	scoped_close_fd(&c->copies_dirfd);
	free_lists(c);
	free(c->entries);
	free(c->task_first);
	free(c->descs);
	arena_done(&c->arena);
	free(c);
	errno = saved;
}
