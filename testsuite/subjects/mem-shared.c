/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Anonymous memory shared by a parent and its children must be one memory again. */
#include "subject.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN    (4ul << 20)
#define PAGE   4096ul
#define NR	3

struct talk {
	atomic_uint asked, answered[NR];
};

static void child_main(unsigned n, struct talk *talk, uint8_t *mem)
{
	subject_mark(n == 0 ? "child0" : n == 1 ? "child1" : "child2");
	while (!atomic_load(&talk->asked))
		subject_nap_ms(1);
	CHECK(pattern_matches(mem + LEN / 2, LEN / 2, 9)); /* written by the parent after go */
	pattern_fill(mem + n * 16 * PAGE, 16 * PAGE, 100 + n);
	atomic_store(&talk->answered[n], 1);
	_exit(0);
}

int main(void)
{
	struct talk *talk;
	uint8_t *mem;
	pid_t pid[NR];
	unsigned i;

	subject_init();
	talk = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(talk != MAP_FAILED && mem != MAP_FAILED);
	for (i = 0; i < NR; i++) {
		pid[i] = subject_fork();
		if (!pid[i])
			child_main(i, talk, mem);
	}
	pattern_fill(mem, LEN, 8);
	for (i = 0; i < NR; i++)
		subject_wait_mark(i == 0 ? "child0" : i == 1 ? "child1" : "child2");
	subject_ready();
	subject_wait_go();
	CHECK(pattern_matches(mem, LEN, 8));
	pattern_fill(mem + LEN / 2, LEN / 2, 9);
	atomic_store(&talk->asked, 1);
	for (i = 0; i < NR; i++) {
		subject_reap(pid[i]);
		CHECK(atomic_load(&talk->answered[i]) == 1);
		CHECK(pattern_matches(mem + i * 16 * PAGE, 16 * PAGE, 100 + i));
	}
	subject_ok();
}
