/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which System V objects belong to a tree, and their records. In an IPC namespace of the tree's own it is
 * every one. In one that it shares with the machine: shared memory by its attachments and its creator;
 * sets and queues by who used them last or waits for them.
 */
#include "ipc/ipc_priv.h"

#include "lib/io.h"
#include "lib/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

enum { MAX_RECORD = 64 << 20, TEXT_BYTES = 240 };

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for System V objects");
}

static uint64_t ns_inode(int procfd)
{
	struct stat st;

	return fstatat(procfd, "ns/ipc", &st, 0) < 0 ? 0 : st.st_ino;
}

static struct ipc_space *find_space(const struct ipc_save *i, uint64_t ino)
{
	struct ipc_space *sp = i->spaces;

	while (sp && sp->ino != ino)
		sp = sp->next;
	return sp;
}

/* ---- reading in a namespace: results come back in a file ---- */

struct job {
	const struct ipc_wish *wishes; /* NULL: the tables */
	size_t nr;
	int fd;
};

static int run_job(void *arg, struct stasis_error *err)
{
	struct job *j = arg;
	struct ipc_rows rows;
	int result;

	if (j->wishes)
		return ipc_read_objects(j->wishes, j->nr, j->fd, err);
	if (ipc_read_rows(&rows, err) < 0)
		return -1;
	result = rows.nr ? io_write_full(j->fd, rows.v, rows.nr * sizeof(*rows.v), err) : 0;
	ipc_rows_done(&rows);
	return result;
}

/* Messages may have to be taken out and put back, by a process that outlives us. */
static bool needs_child(const struct ipc_space *sp, const struct job *j)
{
	bool result = sp->is_own;

	for (size_t i = 0; i < j->nr; i++)
		result |= j->wishes[i].type == IPC_MSG;
	return result;
}

static int read_inside(const struct ipc_space *sp, struct job *j, struct stasis_error *err)
{
	j->fd = memfd_create("stasis-ipc", MFD_CLOEXEC);
	if (j->fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "memfd_create");
	return needs_child(sp, j) ? ns_run_inside(sp->first, "ipc", run_job, j, err) : run_job(j, err);
}

static int read_rows(struct ipc_space *sp, struct stasis_error *err)
{
	struct job j = {.wishes = NULL};
	int result = read_inside(sp, &j, err);
	scoped_fd int fd = j.fd;
	struct stat st;

	if (result < 0 || fstat(fd, &st) < 0)
		return -1;
	sp->rows.nr = sp->rows.room = (size_t)st.st_size / sizeof(*sp->rows.v);
	if (!sp->rows.nr)
		return 0;
	sp->rows.v = calloc(sp->rows.nr, sizeof(*sp->rows.v));
	if (!sp->rows.v)
		return no_memory(err);
	return io_pread_full(fd, sp->rows.v, sp->rows.nr * sizeof(*sp->rows.v), 0, err);
}

static int find_spaces(struct ipc_save *i, struct ns_save *ns, struct stasis_error *err)
{
	struct ipc_space **end = &i->spaces;
	uint64_t ours;
	struct stat st;
	struct task *t;
	size_t k;

	ours = stat("/proc/self/ns/ipc", &st) < 0 ? 0 : st.st_ino;
	tree_for_each(i->tree, k, t) {
		const Stasis__Membership *in = ns_save_member(ns, t);
		bool is_own = in && in->ipc;
		uint64_t ino = !task_is_saved(t) ? 0 : ns_inode(t->procfd);

		/* another's, with strangers in it: said by ns/ */
		if (!ino || find_space(i, ino) || (!is_own && ino != ours))
			continue;
		*end = arena_alloc(&i->arena, sizeof(**end));
		if (!*end)
			return no_memory(err);
		**end = (struct ipc_space){.ino = ino, .first = t, .is_own = is_own};
		if (read_rows(*end, err) < 0)
			return -1;
		end = &(*end)->next;
	}
	return 0;
}

/* ---- who uses it ---- */

static struct task *task_of(const struct ipc_save *i, pid_t pid)
{
	struct task *t;
	size_t k;

