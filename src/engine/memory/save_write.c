/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A task's memory into its image: one program header per run of stored pages and per stretch of
 * address space without, in ascending order, as debuggers want them; then the runs, written by the
 * task itself.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/* Longer runs become several segments, so that several threads can check and load them. A multiple
 * of 2 MiB, at addresses that are too: huge pages stay whole. */
#define SEGMENT_MAX   (16ull << 20)
#define BATCH_RUNS    1024u
#define BATCH_BYTES   (32ull << 20) /* so that the disk can begin with a batch during the next */
#define BOUNCE_LEN    (1u << 20)

/* Runs waiting to be written by the task. */
struct save_batch {
	struct task *t;
	struct image_writer *w;
	size_t nr;
	uint64_t bytes;
	struct page_run runs[BATCH_RUNS];
	size_t segments[BATCH_RUNS];
	uint64_t digests[BATCH_RUNS];
};

static int begin_flush(struct save_batch *b, struct stasis_error *err)
{
	return b->nr ? inject_write_begin(b->t, image_draft_fd(b->w), b->runs, b->nr, b->digests, err) : 0;
}

static int end_flush(struct save_batch *b, struct stasis_error *err)
{
	if (b->nr == 0)
		return 0;
	if (inject_write_end(b->t, err) < 0)
		return -1;
	for (size_t i = 0; i < b->nr; i++)
		image_set_digest(b->w, b->segments[i], b->digests[i]);
	/* room is handed out in the order in which it is written */
	image_written(b->w, b->runs[b->nr - 1].offset + b->runs[b->nr - 1].len);
	b->nr = 0;
	b->bytes = 0;
	return 0;
}

static int flush(struct save_batch *b, struct stasis_error *err)
{
	return begin_flush(b, err) < 0 ? -1 : end_flush(b, err);
}

/* Whether the task itself reads this mapping, whatever its threads may do with protection keys at the moment. */
static bool reads_itself(const struct vma *v)
{
	return (v->prot & PROT_READ) && v->pkey == 0;
}

/* A run the task cannot read by itself: through /proc/PID/mem, which overrides the protection. */
static int write_unreadable(struct save_batch *b, const struct run *run, uint64_t offset, size_t segment,
			    struct stasis_error *err)
{
	scoped_fd int mem = openat(b->t->procfd, "mem", O_RDONLY | O_CLOEXEC);
	scoped_free char *buf = malloc(run->len);

	if (mem < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open mem");
	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "buffer for %llu bytes",
				   (unsigned long long)run->len);
	if (io_pread_full(mem, buf, run->len, run->addr, err) < 0 ||
	    io_pwrite_full(image_draft_fd(b->w), buf, run->len, offset, err) < 0)
		return -1;
	image_set_digest(b->w, segment, image_digest(buf, run->len));
	return 0;
}

static int add_to_batch(struct save_batch *b, const struct run *run, uint64_t offset, size_t segment,
			struct stasis_error *err)
{
	b->runs[b->nr] = (struct page_run){ run->addr, run->len, offset };
	b->segments[b->nr] = segment;
	b->nr++;
	b->bytes += run->len;
	return b->nr == BATCH_RUNS || b->bytes >= BATCH_BYTES ? flush(b, err) : 0;
}

/* Segment for [addr, addr + memsz) of which the first filesz bytes are stored. */
static int put_segment(struct save_batch *b, const struct vma *v, tracee_addr addr, uint64_t filesz,
		       uint64_t memsz, struct stasis_error *err)
{
	struct image_segment seg = {
		.type = IMAGE_SEG_LOAD,
		.vaddr = addr,
		.memsz = memsz,
		.filesz = filesz,
		.prot = v->prot,
	};
	struct run run = { addr, filesz };
	ssize_t index = image_add_segment(b->w, &seg, err);

	if (index < 0)
		return -1;
	if (filesz == 0)
		return 0;
	if (!reads_itself(v))
		return write_unreadable(b, &run, seg.offset, (size_t)index, err);
	return add_to_batch(b, &run, seg.offset, (size_t)index, err);
}

