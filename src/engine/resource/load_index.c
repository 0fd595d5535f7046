/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds its way in the records of a tree's image files: which descriptions there are (each file has a
 * copy of those it refers to), which descriptors refer to them, where the bytes of objects lie. The
 * records are untrusted: all numbers are checked here.
 */
#include "resource/resource_priv.h"

#include <string.h>

#define NO_MEMORY(err) stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors")

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_descs(const void *a, const void *b)
{
	const struct load_desc *x = a, *y = b;

	return compare_u64(x->d->id, y->d->id);
}

static int compare_objects(const void *a, const void *b)
{
	return compare_u64((*(Stasis__Object *const *)a)->id, (*(Stasis__Object *const *)b)->id);
}

static int compare_pipes(const void *a, const void *b)
{
	const struct load_pipe *x = a, *y = b;

	return compare_u64(x->object, y->object);
}

static int compare_fds(const void *a, const void *b)
{
	const struct load_fd *x = a, *y = b;

	return x->fd - y->fd;
}

static int compare_bulks(const void *a, const void *b)
{
	const struct load_bulk *x = a, *y = b;
	int diff = compare_u64(x->object, y->object);

	return diff ? diff : compare_u64(x->start, y->start);
}

struct load_proc *load_find_proc(struct fd_load *c, pid_t pid)
{
	for (size_t i = 0; i < c->nr_procs; i++)
		if (c->procs[i].pid == pid)
			return &c->procs[i];
	return NULL;
}

struct load_desc *load_find_desc(struct fd_load *c, uint64_t id)
{
	Stasis__Description key_record = {.id = id};
	struct load_desc key = {.d = &key_record};

	return bsearch(&key, c->descs, c->nr_descs, sizeof(key), compare_descs);
}

struct load_pipe *load_find_pipe(struct fd_load *c, uint64_t object)
{
	struct load_pipe key = {.object = object};

	return bsearch(&key, c->pipes, c->nr_pipes, sizeof(key), compare_pipes);
}

int load_fail_at(const struct load_desc *l, struct stasis_error *err)
{
	if (l->first_fd < 0)
		return stasis_fail_prefix(err, "%s(%d) a descriptor in flight", l->proc->comm,
					  l->proc->pid);
	return stasis_fail_prefix(err, "%s(%d) fd %d", l->proc->comm, l->proc->pid, l->first_fd);
}

bool load_is_kept(const struct load_desc *l)
{
	return l->is_used && !l->is_null && !l->path;
}

const Stasis__Object *fd_load_object(struct fd_load *c, uint64_t id)
{
	Stasis__Object key_record = {.id = id};
	const Stasis__Object *key = &key_record;
	const Stasis__Object **found = bsearch(&key, c->objects, c->nr_objects,
					       sizeof(*c->objects), compare_objects);

	return found ? *found : NULL;
}

/* ---- records ---- */

static bool is_same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t len = protobuf_c_message_get_packed_size(a);
	scoped_free uint8_t *x = NULL, *y = NULL;

	if (protobuf_c_message_get_packed_size(b) != len)
		return false;
	x = malloc(len + 1);
	y = malloc(len + 1);
	if (!x || !y)
		return false;
	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	return memcmp(x, y, len) == 0;
}

static size_t count_records(const struct fd_proc *procs, size_t nr, enum image_tag tag)
{
	size_t sum = 0;

	for (size_t i = 0; i < nr; i++)
		sum += image_nr_records(procs[i].image, tag);
	return sum;
}

/* The same description or object may be in many files; the copies must say the same. */
static int unique_descs(struct fd_load *c, struct stasis_error *err)
{
	size_t kept = 0;

	qsort(c->descs, c->nr_descs, sizeof(*c->descs), compare_descs);
	for (size_t i = 0; i < c->nr_descs; i++) {
		const Stasis__Description *d = c->descs[i].d;

		if (!kept || c->descs[kept - 1].d->id != d->id)
			c->descs[kept++] = c->descs[i];
		else if (!is_same_message(&c->descs[kept - 1].d->base, &d->base))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "image files disagree about description %llu",
					   (unsigned long long)d->id);
	}
	c->nr_descs = kept;
	return 0;
}