	tree_for_each(i->tree, k, t)
		if (t->pid == pid)
			return t;
	return NULL;
}

/* Seconds since 1970; a pid in an object that was last changed before that was another process's. */
static int64_t born_at(const struct task *t)
{
	const int64_t ticks = sysconf(_SC_CLK_TCK);
	struct timespec now, up;
	struct proc_stat st;

	if (proc_read_stat(task_leaderfd(t), "stat", &st, NULL) < 0)
		return INT64_MAX;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)clock_gettime(CLOCK_BOOTTIME, &up);
	return now.tv_sec - up.tv_sec + (int64_t)st.starttime_ticks / ticks - 2;
}

static bool is_by_tree(const struct ipc_save *i, pid_t pid, int64_t when)
{
	const struct task *t = task_of(i, pid);

	return t && when >= born_at(t);
}

static bool is_by_stranger(const struct ipc_save *i, pid_t pid)
{
	return pid > 0 && !task_of(i, pid) && (kill(pid, 0) == 0 || errno == EPERM);
}

/* A thread that waits in a call with this id, which begins again when the tree goes on. */
static bool is_waited_for(const struct ipc_save *i, const struct ipc_row *r)
{
	struct task *t;
	size_t k;

	tree_for_each(i->tree, k, t)
		for (size_t n = 0; n < t->nr_threads; n++) {
			const struct thread *th = &t->threads[n];
			/* semop() is made again by us, the others by the kernel */
			long nr = th->repeated_nr ? th->repeated_nr : arch_syscall_nr(&th->regs);
			bool is_it = r->type == IPC_SEM ? nr == SYS_semop || nr == SYS_semtimedop :
							  nr == SYS_msgsnd || nr == SYS_msgrcv;

			if (nr > 0 && is_it && (int32_t)arch_syscall_arg(&th->regs, 0) == r->id)
				return true;
		}
	return false;
}

/* ---- segments ---- */

static Stasis__SysvIpc *record_of_row(struct ipc_save *i, const struct ipc_row *row)
{
	Stasis__SysvIpc *v = arena_alloc(&i->arena, sizeof(*v));

	if (!v)
		return NULL;
	stasis__sysv_ipc__init(v);
	v->id = row->id;
	v->key = row->key;
	v->mode = row->mode & 0777;
	v->uid = row->uid;
	v->gid = row->gid;
	v->cuid = row->cuid;
	v->cgid = row->cgid;
	v->is_removed = row->mode & IPC_MODE_REMOVED;
	v->is_locked = row->mode & IPC_MODE_LOCKED;
	return v;
}

static void report_shared(struct ipc_save *i, const struct ipc_segment *seg, const struct ipc_row *row)
{
	char text[TEXT_BYTES];

	(void)snprintf(text, sizeof(text),
		       "System V shared memory segment %d (key 0x%08x) is attached outside of the processes that "
		       "are saved, too (%llu of %llu times); save those as well, or use --external=sysv",
		       row->id, row->key, (unsigned long long)(row->nr - seg->nr_attached),
		       (unsigned long long)row->nr);
	i->obstacle(i->obstacle_arg, i->tree->tasks[seg->task], text);
}

/* The bytes of a segment, in a file. */
static int read_segment(const struct ipc_space *sp, int32_t id, int *ret_fd, struct stasis_error *err)
{
	const struct ipc_wish wish = {.type = IPC_SHM, .id = id};
	struct job j = {.wishes = &wish, .nr = 1};
	int result = read_inside(sp, &j, err);
	scoped_fd int fd = j.fd, content = -1;
	struct ipc_read_head head;

	if (result < 0 || io_pread_full(fd, &head, sizeof(head), 0, err) < 0)
		return -1;
	content = memfd_create("stasis-shm", MFD_CLOEXEC);
	if (content < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "memfd_create");
	if (io_copy_range(fd, sizeof(head) + head.record_len, content, 0, head.content_len, err) < 0)
		return -1;
	*ret_fd = fd_take(&content);
	return 0;
}

