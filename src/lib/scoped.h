/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIB_SCOPED_H
#define LIB_SCOPED_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Release on leaving the scope: `scoped(fn) T v = ...`; fn gets a pointer to v. Last declared is
 * first released. The releases preserve errno and accept unset values. */
#define scoped(fn) __attribute__((__cleanup__(fn)))
#define scoped_fd scoped(scoped_close_fd)
#define scoped_free scoped(scoped_free_ptr)
#define scoped_file scoped(scoped_close_file)
#define scoped_dir scoped(scoped_close_dir)

static inline void scoped_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void scoped_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void scoped_close_file(FILE **f)
{
	int saved = errno;

	if (*f)
		(void)fclose(*f);
	errno = saved;
}

static inline void scoped_close_dir(DIR **d)
{
	int saved = errno;

	if (*d)
		(void)closedir(*d);
	errno = saved;
}

/* Hand over: returns the value and leaves the variable unset, so its release does nothing. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define ptr_take(pp)                              \
	__extension__({                           \
		__typeof__(*(pp)) taken_ = *(pp); \
		*(pp) = NULL;                     \
		taken_;                           \
	})

#endif