static int unique_objects(struct fd_load *c, struct stasis_error *err)
{
	size_t kept = 0;

	qsort(c->objects, c->nr_objects, sizeof(*c->objects), compare_objects);
	for (size_t i = 0; i < c->nr_objects; i++) {
		const Stasis__Object *o = c->objects[i];

		if (!kept || c->objects[kept - 1]->id != o->id)
			c->objects[kept++] = o;
		else if (!is_same_message(&c->objects[kept - 1]->base, &o->base))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "image files disagree about object %llu",
					   (unsigned long long)o->id);
	}
	c->nr_objects = kept;
	return 0;
}

static int read_descs(struct fd_load *c, struct image *img, struct stasis_error *err)
{
	for (size_t i = 0; i < image_nr_records(img, IMAGE_TAG_DESCRIPTION); i++) {
		const Stasis__Description *d = image_record(
			img, IMAGE_TAG_DESCRIPTION, i, &stasis__description__descriptor, err);

		if (!d)
			return -1;
		if (d->kind_case == STASIS__DESCRIPTION__KIND__NOT_SET || !kind_of_tag(d->kind_case))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "'%s': description %llu is of a kind that this version "
					   "does not know",
					   image_name(img), (unsigned long long)d->id);
		c->descs[c->nr_descs++] = (struct load_desc){
			.d = d, .kind = kind_of_tag(d->kind_case), .fd = -1};
	}
	return 0;
}

static int read_objects(struct fd_load *c, struct image *img, struct stasis_error *err)
{
	for (size_t i = 0; i < image_nr_records(img, IMAGE_TAG_OBJECT); i++) {
		const Stasis__Object *o = image_record(img, IMAGE_TAG_OBJECT, i,
						       &stasis__object__descriptor, err);

		if (!o)
			return -1;
		c->objects[c->nr_objects++] = o;
	}
	return 0;
}

static int read_records(struct fd_load *c, const struct fd_proc *procs, size_t nr,
			struct stasis_error *err)
{
	c->descs = calloc(count_records(procs, nr, IMAGE_TAG_DESCRIPTION) + 1, sizeof(*c->descs));
	c->objects = calloc(count_records(procs, nr, IMAGE_TAG_OBJECT) + 1,
			    sizeof(Stasis__Object *));
	if (!c->descs || !c->objects)
		return NO_MEMORY(err);
	for (size_t i = 0; i < nr; i++)
		if (read_descs(c, procs[i].image, err) < 0 ||
		    read_objects(c, procs[i].image, err) < 0)
			return -1;
	if (unique_descs(c, err) < 0)
		return -1;
	return unique_objects(c, err);
}

/* ---- descriptors ---- */

static const struct stasis_fd_choice *find_choice(const struct stasis_restore_opts *opts, pid_t pid,
						  int fd)
{
	for (size_t i = 0; i < opts->nr_choices; i++)
		if (opts->choices[i].pid == pid && opts->choices[i].fd == fd)
			return &opts->choices[i];
	return NULL;
}

static void use_desc(struct load_desc *d, struct load_proc *p, int fd)
{
	if (d->is_used)
		return;
	d->is_used = true;
	d->proc = p;
	d->first_fd = fd;
}

static int add_fd(struct fd_load *c, struct load_proc *p, const Stasis__Fd *fd,
		  const struct stasis_restore_opts *opts, struct stasis_error *err)
{
	const struct stasis_fd_choice *choice;
	struct load_desc *d = load_find_desc(c, fd->desc);

	if (fd->fd >= FD_LIMIT)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s': descriptor number %u is too large",
				   image_name(p->image), fd->fd);
	if (!d)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s': fd %u has no description",
				   image_name(p->image), fd->fd);
	d->is_referred = true;
	choice = find_choice(opts, p->pid, (int)fd->fd);
	if (choice && choice->action == STASIS_FD_IGNORE)
		return 0;
	if (choice && choice->action == STASIS_FD_MODIFY && !choice->path)
		return stasis_fail(err, STASIS_E_USAGE, "no path to open instead of fd %u", fd->fd);
	if (choice && choice->action == STASIS_FD_MODIFY)
		d->path = arena_strdup(&c->arena, choice->path);
	use_desc(d, p, (int)fd->fd);
	p->fds[p->nr_fds++] =
		(struct load_fd){.fd = (int)fd->fd, .is_cloexec = fd->cloexec, .desc = d};
	if ((int)fd->fd > c->highest)
		c->highest = (int)fd->fd;
	return 0;
}

