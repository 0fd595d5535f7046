/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pipes and FIFOs while they are saved: who of the tree holds which end, and what is in them. The
 * content is read without being taken: tee(2) copies references to the buffers into a pipe of ours,
 * with their packet marks, and that one is drained.
 */
#include "resource/resource_priv.h"

#include <limits.h>
#include <poll.h>
#include <search.h>
#include <string.h>
#include <sys/ioctl.h>

enum { KEEP_MAX_BYTES = 8 << 20 }; /* content beyond that is read again when it is written */

static int compare_pipes(const void *pa, const void *pb)
{
	const struct pipe_object *a = pa, *b = pb;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

struct pipe_object *pipe_object_get(struct fd_save *c, dev_t dev, ino_t ino)
{
	struct pipe_object key = {.dev = dev, .ino = ino};
	struct pipe_object **found = tfind(&key, &c->pipes, compare_pipes);

	return found ? *found : NULL;
}

static struct pipe_object *get_or_add(struct fd_save *c, const struct fd_desc *d)
{
	struct pipe_object *o = pipe_object_get(c, d->st.st_dev, d->st.st_ino);

	if (o)
		return o;
	o = arena_alloc(&c->arena, sizeof(*o));
	if (!o)
		return NULL;
	o->dev = d->st.st_dev;
	o->ino = d->st.st_ino;
	return tsearch(o, &c->pipes, compare_pipes) ? o : NULL;
}

int pipe_count(struct fd_save *c, struct fd_desc *d, struct stasis_error *err)
{
	const struct fd_entry *e = d->first;
	struct pipe_object *o;

	if (!S_ISFIFO(d->st.st_mode) || e->flags & O_PATH)
		return 0;
	o = get_or_add(c, d);
	if (!o)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe");
	d->pipe = o;
	o->flags |= e->flags;
	if ((e->flags & O_ACCMODE) != O_RDONLY)
		o->nr_writers++;
	if ((e->flags & O_ACCMODE) == O_WRONLY)
		return 0;
	if (!o->nr_readers++)
		o->reader = e;
	return 0;
}

static void find_held(struct fd_desc *d, struct task *t)
{
	if (d->held == t->index + 1)
		return;
	d->held = t->index + 1;
	if (d->pipe && !d->pipe->holder)
		d->pipe->holder = t;
	for (size_t i = 0; i < d->nr_refers; i++)
		find_held(d->refers[i], t);
}

/* The first task whose image gets the object also gets its content. */
void pipe_find_holders(struct fd_save *c)
{
	for (size_t i = 0; i < c->nr_entries; i++)
		if (!c->entries[i].is_ignored)
			find_held(c->entries[i].desc, c->entries[i].task);
}

/* Bytes queued that can be seen through fd (a read end). */
static int queued_bytes(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, &n) < 0 || n < 0 ? 0 : n;
}

/* Our pipe needs as many buffers as the other, else tee() copies only a part. */
static int scratch_prepare(struct fd_save *c, int size, struct stasis_error *err)
{
	if (c->scratch[0] < 0 && pipe2(c->scratch, O_CLOEXEC | O_NONBLOCK) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe drain: make a pipe");
	if (fcntl(c->scratch[0], F_GETPIPE_SZ) >= size)
		return 0;
	if (fcntl(c->scratch[0], F_SETPIPE_SZ, size) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe drain: make a pipe of %d bytes",
					 size);
	return 0;
}

/* No writer is left: hung up, or (a FIFO that never had one) tee() sees the end of an empty pipe,
 * where it would say EAGAIN had it a writer. */
static bool has_no_writer(struct fd_save *c, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, 0) >= 0 && p.revents & POLLHUP)
		return true;
	return !queued_bytes(fd) && scratch_prepare(c, 0, NULL) == 0 &&
	       tee(fd, c->scratch[1], INT_MAX, SPLICE_F_NONBLOCK) == 0;
}

static bool has_no_reader(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) >= 0 && p.revents & POLLERR;
}

int pipe_check_ends(struct fd_save *c, const struct fd_probe *p, struct stasis_error *err)
{
	const struct pipe_object *o = pipe_object_get(c, p->st.st_dev, p->st.st_ino);
	const char *way_out = "checkpoint all processes of the pipeline (-r and their common parent)";

	if (p->local_fd < 0)
		return stasis_fail(err, STASIS_E_DENIED, "pipe cannot be looked at; run as root");
	if (!o)
		return stasis_fail(err, STASIS_E_INTERNAL, "pipe was not counted");
	if (!o->nr_readers && !has_no_reader(p->local_fd))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "pipe destination is outside of selected processes; %s", way_out);
	if (!o->nr_writers && !has_no_writer(c, p->local_fd))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "pipe source is outside of selected processes; %s", way_out);
	return 0;
}

/* ---- content ---- */

static int add_packet(Stasis__Object *rec, uint32_t **packets, size_t *room, uint32_t len)
{
	if (rec->n_packets == *room) {
		size_t more = *room ? 2 * *room : 16;
		uint32_t *bigger = realloc(*packets, more * sizeof(**packets));

		if (!bigger)
			return -1;
		*packets = bigger;
		*room = more;
	}
	(*packets)[rec->n_packets++] = len;
	return 0;
}

/* Empty the scratch pipe; in packet mode each read ends at the end of a packet. */
static int drain(struct fd_save *c, uint8_t *bytes, size_t len, Stasis__Object *rec,
		 uint32_t **packets, struct stasis_error *err)
{
	size_t done = 0, room = 0;

	rec->n_packets = 0;
	while (done < len) {
		ssize_t n = read(c->scratch[0], bytes + done, len - done);

		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO, "pipe drain");
		if (add_packet(rec, packets, &room, (uint32_t)n) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe's content");
		done += (size_t)n;
	}
	return 0;
}

