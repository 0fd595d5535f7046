/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segments of System V shared memory. The master attaches each once for writing and once for reading, as it is
 * needed, and processes duplicate that, so that mappings which came from one attachment have one file again:
 * shmdt(2) goes by it. What outlived the program keeps its bytes until nothing can fail any more.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

static pid_t holder_pid(const struct mem_load *m, const struct load_object *o)
{
	return m->procs[o->holder].p->pid;
}

static int attach(const struct load_object *o, uint64_t at, int flags, void **ret, struct stasis_error *err)
{
	void *want = (void *)(uintptr_t)at;

	*ret = shmat(o->rec->sysv->id, want, flags);
	if (*ret == (void *)-1)
		return stasis_fail_errno(err, STASIS_E_IO, "attach shared memory segment %d",
					 o->rec->sysv->id);
	return 0;
}

static int fill(struct mem_load *m, const struct load_object *o, struct stasis_error *err)
{
	void *at = (void *)(uintptr_t)o->master;
	int result;

	if (!o->has_master && attach(o, 0, 0, &at, err) < 0)
		return -1;
	if (!o->is_made && madvise(at, load_object_len(o), MADV_REMOVE) < 0)
		memset(at, 0, load_object_len(o));
	result = load_fill_object(m, o, at, err);
	if (!o->has_master)
		(void)shmdt(at);
	return result;
}

static int make(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	const Stasis__SysvIpc *v = o->rec->sysv;
	int found = ipc_find(o->rec, err);
	void *at;

	if (found < 0 ||
	    (found == 0 && ipc_make(m->s, o->rec, o->is_reserved ? 0 : SHM_NORESERVE, err) < 0))
		return -1;
	o->is_made = !found;
	if (o->has_master && attach(o, o->master, 0, &at, err) < 0)
		return -1;
	if (o->has_reader && attach(o, o->reader, SHM_RDONLY, &at, err) < 0)
		return -1;
	if (v->is_outside)
		return 0;
	if (o->is_made && fill(m, o, err) < 0)
		return -1;
	ipc_set_attributes(m->s, o->rec);
	if (v->is_removed)
		ipc_remove(o->rec);
	return 0;
}

int load_make_sysv(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	if (session_enter_ipc(m->s, holder_pid(m, o), err) < 0 || make(m, o, err) < 0)
		return -1;
	return session_enter_ipc(m->s, 0, err);
}

int load_finish_sysv(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	if (!o->is_made && !o->rec->sysv->is_outside &&
	    (session_enter_ipc(m->s, holder_pid(m, o), err) < 0 || fill(m, o, err) < 0))
		return -1;
	if (o->has_master)
		(void)shmdt((void *)(uintptr_t)o->master);
	if (o->has_reader)
		(void)shmdt((void *)(uintptr_t)o->reader);
	return session_enter_ipc(m->s, 0, err);
}

void load_undo_sysv(struct mem_load *m, const struct load_object *o)
{
	if (o->is_made && !o->rec->sysv->is_removed && session_enter_ipc(m->s, holder_pid(m, o), NULL) == 0)
		ipc_remove(o->rec);
}