/* One run; next is where the following one, or the end of the mapping, is. */
static int put_run(struct save_batch *b, const struct vma *v, const struct run *run, tracee_addr next,
		   struct stasis_error *err)
{
	tracee_addr at = run->addr, end = run->addr + run->len, stop;
	uint64_t max = reads_itself(v) ? SEGMENT_MAX : BOUNCE_LEN;

	for (; at < end; at = stop) {
		stop = (at / max + 1) * max;
		if (stop >= end) {
			stop = end;
			return put_segment(b, v, at, end - at, next - at, err);
		}
		if (put_segment(b, v, at, stop - at, stop - at, err) < 0)
			return -1;
	}
	return 0;
}

static int put_vma(struct save_batch *b, const struct save_task *st, size_t vma, struct stasis_error *err)
{
	const struct save_vma *sv = &st->sv[vma];
	const struct vma *v = &st->vmas.v[vma];
	const struct run *runs = st->runs.v + sv->first_run;
	const struct run whole = { v->start, v->end - v->start };
	size_t nr = sv->nr_runs;
	tracee_addr next;

	if (sv->kind == STASIS__VMA_KIND__VMA_VDSO) {
		runs = &whole;
		nr = 1;
	}
	if (nr == 0 || runs[0].addr > v->start) {
		next = nr ? runs[0].addr : v->end;
		if (put_segment(b, v, v->start, 0, next - v->start, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < nr; i++) {
		next = i + 1 < nr ? runs[i + 1].addr : v->end;
		if (put_run(b, v, &runs[i], next, err) < 0)
			return -1;
	}
	return 0;
}

int mem_save_begin_write(struct mem_save *m, struct task *t, struct image_writer *w,
			 struct stasis_error *err)
{
	struct save_task *st = &m->tasks[t->index];
	struct save_batch *b = st->batch = calloc(1, sizeof(*b));

	if (!b)
		return stasis_fail(err, STASIS_E_NOMEM, "list of pages to write");
	b->t = t;
	b->w = w;
	for (size_t i = 0; i < st->vmas.nr; i++)
		if (!st->sv[i].is_skipped && put_vma(b, st, i, err) < 0)
			return -1;
	return begin_flush(b, err);
}

static int put_object_record(struct mem_save *m, struct save_object *o, struct image_writer *w,
			     struct stasis_error *err)
{
	Stasis__Object rec = STASIS__OBJECT__INIT;

	rec.id = o->id;
	rec.type = o->type;
	rec.holder = (uint32_t)m->tasks[o->holder].t->vpid;
	rec.size = o->size;
	rec.file = &o->file;
	rec.seals = o->seals;
	rec.sysv = o->sysv;
	return image_put_record(w, IMAGE_TAG_OBJECT, &rec.base, err);
}

static int write_objects(struct mem_save *m, struct save_task *st, struct image_writer *w,
			 struct stasis_error *err)
{
	struct save_object *o;

	for (size_t i = 0; i < st->nr_objects; i++) {
		o = save_object_by_id(m, st->objects[i]);
		if (!o)
			return stasis_fail(err, STASIS_E_INTERNAL, "object %llu is not known",
					   (unsigned long long)st->objects[i]);
		if (put_object_record(m, o, w, err) < 0)
			return -1;
		if (o->holder == st->t->index && save_object_content(m, o, w, err) < 0)
			return -1;
	}
	return 0;
}

int mem_save_end_write(struct mem_save *m, struct task *t, struct image_writer *w,
		       struct stasis_error *err)
{
	struct save_task *st = &m->tasks[t->index];

	if ((st->batch && end_flush(st->batch, err) < 0) || write_objects(m, st, w, err) < 0)
		return -1;
	free(st->batch);
	st->batch = NULL;
	return save_note_files(m, st, w, err);
}
