/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segments of System V shared memory. The inode number of a mapping is the segment's id, which is not
 * unique beside other shared memory, nor over several IPC namespaces; what the id stands for is known by ipc/.
 */
#include "memory/save_priv.h"

#include <fcntl.h>
#include <string.h>

#define SYSV_BIT (1ull << 63) /* in the place of a device number */

static int init_object(struct mem_save *m, struct save_object *o, uint64_t ns_ino, int32_t id,
		       const char *name, struct stasis_error *err)
{
	o->type = STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM;
	o->ns_ino = ns_ino;
	o->shmid = id;
	o->file.deleted = true;
	o->file.path = arena_strdup(&m->arena, name);
	return o->file.path ? 0 : stasis_fail(err, STASIS_E_NOMEM, "name of shared memory");
}

int save_object_of_sysv(struct mem_save *m, size_t task, size_t vma, uint64_t *ret_id,
			struct stasis_error *err)
{
	const struct vma *v = &m->tasks[task].vmas.v[vma];
	struct save_object *o;
	struct stat ns;
	bool is_new;

	if (fstatat(m->tasks[task].t->procfd, "ns/ipc", &ns, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "IPC namespace");
	o = save_object_get(m, SYSV_BIT | ns.st_ino, v->ino, task, &is_new, err);
	if (!o || (is_new && init_object(m, o, ns.st_ino, (int32_t)v->ino, v->path, err) < 0))
		return -1;
	if (save_object_add_map(o, task, vma, v, err) < 0 || save_object_refer(m, task, o->id, err) < 0)
		return -1;
	*ret_id = o->id;
	return 0;
}

/* ---- for ipc/ ---- */

static uint64_t readable_bytes(const struct mem_save *m, const struct save_object *o)
{
	uint64_t end = 0;
	bool grows = true;

	if (m->s->caps.has_map_files)
		return UINT64_MAX;
	while (grows) {
		grows = false;
		for (size_t i = 0; i < o->nr_maps; i++) {
			const struct vma *v = &m->tasks[o->maps[i].task].vmas.v[o->maps[i].vma];
			uint64_t to = v->pgoff + (v->end - v->start);

			if (v->pgoff > end || to <= end)
				continue;
			end = to;
			grows = true;
		}
	}
	return end;
}

static bool next_segment(void *arg, size_t *pos, struct ipc_segment *ret)
{
	const struct mem_save *m = arg;

	while (*pos < m->nr_objects) {
		const struct save_object *o = &m->objects[(*pos)++];

		if (o->type != STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM || !o->nr_maps)
			continue;
		*ret = (struct ipc_segment){
			.object = o->id,
			.ns_ino = o->ns_ino,
			.id = o->shmid,
			.nr_attached = o->nr_maps,
			.task = o->holder,
			.readable = readable_bytes(m, o),
		};
		return true;
	}
	return false;
}

static uint64_t add_segment(void *arg, size_t task, uint64_t ns_ino, int32_t id, struct stasis_error *err)
{
	struct mem_save *m = arg;
	struct save_object *o;
	bool is_new;

	o = save_object_get(m, SYSV_BIT | ns_ino, (uint64_t)id, task, &is_new, err);
	if (!o || init_object(m, o, ns_ino, id, "segment that nobody has attached", err) < 0 ||
	    save_object_refer(m, task, o->id, err) < 0)
		return 0;
	return o->id;
}

static int describe_segment(void *arg, uint64_t object, uint64_t size, Stasis__SysvIpc *rec, int content_fd,
			    struct stasis_error *err)
{
	struct save_object *o = save_object_by_id(arg, object);

	if (!o)
		return stasis_fail(err, STASIS_E_INTERNAL, "object %llu is not known",
				   (unsigned long long)object);
	o->sysv = rec;
	o->size = size;
	o->has_size = true;
	o->fd = content_fd;
	return 0;
}

struct ipc_memory mem_save_sysv(struct mem_save *m)
{
	return (struct ipc_memory){
		.arg = m,
		.next = next_segment,
		.add = add_segment,
		.describe = describe_segment,
	};
}
