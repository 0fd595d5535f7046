/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A long computation whose end result tells whether a step was lost or done twice. Linked
 * dynamically as `chain`, statically as `static`. */
#include "subject.h"

#include <stdatomic.h>

volatile uint64_t counter; /* a debugger prints it from an image */
static uint64_t state = 88172645463325252u;

static uint64_t step(uint64_t s)
{
	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

int main(void)
{
	uint64_t again = state, i;

	subject_init();
	counter = 4711;
	subject_ready();
	while (!subject_is_go()) {
		for (i = 0; i < 100000; i++) {
			state = step(state);
			counter++;
		}
	}
	for (i = 4711; i < counter; i++)
		again = step(again);
	CHECK(again == state);
	subject_ok();
}