static int describe(struct ipc_save *i, const struct ipc_space *sp, const struct ipc_segment *seg,
		    const struct ipc_row *row, struct stasis_error *err)
{
	Stasis__SysvIpc *v = record_of_row(i, row);
	int fd = -1;

	if (!v)
		return no_memory(err);
	v->is_outside = row->nr > seg->nr_attached;
	if (v->is_outside && !(i->s->external & STASIS_EXTERNAL_SYSV))
		report_shared(i, seg, row);
	if (!v->is_outside && seg->readable < row->size && read_segment(sp, row->id, &fd, err) < 0)
		return -1;
	return i->memory->describe(i->memory->arg, seg->object, row->size, v, fd, err);
}

static int collect_attached(struct ipc_save *i, struct stasis_error *err)
{
	struct ipc_segment seg;
	size_t pos = 0;

	while (i->memory->next(i->memory->arg, &pos, &seg)) {
		const struct ipc_space *sp = find_space(i, seg.ns_ino);
		const struct ipc_row *row = sp ? ipc_row_of(&sp->rows, IPC_SHM, seg.id) : NULL;
		struct task *t = i->tree->tasks[seg.task];

		if (!row)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%d): System V shared memory of an IPC namespace that it is not in; "
					   "detach it (shmdt) before the checkpoint",
					   t->comm, t->pid);
		if (describe(i, sp, &seg, row, err) < 0)
			return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
	}
	return 0;
}

