/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Semaphore sets and message queues at a restart. One that outlived the program is used again, with what the
 * checkpoint says to be in it; one that is gone is made again with its id.
 */
#include "ipc/ipc_priv.h"

#include <string.h>
#include <sys/sem.h>

struct ipc_made {
	const Stasis__Object *rec;
	size_t proc;	       /* index of its holder */
	bool is_made;	       /* by us */
	unsigned short *before; /* values of a set that was there */
	struct ipc_queue queue; /* of a queue */
};

struct ipc_load {
	struct session *s;
	const struct ipc_proc *procs;
	size_t nr_procs, nr, room;
	struct ipc_made *v; /* segments too */
};

/* ---- plan ---- */

static int add(struct ipc_load *i, const Stasis__Object *rec, size_t proc, struct stasis_error *err)
{
	struct ipc_made *grown;

	if (ipc_type_of(rec) == IPC_NR_TYPES || rec->holder != (uint32_t)i->procs[proc].pid)
		return 0; /* others repeat what the holder's file has */
	if (ipc_check_record(rec, err) < 0)
		return -1;
	if (i->nr == i->room) {
		i->room = i->room ? 2 * i->room : 16;
		grown = reallocarray(i->v, i->room, sizeof(*grown));
		if (!grown)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for System V objects");
		i->v = grown;
	}
	i->v[i->nr++] = (struct ipc_made){
		.rec = rec,
		.proc = proc,
		.queue = {.rec = rec, .image_fd = image_fd(i->procs[proc].image)},
	};
	return 0;
}

/* The text of messages is one segment. */
static int find_content(struct ipc_load *i, struct ipc_made *m, struct stasis_error *err)
{
	struct image *img = i->procs[m->proc].image;

	if (ipc_type_of(m->rec) != IPC_MSG || !m->rec->content_len)
		return 0;
	for (size_t k = 0; k < image_nr_segments(img); k++) {
		const struct image_segment *seg = image_segment(img, k);

		if (seg->type != IMAGE_SEG_BULK || seg->object != m->rec->id)
			continue;
		m->queue.content_at = seg->offset;
		if (seg->vaddr == 0 && seg->filesz == m->rec->content_len)
			return 0;
		break;
	}
	return stasis_fail(err, STASIS_E_CORRUPT, "the messages of queue %d are not in the image",
			   m->rec->sysv->id);
}

static int read_records(struct ipc_load *i, size_t proc, struct stasis_error *err)
{
	struct image *img = i->procs[proc].image;

	for (size_t k = 0; k < image_nr_records(img, IMAGE_TAG_OBJECT); k++) {
		const Stasis__Object *rec =
			image_record(img, IMAGE_TAG_OBJECT, k, &stasis__object__descriptor, err);

		if (!rec || add(i, rec, proc, err) < 0)
			return -1;
	}
	return 0;
}

static const Stasis__Object *find_set(const struct ipc_load *i, size_t proc, int32_t id);

static int check_undo(const struct ipc_load *i, size_t proc, struct stasis_error *err)
{
	const Stasis__Process *p = i->procs[proc].process;

	for (size_t k = 0; k < p->n_sem_undo; k++) {
		const Stasis__SemUndo *u = p->sem_undo[k];
		const Stasis__Object *set = find_set(i, proc, u->id);

		if (!set)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%d): its semaphore set %d is in the image of a process that is not "
					   "restarted with it: restart the whole tree from its root",
					   p->comm, i->procs[proc].pid, u->id);
		if (u->num >= set->sysv->n_values || u->value < -IPC_MAX_SEM_VALUE - 1 ||
		    u->value > IPC_MAX_SEM_VALUE)
			return stasis_fail(err, STASIS_E_CORRUPT, "%s(%d): undo of semaphore %u of set %d",
					   p->comm, i->procs[proc].pid, u->num, u->id);
	}
	return 0;
}

static void ipc_load_freep(struct ipc_load **i)
{
	ipc_load_free(*i);
}

int ipc_load_plan(struct session *s, const struct ipc_proc *procs, size_t nr, struct ipc_load **ret,
		  struct stasis_error *err)
{
	scoped(ipc_load_freep) struct ipc_load *i = calloc(1, sizeof(*i));

	if (!i)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for System V objects");
	i->s = s;
	i->procs = procs;
	i->nr_procs = nr;
	for (size_t p = 0; p < nr; p++)
		if (read_records(i, p, err) < 0)
			return stasis_fail_prefix(err, "image '%s'", image_name(procs[p].image));
	for (size_t k = 0; k < i->nr; k++)
		if (find_content(i, &i->v[k], err) < 0)
			return -1;
	for (size_t p = 0; p < nr; p++)
		if (check_undo(i, p, err) < 0)
			return -1;
	*ret = ptr_take(&i);
	return 0;
}

/* ---- where ---- */

static uint32_t namespace_of(const struct ipc_load *i, size_t proc)
{
	const Stasis__Membership *in = i->procs[proc].process->namespaces;

	return in ? in->ipc : 0;
}

static const Stasis__Object *find_set(const struct ipc_load *i, size_t proc, int32_t id)
{
	for (size_t k = 0; k < i->nr; k++)
		if (ipc_type_of(i->v[k].rec) == IPC_SEM && i->v[k].rec->sysv->id == id &&
		    namespace_of(i, i->v[k].proc) == namespace_of(i, proc))
			return i->v[k].rec;
	return NULL;
}

