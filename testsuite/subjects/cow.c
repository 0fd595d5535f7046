/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copy-on-write pages that a parent and its children share: each process sees its own content, and
 * what one writes afterwards stays with it. */
#include "subject.h"

#include <stdlib.h>
#include <unistd.h>

#define PAGE 4096ul
#define NR   2048ul
#define KIDS 3u

static uint8_t *mem;

static void check(unsigned who, uint64_t round)
{
	size_t i;

	for (i = 0; i < NR; i++) {
		uint64_t seed = who && i % 7 == who ? 5000 * who + i : 1;

		if (round && i % 11 == who)
			seed = 90000 * (who + 1) + i;
		if (!pattern_matches(mem + i * PAGE, PAGE, seed))
			subject_bad("process %u, round %u: page %zu is wrong", who, (unsigned)round, i);
	}
}

static void rewrite(unsigned who)
{
	size_t i;

	for (i = who; i < NR; i += 11)
		pattern_fill(mem + i * PAGE, PAGE, 90000 * (who + 1) + i);
}

static void kid(unsigned who)
{
	static const char *const names[] = {"", "kid1", "kid2", "kid3"};
	size_t i;

	for (i = 0; i < NR; i++) {
		if (i % 7 == who)
			pattern_fill(mem + i * PAGE, PAGE, 5000 * who + i);
	}
	subject_mark(names[who]);
	subject_wait_go();
	check(who, 0);
	rewrite(who);
	subject_nap_ms(20); /* let the others write too */
	check(who, 1);
	_exit(0);
}

int main(void)
{
	pid_t pid[KIDS + 1];
	unsigned i;

	subject_init();
	mem = aligned_alloc(PAGE, NR * PAGE);
	CHECK(mem != NULL);
	for (i = 0; i < NR; i++)
		pattern_fill(mem + i * PAGE, PAGE, 1);
	for (i = 1; i <= KIDS; i++) {
		pid[i] = subject_fork();
		if (!pid[i])
			kid(i);
	}
	subject_wait_mark("kid1");
	subject_wait_mark("kid2");
	subject_wait_mark("kid3");
	subject_ready();
	subject_wait_go();
	check(0, 0);
	rewrite(0);
	for (i = 1; i <= KIDS; i++)
		subject_reap(pid[i]);
	check(0, 1);
	subject_ok();
}
