/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one way to report a failure: fills a caller-owned struct stasis_error. Only this file writes
 * into one.
 */
#include "lib/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void PRINTF_LIKE(4, 0) fill(struct stasis_error *err, enum stasis_errclass cls,
				   int sys_errno, const char *fmt, va_list ap)
{
	size_t len;

	err->cls = cls;
	err->sys_errno = sys_errno;
	err->pid = 0;
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap); /* truncation is acceptable */
	if (!sys_errno)
		return;
	len = strlen(err->text);
	(void)snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(sys_errno));
}

static enum stasis_errclass refine(enum stasis_errclass cls, int sys_errno)
{
	if (cls != STASIS_E_IO)
		return cls;
	switch (sys_errno) {
	case EPERM:
	case EACCES:
		return STASIS_E_DENIED;
	case ENOENT:
	case ESRCH:
		return STASIS_E_GONE;
	case ENOMEM:
		return STASIS_E_NOMEM;
	default:
		return cls;
	}
}

int stasis_fail(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		fill(err, cls, 0, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return -1;
}

int stasis_fail_errno(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		fill(err, refine(cls, saved), saved, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return -1;
}

int stasis_fail_prefix(struct stasis_error *err, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	int saved = errno;
	size_t len;
	va_list ap;

	if (err) {
		memcpy(old, err->text, sizeof(old));
		va_start(ap, fmt);
		(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		len = strlen(err->text);
		(void)snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	}
	errno = saved;
	return -1;
}

void *stasis_fail_null(struct stasis_error *err, enum stasis_errclass cls, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		fill(err, cls, 0, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return NULL;
}

int stasis_exit_status(enum stasis_errclass cls)
{
	switch (cls) {
	case STASIS_E_OK:
		return 0;
	case STASIS_E_USAGE:
		return 2;
	case STASIS_E_UNSUPPORTED:
		return 3;
	case STASIS_E_DENIED:
		return 4;
	case STASIS_E_CORRUPT:
		return 5;
	default:
		return 1;
	}
}
