/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program break: content, place, and that the heap grows and shrinks on. */
#include "subject.h"

#include <sys/syscall.h>
#include <unistd.h>

#define LEN (3ul << 20)

static uint8_t *set_brk(uint8_t *to)
{
	return (uint8_t *)syscall(SYS_brk, to);
}

int main(void)
{
	uint8_t *start, *end;

	subject_init();
	start = set_brk(NULL);
	end = start + LEN + 123; /* not page-aligned */
	CHECK(set_brk(end) == end);
	pattern_fill(start, LEN, 4);
	subject_ready();
	subject_wait_go();
	CHECK(set_brk(NULL) == end);
	CHECK(pattern_matches(start, LEN, 4));
	CHECK(set_brk(end + LEN) == end + LEN);
	pattern_fill(start + LEN, LEN, 5);
	CHECK(pattern_matches(start, LEN, 4) && pattern_matches(start + LEN, LEN, 5));
	CHECK(set_brk(start + 4096) == start + 4096);
	CHECK(set_brk(end) == end && start[LEN / 2] == 0);
	subject_ok();
}