static int read_table(struct fd_load *c, struct load_proc *p, const Stasis__FdTable *table,
		      const struct stasis_restore_opts *opts, struct stasis_error *err)
{
	p->fds = calloc(table->n_fds + 1, sizeof(*p->fds));
	if (!p->fds)
		return NO_MEMORY(err);
	for (size_t i = 0; i < table->n_fds; i++)
		if (add_fd(c, p, table->fds[i], opts, err) < 0)
			return -1;
	qsort(p->fds, p->nr_fds, sizeof(*p->fds), compare_fds);
	for (size_t i = 1; i < p->nr_fds; i++)
		if (p->fds[i].fd == p->fds[i - 1].fd)
			return stasis_fail(err, STASIS_E_CORRUPT, "'%s': fd %d is there twice",
					   image_name(p->image), p->fds[i].fd);
	return 0;
}

/* Only the few segments that hold objects, so that each is found fast. */
static int read_bulks(struct load_proc *p, struct stasis_error *err)
{
	size_t nr = 0;

	for (size_t i = 0; i < image_nr_segments(p->image); i++)
		nr += image_segment(p->image, i)->type == IMAGE_SEG_BULK;
	p->bulks = calloc(nr + 1, sizeof(*p->bulks));
	if (!p->bulks)
		return NO_MEMORY(err);
	for (size_t i = 0; i < image_nr_segments(p->image); i++) {
		const struct image_segment *s = image_segment(p->image, i);

		if (s->type == IMAGE_SEG_BULK)
			p->bulks[p->nr_bulks++] = (struct load_bulk){
				s->object, s->vaddr, s->filesz, s->offset, s->digest};
	}
	qsort(p->bulks, p->nr_bulks, sizeof(*p->bulks), compare_bulks);
	return 0;
}

static const char *name_of(struct image *img)
{
	const Stasis__Process *p = image_record(img, IMAGE_TAG_PROCESS, 0,
						&stasis__process__descriptor, NULL);

	return p ? p->comm : image_name(img);
}

uint64_t load_pipe_of(const Stasis__Description *d)
{
	if (d->kind_case == STASIS__DESCRIPTION__KIND_PIPE)
		return d->pipe->object;
	return d->kind_case == STASIS__DESCRIPTION__KIND_FIFO ? d->fifo->object : 0;
}

static int list_pipes(struct fd_load *c, struct stasis_error *err)
{
	c->pipes = calloc(c->nr_objects + 1, sizeof(*c->pipes));
	if (!c->pipes)
		return NO_MEMORY(err);
	for (size_t i = 0; i < c->nr_objects; i++)
		if (c->objects[i]->type == STASIS__OBJECT_TYPE__OBJECT_PIPE)
			c->pipes[c->nr_pipes++] = (struct load_pipe){
				.object = c->objects[i]->id, .read_fd = -1, .write_fd = -1};
	return 0;
}

/* One step along the references; true when it led to something new. */
static bool follow(struct load_desc *from, struct load_desc *to)
{
	bool is_new = (from->is_referred && !to->is_referred) || (from->is_used && !to->is_used);

	to->is_referred |= from->is_referred;
	if (from->is_used)
		use_desc(to, from->proc, -1);
	return is_new;
}

/* What descriptions refer to is needed as well, and what that refers to. */
static int follow_references(struct fd_load *c, struct stasis_error *err)
{
	for (bool is_done = false; !is_done;) {
		is_done = true;
		for (size_t i = 0; i < c->nr_descs; i++) {
			struct load_desc *l = &c->descs[i];

			for (size_t k = 0; k < l->d->n_refers; k++) {
				struct load_desc *to = load_find_desc(c, l->d->refers[k]);

				if (!to)
					return stasis_fail(err, STASIS_E_CORRUPT,
							   "description %llu, to which another one "
							   "refers, is missing",
							   (unsigned long long)l->d->refers[k]);
				if (follow(l, to))
					is_done = false;
			}
		}
	}
	return 0;
}

