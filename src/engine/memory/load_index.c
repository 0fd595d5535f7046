/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory objects of all images of a tree: every file that refers to an object has its record,
 * and the records must agree; the bytes are in the holder's file only.
 */
#include "memory/load_priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

size_t load_object_index(const struct mem_load *m, uint64_t id)
{
	return index_find(&m->object_index, id, 0) - 1; /* 0 is not there: NONE */
}

static bool is_ours(const Stasis__Object *o)
{
	return o->type == STASIS__OBJECT_TYPE__OBJECT_SHARED_ANON ||
	       o->type == STASIS__OBJECT_TYPE__OBJECT_MEMFD ||
	       o->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB ||
	       o->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM ||
	       o->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE ||
	       o->type == STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE;
}

static const char *object_name(const Stasis__Object *o)
{
	return o->file && o->file->path ? o->file->path : "";
}

static bool is_same(const Stasis__Object *a, const Stasis__Object *b)
{
	return a->type == b->type && a->holder == b->holder && a->size == b->size &&
	       a->seals == b->seals && (a->sysv ? a->sysv->id : -1) == (b->sysv ? b->sysv->id : -1) &&
	       strcmp(object_name(a), object_name(b)) == 0;
}

static int add_object(struct mem_load *m, const Stasis__Object *rec, struct stasis_error *err)
{
	size_t *slot = index_get(&m->object_index, rec->id, 0, m->nr_objects + 1);
	struct load_object *o;

	if (!slot)
		return stasis_fail(err, STASIS_E_NOMEM, "table of objects");
	if (*slot <= m->nr_objects)
		return is_same(m->objects[*slot - 1].rec, rec) ?
			       0 :
			       stasis_fail(err, STASIS_E_CORRUPT,
					   "object %llu is not the same in all images",
					   (unsigned long long)rec->id);
	if (table_grow((void **)&m->objects, &m->cap_objects, m->nr_objects, sizeof(*m->objects),
		       err) < 0)
		return -1;
	o = &m->objects[m->nr_objects++];
	memset(o, 0, sizeof(*o));
	o->rec = rec;
	o->holder = index_find(&m->by_pid, rec->holder, 0) - 1;
	o->fd = -1;
	return 0;
}

static int read_records(struct mem_load *m, const struct load_proc *lp, struct stasis_error *err)
{
	size_t nr = image_nr_records(lp->p->image, IMAGE_TAG_OBJECT);
	const Stasis__Object *rec;

	for (size_t i = 0; i < nr; i++) {
		rec = image_record(lp->p->image, IMAGE_TAG_OBJECT, i, &stasis__object__descriptor,
				   err);
		if (!rec)
			return -1;
		if (!is_ours(rec))
			continue;
		if (rec->id == 0 || rec->size > INT64_MAX - MEM_PAGE)
			return stasis_fail(err, STASIS_E_CORRUPT, "object %llu is %llu bytes",
					   (unsigned long long)rec->id,
					   (unsigned long long)rec->size);
		if (rec->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM && ipc_check_record(rec, err) < 0)
			return -1;
		if (add_object(m, rec, err) < 0)
			return -1;
	}
	return 0;
}

/* Bytes that no process of this restart refers to are left alone. */
static int read_bulk(struct mem_load *m, size_t proc, struct stasis_error *err)
{
	const struct image *img = m->procs[proc].p->image;
	const struct image_segment *seg;
	size_t object;

	for (size_t i = 0; i < image_nr_segments(img); i++) {
		seg = image_segment(img, i);
		object = seg->type == IMAGE_SEG_BULK ? load_object_index(m, seg->object) : NONE;
		if (object == NONE || m->objects[object].holder != proc)
			continue;
		if (seg->vaddr > m->objects[object].rec->size ||
		    seg->filesz > m->objects[object].rec->size - seg->vaddr)
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "image '%s': bytes behind the end of object %llu",
					   image_name(img), (unsigned long long)seg->object);
		if (table_grow((void **)&m->bulk, &m->cap_bulk, m->nr_bulk, sizeof(*m->bulk), err) < 0)
			return -1;
		m->bulk[m->nr_bulk++] =
			(struct bulk_seg){ object, seg->vaddr, seg->filesz, seg->offset };
	}
	return 0;
}

