/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole reads and writes: the only place that knows about short counts and EINTR. */
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { COPY_BUFFER_BYTES = 1 << 20, FIRST_FILE_GUESS = 4096 };

static int short_read(struct stasis_error *err, size_t missing)
{
	return stasis_fail(err, STASIS_E_IO, "short by %zu bytes", missing);
}

int io_read_full(int fd, void *buf, size_t len, struct stasis_error *err)
{
	char *p = buf;

	while (len) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read");
		if (n == 0)
			return short_read(err, len);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t len, struct stasis_error *err)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "write");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pread_full(int fd, void *buf, size_t len, uint64_t offset, struct stasis_error *err)
{
	char *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read");
		if (n == 0)
			return short_read(err, len);
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset, struct stasis_error *err)
{
	const char *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "write");
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* Double *buf; false when that is refused. */
static bool grow(char **buf, size_t *room)
{
	char *bigger = realloc(*buf, *room * 2);

	if (!bigger)
		return false;
	*buf = bigger;
	*room *= 2;
	return true;
}

int io_read_file_at(int dirfd, const char *name, size_t max, char **ret_buf, size_t *ret_len,
		    struct stasis_error *err)
{
	scoped_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	scoped_free char *buf = NULL;
	size_t room = FIRST_FILE_GUESS, len = 0;

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", name);
	buf = malloc(room);
	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory to read '%s'", name);
	for (;;) {
		ssize_t n = read(fd, buf + len, room - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read '%s'", name);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return stasis_fail(err, STASIS_E_IO, "'%s' is larger than %zu bytes", name,
					   max);
		if (len == room - 1 && !grow(&buf, &room))
			return stasis_fail(err, STASIS_E_NOMEM, "no memory to read '%s'", name);
	}
	buf[len] = '\0';
	*ret_len = len;
	*ret_buf = ptr_take(&buf);
	return 0;
}

/* Files on which copy_file_range() fails (other file systems, /proc): through a buffer. */
static int copy_by_buffer(int from_fd, uint64_t from_off, int to_fd, uint64_t to_off, uint64_t len,
			  struct stasis_error *err)
{
	scoped_free char *buf = malloc(COPY_BUFFER_BYTES);

	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a copy buffer");
	while (len) {
		size_t n = len < COPY_BUFFER_BYTES ? (size_t)len : COPY_BUFFER_BYTES;

		if (io_pread_full(from_fd, buf, n, from_off, err) < 0)
			return -1;
		if (io_pwrite_full(to_fd, buf, n, to_off, err) < 0)
			return -1;
		from_off += n;
		to_off += n;
		len -= n;
	}
	return 0;
}

int io_copy_range(int from_fd, uint64_t from_off, int to_fd, uint64_t to_off, uint64_t len,
		  struct stasis_error *err)
{
	while (len) {
		off_t in = (off_t)from_off, out = (off_t)to_off;
		ssize_t n = copy_file_range(from_fd, &in, to_fd, &out, len, 0);

		if (n <= 0)
			return copy_by_buffer(from_fd, from_off, to_fd, to_off, len, err);
		from_off += (uint64_t)n;
		to_off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}
