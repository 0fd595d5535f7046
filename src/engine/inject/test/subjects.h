/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs for the tests of tree/ and inject/: each does one thing for ever, checks itself, and must
 * never notice that it is stopped. */
#ifndef INJECT_TEST_SUBJECTS_H
#define INJECT_TEST_SUBJECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Shared with the subject; text is set before failed. */
struct subject_page {
	volatile uint32_t is_ready;
	volatile uint32_t may_be_interrupted; /* EINTR is fine: the engine dies in the wrong moment */
	volatile uint32_t failed;
	volatile uint64_t rounds; /* how often it has done its thing */
	char text[200];
};

struct subject {
	const char *name;
	void (*run)(struct subject_page *page);
	bool is_idle; /* makes no rounds while all is well */
	bool is_stopped; /* stops itself by SIGSTOP */
	pid_t pid;
	struct subject_page *page;
};

/* All kinds; ends with a NULL name. */
extern const struct subject subject_kinds[];

int subject_start(struct subject *s, bool may_be_interrupted); /* fork and wait until it is ready; -1: could not */
bool subject_is_well(const struct subject *s); /* alive, and has not failed */
void subject_end(struct subject *s);

/* Number of open descriptors and of mappings of a process: must be what they were. */
int subject_count_fds(pid_t pid);
int subject_count_maps(pid_t pid);

#endif
