/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A subject builds one resource, reports ready, waits for "go" and then checks itself. Everything
 * goes through files in its folder ($STASIS_SUBJECT_DIR): a signal would disturb what is tested, and
 * files are there after a restart too.
 *
 *   status   "ready PID", written by the subject when its resource is in place
 *   go       made by the test: check yourself now
 *   verdict  "ok" or "bad: why", written once by any process of the subject
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* First thing in main(): remembers the folder. */
void subject_init(void);

/* The path of a file in the subject's folder; the buffer is the caller's, PATH_MAX bytes. */
const char *subject_path(char *buf, const char *name);

void subject_ready(void);
bool subject_is_go(void);

/* Sleep in short naps until go. */
void subject_wait_go(void);

void subject_nap_ms(unsigned ms);

/* Write the verdict and end: every process of the subject in the same process group is left to the
 * test's clean-up. */
_Noreturn void subject_ok(void);
_Noreturn void subject_bad(const char *fmt, ...) __attribute__((__format__(__printf__, 1, 2)));

#define CHECK(cond)                                                                   \
	do {                                                                          \
		if (!(cond))                                                          \
			subject_bad("%s:%d: %s (errno %d)", __FILE__, __LINE__, #cond, \
				    subject_errno());                                 \
	} while (0)
int subject_errno(void);

/* Reproducible bytes: the pattern differs for each page and seed. */
void pattern_fill(void *mem, size_t len, uint64_t seed);
bool pattern_matches(const void *mem, size_t len, uint64_t seed);

/* Make a file of len pattern bytes in the subject's folder; returns an O_RDWR descriptor. */
int pattern_file(const char *name, size_t len, uint64_t seed);

/* fork(), checked; a child should end with _exit(). */
pid_t subject_fork(void);

/* waitpid() until that child is gone; its status must be 0. */
void subject_reap(pid_t pid);

/* How far `fork`ed helpers and the root have come: a shared counter in a file. */
void subject_mark(const char *name);
void subject_wait_mark(const char *name);

#endif
