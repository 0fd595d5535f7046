/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spends nearly all of its time inside a restartable sequence. The kernel's promise: a sequence runs
 * to its end undisturbed, or control is at its abort handler. So after each turn either the sequence
 * was completed and all its registers are right, or it was aborted; and the area is still registered.
 */
#include "subject.h"

#include <linux/rseq.h>
#include <stddef.h>
#include <sys/rseq.h>

static uint64_t completed, aborted;

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Returns true when completed. */
static bool turn(struct rseq *r, uint64_t value, uint64_t *ret)
{
	uint64_t spin = 200000, is_done = 0, copy = 0;

	__asm__ volatile(".pushsection __rseq_table, \"aw\"\n\t"
			 ".balign 32\n\t"
			 "3:\n\t"
			 ".long 0, 0\n\t"
			 ".quad 1f, 2f - 1f, 4f\n\t"
			 ".popsection\n\t"
			 "leaq 3b(%%rip), %%rax\n\t"
			 "movq %%rax, 8(%[area])\n\t" /* rseq_cs */
			 "1:\n\t"
			 "movq %[value], %[copy]\n\t"
			 "5: dec %[spin]\n\t"
			 "jnz 5b\n\t"
			 "movq $1, %[done]\n\t"
			 "2:\n\t"
			 "jmp 6f\n\t"
			 ".long 0x53053053\n\t" /* RSEQ_SIG stands before the abort handler */
			 "4:\n\t"
			 "xorl %k[done], %k[done]\n\t"
			 "6:\n\t"
			 "movq $0, 8(%[area])\n\t"
			 : [spin] "+r"(spin), [done] "+r"(is_done), [copy] "+r"(copy)
			 : [area] "r"(r), [value] "r"(value)
			 : "rax", "memory", "cc");
	*ret = copy;
	return is_done != 0;
}

int main(void)
{
	struct rseq *r = area();
	uint64_t value, got;

	subject_init();
	CHECK(__rseq_size > 0);
	subject_ready();
	for (value = 1; !subject_is_go(); value++) {
		if (turn(r, value, &got)) {
			completed++;
			CHECK(got == value);
		} else {
			aborted++;
		}
		CHECK((int32_t)r->cpu_id >= 0 && r->cpu_id < 65536);
	}
	for (value = 0; value < 100; value++)
		completed += turn(r, value, &got);
	CHECK(completed > 0);
	subject_ok();
}