/* Made by the tree, or in a namespace of its own, and attached by nobody at the moment. */
static int collect_unattached(struct ipc_save *i, const struct ipc_space *sp, struct stasis_error *err)
{
	for (size_t n = 0; n < sp->rows.nr; n++) {
		const struct ipc_row *row = &sp->rows.v[n];
		struct ipc_segment seg = {.ns_ino = sp->ino, .id = row->id, .task = sp->first->index};

		if (row->type != IPC_SHM || row->nr ||
		    (!sp->is_own && !is_by_tree(i, row->pids[0], row->changed_at)))
			continue;
		seg.object = i->memory->add(i->memory->arg, seg.task, sp->ino, row->id, err);
		if (!seg.object || describe(i, sp, &seg, row, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- sets and queues ---- */

static int take_record(struct ipc_save *i, struct ipc_space *sp, int fd, uint64_t *at,
		       struct ipc_saved **ret, struct stasis_error *err)
{
	scoped_free uint8_t *packed = NULL;
	struct ipc_read_head head;
	struct ipc_saved *o;

	if (io_pread_full(fd, &head, sizeof(head), *at, err) < 0)
		return -1;
	packed = head.record_len > MAX_RECORD ? NULL : malloc(head.record_len + 1);
	o = arena_alloc(&i->arena, sizeof(*o));
	if (!packed || !o)
		return no_memory(err);
	*at += sizeof(head);
	if (io_pread_full(fd, packed, head.record_len, *at, err) < 0)
		return -1;
	*o = (struct ipc_saved){.space = sp, .content_fd = -1, .content_at = *at + head.record_len};
	o->rec = stasis__object__unpack(NULL, head.record_len, packed);
	if (!o->rec)
		return no_memory(err);
	*at += head.record_len + head.content_len;
	*ret = o;
	return 0;
}

/* Whose pid it is, as the tree knows it; 0 for others. */
static void translate_pids(struct ipc_save *i, Stasis__SysvIpc *v)
{
	for (size_t k = 0; k < v->n_pids; k++) {
		const struct task *t = task_of(i, (pid_t)v->pids[k]);

		v->pids[k] = t ? (uint32_t)t->vpid : 0;
	}
}

static int keep_records(struct ipc_save *i, struct ipc_space *sp, int fd, struct stasis_error *err)
{
	struct ipc_saved *o;
	uint64_t at = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "what was read of System V objects");
	while (at < (uint64_t)st.st_size) {
		if (take_record(i, sp, fd, &at, &o, err) < 0)
			return -1;
		translate_pids(i, o->rec->sysv);
		o->next = i->saved;
		i->saved = o;
		o->content_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (o->content_fd < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "descriptor for messages");
	}
	return 0;
}

struct verdict {
	bool is_ours, has_strangers;
};

/* Of a set that we may not read there is no record: nothing then. */
static void judge_sem(const struct ipc_save *i, const struct ipc_row *row, const Stasis__SysvIpc *users,
		      struct verdict *ret)
{
	int64_t when = row->used_at > row->changed_at ? row->used_at : row->changed_at;

	for (size_t k = 0; users && k < users->n_pids; k++) {
		pid_t pid = (pid_t)users->pids[k];

		ret->is_ours |= is_by_tree(i, pid, when);
		ret->has_strangers |= is_by_stranger(i, pid);
	}
}

static struct verdict judge(const struct ipc_save *i, const struct ipc_space *sp, const struct ipc_row *row,
			    const Stasis__SysvIpc *users)
{
	struct verdict v = {.is_ours = sp->is_own || is_waited_for(i, row)};

	if (sp->is_own)
		return v;
	if (row->type == IPC_SEM)
		judge_sem(i, row, users, &v);
	for (size_t k = 0; row->type == IPC_MSG && k < 2; k++) {
		v.is_ours |= task_of(i, row->pids[k]) != NULL;
		v.has_strangers |= is_by_stranger(i, row->pids[k]);
	}
	return v;
}

/* One that is others' too stays what it is: the restart only looks whether it is there. */
static int keep_reference(struct ipc_save *i, struct ipc_space *sp, const struct ipc_row *row,
			  struct stasis_error *err)
{
	struct ipc_saved *o = arena_alloc(&i->arena, sizeof(*o));
	Stasis__SysvIpc *v = record_of_row(i, row);
	Stasis__Object *rec = malloc(sizeof(*rec));

	if (!o || !v || !rec) {
		free(rec);
		return no_memory(err);
	}
	stasis__object__init(rec);
	*o = (struct ipc_saved){.next = i->saved, .space = sp, .rec = rec, .content_fd = -1};
	rec->type = ipc_object_type(row->type);
	rec->sysv = v;
	v->is_outside = true;
	v->is_removed = v->is_locked = false;
	i->saved = o;
	return 0;
}

/* Who changed a semaphore of each set last: records of those that we may read, in the order of the rows. */
struct users {
	size_t nr, at;
	struct ipc_saved **list;
};

static void users_done(struct users *u)
{
	for (size_t k = 0; k < u->nr; k++)
		stasis__object__free_unpacked(u->list[k]->rec, NULL);
	free(u->list);
}

static int keep_users(struct ipc_save *i, struct ipc_space *sp, int fd, struct users *ret,
		      struct stasis_error *err)
{
	uint64_t at = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "what was read of System V objects");
	for (; at < (uint64_t)st.st_size; ret->nr++)
		if (take_record(i, sp, fd, &at, &ret->list[ret->nr], err) < 0)
			return -1;
	return 0;
}

static int read_users(struct ipc_save *i, struct ipc_space *sp, struct users *ret, struct stasis_error *err)
{
	scoped_free struct ipc_wish *wishes = calloc(sp->rows.nr + 1, sizeof(*wishes));
	struct job j = {.wishes = wishes};
	int result;

	ret->list = calloc(sp->rows.nr + 1, sizeof(*ret->list));
	if (!wishes || !ret->list)
		return no_memory(err);
	for (size_t n = 0; n < sp->rows.nr && !sp->is_own; n++)
		if (sp->rows.v[n].type == IPC_SEM)
			wishes[j.nr++] = (struct ipc_wish){
				.type = IPC_SEM, .id = sp->rows.v[n].id, .wants_pids_only = true};
	if (!j.nr)
		return 0;
	result = read_inside(sp, &j, err);
	if (result == 0)
		result = keep_users(i, sp, j.fd, ret, err);
	scoped_close_fd(&j.fd);
	return result;
}

static const Stasis__SysvIpc *users_of(struct users *u, const struct ipc_row *row)
{
	if (row->type != IPC_SEM || u->at == u->nr || u->list[u->at]->rec->sysv->id != row->id)
		return NULL;
	return u->list[u->at++]->rec->sysv;
}

static int collect_others(struct ipc_save *i, struct ipc_space *sp, struct stasis_error *err)
{
	scoped_free struct ipc_wish *wishes = calloc(sp->rows.nr + 1, sizeof(*wishes));
	scoped(users_done) struct users users = {.nr = 0};
	struct job j = {.wishes = wishes};
	int result;

	if (!wishes)
		return no_memory(err);
	if (read_users(i, sp, &users, err) < 0)
		return -1;
	for (size_t n = 0; n < sp->rows.nr; n++) {
		const struct ipc_row *row = &sp->rows.v[n];
		struct verdict v;

		if (row->type == IPC_SHM)
			continue;
		v = judge(i, sp, row, users_of(&users, row));
		if (v.is_ours && v.has_strangers && keep_reference(i, sp, row, err) < 0)
			return -1;
		if (v.is_ours && !v.has_strangers)
			wishes[j.nr++] = (struct ipc_wish){.type = row->type, .id = row->id};
	}
	if (!j.nr)
		return 0;
	result = read_inside(sp, &j, err);
	if (result == 0)
		result = keep_records(i, sp, j.fd, err);
	scoped_close_fd(&j.fd);
	return result;
}

/* ---- all of it ---- */

static void ipc_save_freep(struct ipc_save **i)
{
	ipc_save_free(*i);
}

static int collect(struct ipc_save *i, struct stasis_error *err)
{
	if (collect_attached(i, err) < 0)
		return -1;
	for (struct ipc_space *sp = i->spaces; sp; sp = sp->next)
		if ((sp->is_own && ipc_check_queues(i, sp, err) < 0) || collect_unattached(i, sp, err) < 0 ||
		    collect_others(i, sp, err) < 0)
			return -1;
	return 0;
}

int ipc_save_collect(struct session *s, struct tree *tree, struct ns_save *ns, const struct ipc_memory *memory,
		     ns_obstacle_fn obstacle, void *arg, struct ipc_save **ret, struct stasis_error *err)
{
	scoped(ipc_save_freep) struct ipc_save *i = calloc(1, sizeof(*i));

	if (!i)
		return no_memory(err);
	i->s = s;
	i->tree = tree;
	i->memory = memory;
	i->obstacle = obstacle;
	i->obstacle_arg = arg;
	if (find_spaces(i, ns, err) < 0 || collect(i, err) < 0)
		return -1;
	*ret = ptr_take(&i);
	return 0;
}

static int put_content(const struct ipc_saved *o, struct image_writer *w, struct stasis_error *err)
{
	size_t len = (size_t)o->rec->content_len;
	scoped_free void *bytes = malloc(len + 1);

	if (!bytes)
		return no_memory(err);
	if (io_pread_full(o->content_fd, bytes, len, o->content_at, err) < 0)
		return -1;
	return image_put_bulk(w, o->rec->id, 0, bytes, len, err);
}

int ipc_save_write(struct ipc_save *i, const struct task *t, uint64_t (*fresh)(void *arg), void *arg,
		   struct image_writer *w, struct stasis_error *err)
{
	for (struct ipc_saved *o = i->saved; o; o = o->next) {
		if (o->space->first != t)
			continue;
		o->rec->id = fresh(arg);
		o->rec->holder = (uint32_t)t->vpid;
		if (image_put_record(w, IMAGE_TAG_OBJECT, &o->rec->base, err) < 0)
			return -1;
		if (o->rec->content_len && put_content(o, w, err) < 0)
			return -1;
	}
	return 0;
}

void ipc_save_free(struct ipc_save *i)
{
	int saved = errno;

	if (!i)
		return;
	ipc_undo_done(i);
	for (struct ipc_saved *o = i->saved; o; o = o->next) {
		scoped_close_fd(&o->content_fd);
		if (o->rec->sysv->is_outside)
			free(o->rec); /* the rest is the arena's */
		else
			stasis__object__free_unpacked(o->rec, NULL);
	}
	for (struct ipc_space *sp = i->spaces; sp; sp = sp->next)
		ipc_rows_done(&sp->rows);
	arena_done(&i->arena);
	free(i);
	errno = saved;
}
