/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef STASIS_ERROR_H
#define STASIS_ERROR_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the caller can do about a failure. The numeric value is stable: it crosses pipes. */
enum stasis_errclass {
	STASIS_E_OK = 0,
	STASIS_E_USAGE,	      /* wrong option or argument: exit status 2 */
	STASIS_E_UNSUPPORTED, /* a resource Stasis cannot save or restore: exit status 3 */
	STASIS_E_DENIED,      /* permission: exit status 4 */
	STASIS_E_GONE,	      /* the process or file is not there (any more): exit status 1 */
	STASIS_E_CORRUPT,     /* damaged or foreign image: exit status 5 */
	STASIS_E_IO,	      /* read, write, disk full: exit status 1 */
	STASIS_E_TIMEOUT,     /* a task would not stop in time: exit status 1 */
	STASIS_E_NOMEM,	      /* exit status 1 */
	STASIS_E_BUSY,	      /* a pid is in use, a file exists: exit status 1 */
	STASIS_E_INTERNAL,    /* our own bug: exit status 1 */
};

/* One failure: plain data, no allocation; survives fork and crosses a pipe as it is. */
struct stasis_error {
	enum stasis_errclass cls;
	int sys_errno;	/* 0 when no system call was involved */
	pid_t pid;	/* task concerned, 0 when none */
	char text[240]; /* one line for a human, no newline */
};

/* The documented exit status of a command that ended with this class of error. */
int stasis_exit_status(enum stasis_errclass cls);

#ifdef __cplusplus
}
#endif
#endif
