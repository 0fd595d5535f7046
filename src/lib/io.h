/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIB_IO_H
#define LIB_IO_H

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

/* Whole transfers: EINTR and short counts are retried. End of file before len is STASIS_E_IO (reads:
 * "short by N bytes"). Return 0 or -1 with *err. */
int io_read_full(int fd, void *buf, size_t len, struct stasis_error *err);
int io_write_full(int fd, const void *buf, size_t len, struct stasis_error *err);
int io_pread_full(int fd, void *buf, size_t len, uint64_t offset, struct stasis_error *err);
int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset, struct stasis_error *err);

/*
 * Read a whole file of unknown size (a /proc file, say), at most max bytes, relative to dirfd.
 * *ret_buf is malloc()ed, the caller frees it; it carries a NUL behind its last byte that *ret_len
 * does not count. More than max bytes is STASIS_E_IO.
 */
int io_read_file_at(int dirfd, const char *name, size_t max, char **ret_buf, size_t *ret_len,
		    struct stasis_error *err);

/* Copy len bytes between files at the given offsets (copy_file_range, else through a buffer). */
int io_copy_range(int from_fd, uint64_t from_off, int to_fd, uint64_t to_off, uint64_t len,
		  struct stasis_error *err);

#endif
