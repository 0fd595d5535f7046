/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIB_ERROR_H
#define LIB_ERROR_H

#include <errno.h>
#include <stasis/error.h>

#define PRINTF_LIKE(f, a) __attribute__((__format__(__printf__, f, a)))

/*
 * Fill *err and return -1; errno is preserved. err may be NULL. The _errno form appends ": " and
 * strerror(errno) and, for EPERM and EACCES, turns STASIS_E_IO into STASIS_E_DENIED; for ENOENT
 * and ESRCH into STASIS_E_GONE; for ENOMEM into STASIS_E_NOMEM.
 */
int stasis_fail(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
int stasis_fail_errno(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Put "prefix: " before the text that *err already holds; returns -1. */
int stasis_fail_prefix(struct stasis_error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Same as stasis_fail(), returning NULL, for functions that return a pointer. */
void *stasis_fail_null(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

#endif
