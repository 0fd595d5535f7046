/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What pipes and FIFOs have in common at a restart: is all there, and how the content goes in. */
#include "resource/resource_priv.h"

#include <limits.h>

static int check_record(const Stasis__Object *o, struct stasis_error *err)
{
	uint64_t sum = 0;

	if (o->size < PIPE_BUF || o->size > INT_MAX || o->content_len > o->size)
		return stasis_fail(err, STASIS_E_CORRUPT, "pipe of %llu bytes holds %llu",
				   (unsigned long long)o->size, (unsigned long long)o->content_len);
	for (size_t i = 0; i < o->n_packets; i++) {
		if (!o->packets[i])
			return stasis_fail(err, STASIS_E_CORRUPT, "pipe holds an empty packet");
		sum += o->packets[i];
	}
	if (o->has_packets ? sum != o->content_len : o->n_packets != 0)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "packets of the pipe hold %llu bytes, not %llu",
				   (unsigned long long)sum, (unsigned long long)o->content_len);
	return 0;
}

int pipe_check_object(struct fd_load *c, uint64_t id, bool is_external, struct stasis_error *err)
{
	const struct load_pipe *pipe = load_find_pipe(c, id);
	const Stasis__Object *o = fd_load_object(c, id);
	uint32_t ends = o && o->file ? o->file->mode : 0;
	const char *name = o && o->file ? o->file->path : "pipe";

	if (!o || !pipe || o->type != STASIS__OBJECT_TYPE__OBJECT_PIPE)
		return stasis_fail(err, STASIS_E_CORRUPT, "record of pipe %llu is missing",
				   (unsigned long long)id);
	if (check_record(o, err) < 0)
		return -1;
	if (o->content_len && !load_find_proc(c, (pid_t)o->holder))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.80s' and its content are shared with process %u, which is not "
				   "restarted; restart the hierarchy from its root",
				   name, o->holder);
	if (is_external)
		return 0;
	if ((ends & S_IRUSR && !pipe->nr_read_ends) || (ends & S_IWUSR && !pipe->nr_write_ends))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.80s': its %s end belongs to processes that are not restarted; "
				   "restart the hierarchy from its root",
				   name, pipe->nr_read_ends ? "write" : "read");
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EAGAIN)
			return stasis_fail(err, STASIS_E_IO,
					   "pipe is full %zu bytes too early (pipe-max-size?)",
					   len);
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "write into a pipe");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static int set_mode(int fd, int flags, struct stasis_error *err)
{
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set the mode of a pipe");
	return 0;
}

/* One read()'s worth. The mark of a packet's end is on its last buffer, and a buffer of packet mode
 * holds at most PIPE_BUF bytes: what is longer began with bytes written without packet mode. */
static int write_packet(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err)
{
	size_t tail = len > PIPE_BUF ? PIPE_BUF : len;

	if (len > tail && (set_mode(fd, 0, err) < 0 || write_all(fd, bytes, len - tail, err) < 0 ||
			   set_mode(fd, O_DIRECT, err) < 0))
		return -1;
	return write_all(fd, bytes + len - tail, tail, err);
}

static int fill_packets(int fd, const Stasis__Object *o, const uint8_t *bytes,
			struct stasis_error *err)
{
	if (set_mode(fd, O_DIRECT, err) < 0)
		return -1;
	for (size_t i = 0; i < o->n_packets; i++) {
		if (write_packet(fd, bytes, o->packets[i], err) < 0)
			return -1;
		bytes += o->packets[i];
	}
	return set_mode(fd, 0, err);
}

static void set_size(struct fd_load *c, int fd, const Stasis__Object *o)
{
	int now = fcntl(fd, F_GETPIPE_SZ);

	if (now == (int)o->size || fcntl(fd, F_SETPIPE_SZ, (int)o->size) >= 0)
		return;
	s_warn(c->s, "pipe gets a capacity of %d bytes instead of %llu (see pipe-max-size in proc(5))",
	       now, (unsigned long long)o->size);
}

int pipe_fill(struct fd_load *c, int fd, const Stasis__Object *o, struct stasis_error *err)
{
	scoped_free uint8_t *bytes = NULL;

	set_size(c, fd, o);
	if (!o->content_len)
		return 0;
	bytes = malloc(o->content_len); /* verified: not above the pipe's size */
	if (!bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe's content");
	if (fd_load_object_bytes(c, o->id, 0, bytes, o->content_len, err) < 0)
		return -1;
	if (o->has_packets)
		return fill_packets(fd, o, bytes, err);
	return write_all(fd, bytes, o->content_len, err);
}