static int look_at(const Stasis__Object *o, struct stasis_error *err)
{
	int found = ipc_find(o, err);

	return found == 0 ? ipc_check_may_make(o, err) : found;
}

int ipc_load_look(struct ipc_load *i, bool *ret_may_move, struct stasis_error *err)
{
	int result = 0;

	*ret_may_move = true;
	for (size_t k = 0; k < i->nr; k++) {
		const Stasis__Object *o = i->v[k].rec;

		if (namespace_of(i, i->v[k].proc))
			continue;
		if (o->sysv->is_outside)
			*ret_may_move = false;
		if (result == 0 && look_at(o, err) < 0)
			result = -1;
	}
	return result;
}

/* ---- make ---- */

static int put_values(void *arg, struct stasis_error *err)
{
	const Stasis__Object *o = ((const struct ipc_made *)arg)->rec;
	scoped_free unsigned short *values = calloc(o->sysv->n_values + 1, sizeof(*values));
	union ipc_semun to = {.array = values};

	if (!values)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for semaphores");
	for (size_t k = 0; k < o->sysv->n_values; k++)
		values[k] = (unsigned short)o->sysv->values[k];
	if (semctl(o->sysv->id, 0, SETALL, to) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "values of semaphore set %d", o->sysv->id);
	return 0;
}

static int remember_values(struct ipc_made *m, struct stasis_error *err)
{
	union ipc_semun arg = {.array = calloc(m->rec->sysv->n_values + 1, sizeof(unsigned short))};

	m->before = arg.array;
	if (!m->before)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for semaphores");
	if (semctl(m->rec->sysv->id, 0, GETALL, arg) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "semaphore set %d", m->rec->sysv->id);
	return 0;
}

static int make_one(struct ipc_load *i, struct ipc_made *m, struct stasis_error *err)
{
	int found = ipc_find(m->rec, err);

	if (found < 0 || (found == 0 && ipc_make(i->s, m->rec, 0, err) < 0))
		return -1;
	m->is_made = !found;
	if (m->rec->sysv->is_outside)
		return 0;
	if (ipc_type_of(m->rec) == IPC_MSG) {
		ipc_set_attributes(i->s, m->rec); /* the limit, too */
		return ipc_queue_fill(&m->queue, err);
	}
	if ((found && remember_values(m, err) < 0) || ns_run_apart(put_values, m, "set semaphores", err) < 0)
		return -1;
	ipc_set_attributes(i->s, m->rec);
	return 0;
}

int ipc_load_make(struct ipc_load *i, struct stasis_error *err)
{
	for (size_t k = 0; k < i->nr; k++) {
		struct ipc_made *m = &i->v[k];

		if (ipc_type_of(m->rec) == IPC_SHM)
			continue;
		if (session_enter_ipc(i->s, i->procs[m->proc].pid, err) < 0 || make_one(i, m, err) < 0)
			return -1;
	}
	return session_enter_ipc(i->s, 0, err);
}

/* ---- in the processes ---- */

static int touch(const struct ipc_made *m, pid_t pid, struct stasis_error *err)
{
	for (size_t k = 0; k < m->rec->sysv->n_pids; k++)
		if (m->rec->sysv->pids[k] == (uint32_t)pid &&
		    ipc_undo_touch(m->rec->sysv->id, k, err) < 0)
			return -1;
	return 0;
}

int ipc_load_attach(struct ipc_load *i, size_t index, struct stasis_error *err)
{
	const struct ipc_proc *p = &i->procs[index];

	for (size_t k = 0; k < p->process->n_sem_undo; k++)
		if (ipc_undo_set(p->process->sem_undo[k], err) < 0)
			return -1;
	for (size_t k = 0; k < i->nr; k++) {
		const struct ipc_made *m = &i->v[k];

		if (m->rec->sysv->is_outside || namespace_of(i, m->proc) != namespace_of(i, index))
			continue;
		if (ipc_type_of(m->rec) == IPC_SEM && touch(m, p->pid, err) < 0)
			return -1;
		if (ipc_type_of(m->rec) == IPC_MSG &&
		    ipc_queue_touch(&m->queue, (uint32_t)p->pid, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- afterwards ---- */

void ipc_load_undo(struct ipc_load *i)
{
	for (size_t k = 0; i && k < i->nr; k++) {
		struct ipc_made *m = &i->v[k];
		union ipc_semun arg = {.array = m->before};

		if (session_enter_ipc(i->s, i->procs[m->proc].pid, NULL) < 0)
			continue;
		if (m->is_made)
			ipc_remove(m->rec);
		else if (m->before)
			(void)semctl(m->rec->sysv->id, 0, SETALL, arg); /* drops what is to be undone, too */
		else if (m->queue.before)
			ipc_queue_undo(&m->queue);
	}
}

void ipc_load_free(struct ipc_load *i)
{
	int saved = errno;

	if (!i)
		return;
	for (size_t k = 0; k < i->nr; k++)
		free(i->v[k].before), free(i->v[k].queue.before);
	free(i->v);
	free(i);
	errno = saved;
}
