/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A round of save and load with real processes: a subject builds descriptors and stops, its table goes
 * through real image files, and other processes get it and look whether all is there. The memory
 * module's part (deleted files, memfds) is played by descriptors that this process keeps.
 */
#ifndef RESOURCE_TEST_ROUND_H
#define RESOURCE_TEST_ROUND_H

#include "resource/resource.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUND_MAX_TASKS = 8, ROUND_MAX_OBJECTS = 16, ROUND_MAX_NOTES = 128 };

struct round {
	char dir[256]; /* scratch folder, for files of the test */
	int dirfd;
	struct session s;
	struct stasis_error err;
	struct stasis_dump_opts dump;
	struct stasis_restore_opts restore;
	/* the subject */
	struct tree tree;
	struct task tasks[ROUND_MAX_TASKS], *list[ROUND_MAX_TASKS];
	/* what was found */
	struct fd_save *save;
	size_t nr_obstacles;
	char obstacles[ROUND_MAX_NOTES][256];
	size_t nr_warnings;
	char warnings[ROUND_MAX_NOTES][256];
	/* stand-ins for the memory module */
	size_t nr_objects;
	struct {
		dev_t dev;
		ino_t ino;
		int fd;
		bool is_memfd;
	} objects[ROUND_MAX_OBJECTS];
	uint64_t last_id;
	/* the restart */
	size_t first_proc; /* restart the subtree that begins with this task */
	struct image *images[ROUND_MAX_TASKS];
	struct fd_load *load;
};

int round_setup(void **state);
int round_teardown(void **state);

/* Fork a process with /dev/null as 0 to 2 and nothing else, run build in it, stop it. */
void round_subject(struct round *r, void (*build)(struct round *r));

/* In build: fork a member of the tree that runs fn (may be NULL) and stops. */
void round_member(struct round *r, void (*fn)(struct round *r));

/* The steps; those that return int give -1 with r->err. */
int round_collect(struct round *r);
int round_write(struct round *r);
int round_plan(struct round *r); /* kills the subject first */

/* Install the descriptors of each process in turn in a process of its own and run check in it. */
void round_check(struct round *r, void (*check)(struct round *r, size_t index));

/* All of it. */
void round_all(struct round *r, void (*build)(struct round *r),
	       void (*check)(struct round *r, size_t index));
void round_end(struct round *r); /* kill and forget the subject, for another one */

/* Plan the restart of one process whose image has this table and this one description. */
int round_plan_records(struct round *r, Stasis__FdTable *table, Stasis__Description *d);
/* The same of `nr` descriptions and, unless NULL, of an object with the bytes "hello". */
int round_plan_image(struct round *r, Stasis__FdTable *table, Stasis__Description *d, size_t nr,
		     Stasis__Object *object);

bool round_warned(const struct round *r, const char *text);
bool round_obstacle(const struct round *r, const char *text);

/* For build and check, which run in other processes: end with the line that failed. */
#define NEED(cond)                                                                  \
	do {                                                                        \
		if (!(cond)) {                                                      \
			dprintf(round_stderr, "# %s:%d: %s: %s\n", __FILE__, __LINE__, #cond, \
				strerror(errno));                                   \
			_exit(1);                                                   \
		}                                                                   \
	} while (0)
extern int round_stderr;

/* A descriptor that a subject inherits, below 3500; -1 for none. */
extern int round_keep_fd;

#define assert_ok(r, call)                                              \
	do {                                                            \
		if ((call) < 0)                                         \
			fail_msg("%s: %s", #call, (r)->err.text);       \
	} while (0)

#define ROUND_TEST(fn) cmocka_unit_test_setup_teardown(fn, round_setup, round_teardown)

#endif