static int by_object(const void *a, const void *b)
{
	const struct bulk_seg *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

int load_find_objects(struct mem_load *m, struct stasis_error *err)
{
	for (size_t i = 0; i < m->nr_procs; i++)
		if (read_records(m, &m->procs[i], err) < 0)
			return stasis_fail_prefix(err, "image '%s'",
						  image_name(m->procs[i].p->image));
	for (size_t i = 0; m->nr_objects && i < m->nr_procs; i++)
		if (read_bulk(m, i, err) < 0)
			return -1;
	if (m->nr_bulk)
		qsort(m->bulk, m->nr_bulk, sizeof(*m->bulk), by_object);
	for (size_t i = 0; i < m->nr_bulk; i++)
		if (m->objects[m->bulk[i].object].nr_bulk++ == 0)
			m->objects[m->bulk[i].object].first_bulk = i;
	return 0;
}

/* ---- who maps them ---- */

static int check_mapping(struct mem_load *m, struct load_vma *lv, struct stasis_error *err)
{
	const Stasis__Vma *v = lv->v;
	struct load_object *o;

	lv->object = load_object_index(m, v->object);
	if (lv->object == NONE)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "mapping %llx-%llx: object %llu is not in the image",
				   (unsigned long long)v->start, (unsigned long long)v->end,
				   (unsigned long long)v->object);
	o = &m->objects[lv->object];
	if (v->kind == STASIS__VMA_KIND__VMA_OBJECT_SHARED)
		o->is_mapped_shared = true;
	if (!(v->flags & VMA_F_NORESERVE))
		o->is_reserved = true;
	if (o->rec->type == STASIS__OBJECT_TYPE__OBJECT_SHARED_ANON ||
	    o->rec->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM) {
		if (o->rec->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM &&
		    (v->file_flags & O_ACCMODE) != O_RDWR)
			o->has_reader = true;
		else
			o->has_master = true;
		if (v->kind != STASIS__VMA_KIND__VMA_OBJECT_SHARED ||
		    v->pgoff + (v->end - v->start) > load_object_len(o))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "mapping %llx-%llx reaches behind its object",
					   (unsigned long long)v->start, (unsigned long long)v->end);
	}
	if ((o->rec->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB) != !!(v->flags & VMA_F_HUGETLB))
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "mapping %llx-%llx is not of the pages of its object",
				   (unsigned long long)v->start, (unsigned long long)v->end);
	/* sealed against new writable mappings; those there were stay, so one is made before */
	if ((o->rec->seals & F_SEAL_FUTURE_WRITE) && (v->file_flags & O_ACCMODE) == O_RDWR &&
	    v->kind == STASIS__VMA_KIND__VMA_OBJECT_SHARED)
		o->has_master = true;
	return 0;
}

static int missing_holder(const struct load_object *o, struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "the content of '%s' is in the image of process %u, which is not among "
			   "those restarted: restart the whole tree from its root",
			   object_name(o->rec), (unsigned)o->rec->holder);
}

int load_check_objects(struct mem_load *m, struct stasis_error *err)
{
	for (size_t p = 0; p < m->nr_procs; p++)
		for (size_t i = 0; i < m->procs[p].nr_vmas; i++)
			if (m->procs[p].vmas[i].v->object &&
			    check_mapping(m, &m->procs[p].vmas[i], err) < 0)
				return stasis_fail_prefix(err, "image '%s'",
							  image_name(m->procs[p].p->image));
	for (size_t i = 0; i < m->nr_objects; i++)
		if (m->objects[i].holder == NONE)
			return missing_holder(&m->objects[i], err);
	return 0;
}