/* Read what fd, a read end, would give next; *ret_bytes is malloc()ed. */
static int copy_content(struct fd_save *c, int fd, int size, Stasis__Object *rec,
			uint8_t **ret_bytes, uint32_t **ret_packets, struct stasis_error *err)
{
	scoped_free uint32_t *packets = NULL;
	scoped_free uint8_t *bytes = NULL;
	int want = queued_bytes(fd);
	ssize_t len;

	if (!want)
		return 0;
	if (scratch_prepare(c, size, err) < 0)
		return -1;
	bytes = malloc((size_t)want);
	if (!bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe's content");
	len = tee(fd, c->scratch[1], (size_t)want, SPLICE_F_NONBLOCK);
	if (len < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe drain: tee");
	if (drain(c, bytes, (size_t)len, rec, &packets, err) < 0)
		return -1;
	if (len != want)
		return stasis_fail(err, STASIS_E_IO,
				   "pipe drain: got %zd of %d bytes (somebody outside uses the pipe)",
				   len, want);
	rec->content_len = (uint64_t)len;
	*ret_bytes = ptr_take(&bytes);
	*ret_packets = ptr_take(&packets);
	return 0;
}

static int read_pipe(struct fd_save *c, struct pipe_object *o, int local_fd, uint8_t **ret_bytes,
		     struct stasis_error *err)
{
	scoped_free uint32_t *packets = NULL;
	scoped_fd int other = -1;
	int fd = local_fd;
	size_t nr;

	if (!o->nr_readers) /* nobody will ever read what is in it */
		return 0;
	if (fd < 0 || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
		fd = other = entry_get_fd(o->reader, err);
	if (fd < 0)
		return -1;
	if (copy_content(c, fd, (int)o->rec.size, &o->rec, ret_bytes, &packets, err) < 0)
		return -1;
	nr = o->rec.n_packets;
	o->rec.has_packets = (o->flags & O_DIRECT && nr) || nr > 1;
	if (!o->rec.has_packets)
		o->rec.n_packets = 0;
	o->rec.packets = arena_memdup(&c->arena, packets, o->rec.n_packets * sizeof(*packets));
	if (!o->rec.packets)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe's content");
	return 0;
}

/* The name is for messages; its mode tells which ends the dump has, as the modes of the links in
 * /proc/PID/fd do. */
static int name_pipe(struct fd_save *c, struct pipe_object *o, const struct fd_probe *p)
{
	char *path = fd_save_strdup(c, p->link);

	if (!path)
		return -1;
	stasis__file_id__init(&o->name);
	o->name.path = path;
	o->name.dev = o->dev;
	o->name.ino = o->ino;
	o->name.mode = S_IFIFO | (o->nr_readers ? S_IRUSR : 0u) | (o->nr_writers ? S_IWUSR : 0u);
	o->rec.file = &o->name;
	return 0;
}

int pipe_object_save(struct fd_save *c, const struct fd_probe *p, uint64_t *ret_id,
		     struct stasis_error *err)
{
	struct pipe_object *o = pipe_object_get(c, p->st.st_dev, p->st.st_ino);
	int size = fcntl(p->local_fd, F_GETPIPE_SZ);

	if (!o || size < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "get the pipe's size");
	*ret_id = o->rec.id;
	if (o->is_read)
		return 0;
	stasis__object__init(&o->rec);
	o->rec.id = c->objects.fresh(c->objects.arg);
	o->rec.type = STASIS__OBJECT_TYPE__OBJECT_PIPE;
	o->rec.holder = o->holder ? (uint32_t)o->holder->vpid : 0;
	o->rec.size = (uint64_t)size;
	if (name_pipe(c, o, p) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe");
	if (read_pipe(c, o, p->local_fd, &o->bytes, err) < 0)
		return -1;
	o->is_read = true;
	*ret_id = o->rec.id;
	c->pipe_bytes_kept += o->bytes ? o->rec.content_len : 0;
	if (c->pipe_bytes_kept > KEEP_MAX_BYTES) {
		c->pipe_bytes_kept -= o->bytes ? o->rec.content_len : 0;
		scoped_free_ptr(&o->bytes);
		o->bytes = NULL;
	}
	return 0;
}

/* Content that was not kept is read again: the tree stands still, so it is the same. */
static int put_content(struct fd_save *c, struct pipe_object *o, struct image_writer *w,
		       struct stasis_error *err)
{
	scoped_free uint8_t *again = NULL;
	uint64_t len = o->rec.content_len;

	if (!o->bytes && read_pipe(c, o, -1, &again, err) < 0)
		return -1;
	if (o->rec.content_len != len)
		return stasis_fail(err, STASIS_E_IO,
				   "pipe drain: content changed while it was saved");
	return image_put_bulk(w, o->rec.id, 0, o->bytes ? o->bytes : again, len, err);
}

int pipe_write_object(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		      struct image_writer *w, struct stasis_error *err)
{
	struct pipe_object *o = d->pipe;

	(void)s;
	if (o->written == t->index + 1)
		return 0;
	o->written = t->index + 1;
	if (image_put_record(w, IMAGE_TAG_OBJECT, &o->rec.base, err) < 0)
		return -1;
	if (o->holder != t || !o->rec.content_len)
		return 0;
	return put_content(c, o, w, err);
}

static void free_bytes(void *p)
{
	struct pipe_object *o = p;

	free(o->bytes); /* the object itself is in the arena */
}

void pipe_objects_free(struct fd_save *c)
{
	tdestroy(c->pipes, free_bytes);
	c->pipes = NULL;
}