/* How many descriptions each pipe's ends have. */
static void count_ends(struct fd_load *c)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct load_desc *l = &c->descs[i];
		struct load_pipe *pipe = load_find_pipe(c, load_pipe_of(l->d));
		bool can_read = (l->d->flags & O_ACCMODE) != O_WRONLY;
		bool can_write = (l->d->flags & O_ACCMODE) != O_RDONLY;

		if (!pipe || !l->is_referred)
			continue;
		pipe->nr_read_ends += can_read;
		pipe->nr_write_ends += can_write;
	}
}

int load_index(struct fd_load *c, const struct fd_proc *procs, size_t nr,
	       const struct stasis_restore_opts *opts, struct stasis_error *err)
{
	c->procs = calloc(nr + 1, sizeof(*c->procs));
	if (!c->procs)
		return NO_MEMORY(err);
	c->nr_procs = nr;
	if (read_records(c, procs, nr, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		struct load_proc *p = &c->procs[i];

		p->pid = procs[i].pid;
		p->image = procs[i].image;
		p->comm = name_of(procs[i].image);
		if (procs[i].table && read_table(c, p, procs[i].table, opts, err) < 0)
			return -1;
		if (read_bulks(p, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < nr; i++)
		if (procs[i].table && locks_index(c, &c->procs[i], procs[i].table, err) < 0)
			return -1;
	if (follow_references(c, err) < 0 || list_pipes(c, err) < 0)
		return -1;
	count_ends(c);
	return 0;
}

/* ---- objects ---- */

int load_check_object(struct fd_load *c, uint64_t id, Stasis__ObjectType type,
		      struct stasis_error *err)
{
	const Stasis__Object *o = fd_load_object(c, id);

	if (!o || o->type != type)
		return stasis_fail(err, STASIS_E_CORRUPT, "record of object %llu is missing",
				   (unsigned long long)id);
	if (!load_find_proc(c, (pid_t)o->holder))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the content of '%.100s' is with process %u, which is not "
				   "restarted; restart the hierarchy from its root",
				   o->file ? o->file->path : "an object", o->holder);
	return 0;
}

int load_object_fd(struct fd_load *c, uint64_t id, struct stasis_error *err)
{
	int fd = c->object_fd ? c->object_fd(c->object_fd_arg, id) : -1;

	if (fd < 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "object %llu was not made",
				   (unsigned long long)id);
	return fd;
}

/* The part of [offset, offset + len) that one segment holds. Reading all of it checks its digest. */
static int read_bulk(const struct load_proc *p, const struct load_bulk *b, uint64_t offset,
		     uint8_t *buf, size_t len, struct stasis_error *err)
{
	if (io_pread_full(image_fd(p->image), buf, len, b->offset + (offset - b->start), err) < 0)
		return stasis_fail_prefix(err, "image '%s'", image_name(p->image));
	if (len == b->len && image_digest(buf, len) != b->digest)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "image '%s': checksum of object %llu is wrong",
				   image_name(p->image), (unsigned long long)b->object);
	return 0;
}

int fd_load_object_bytes(struct fd_load *c, uint64_t id, uint64_t offset, void *buf, size_t len,
			 struct stasis_error *err)
{
	const Stasis__Object *o = fd_load_object(c, id);
	const struct load_proc *p = o ? load_find_proc(c, (pid_t)o->holder) : NULL;
	uint8_t *to = buf;

	for (size_t i = 0; p && len && i < p->nr_bulks; i++) {
		const struct load_bulk *b = &p->bulks[i];
		size_t part;

		if (b->object != id || offset < b->start || offset - b->start >= b->len)
			continue;
		part = b->len - (offset - b->start) < len ? b->len - (offset - b->start) : len;
		if (read_bulk(p, b, offset, to, part, err) < 0)
			return -1;
		to += part;
		offset += part;
		len -= part;
	}
	if (len)
		return stasis_fail(err, STASIS_E_CORRUPT, "object %llu is %zu bytes short",
				   (unsigned long long)id, len);
	return 0;
}
