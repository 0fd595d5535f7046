/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the parts of pad_code.S are. */
#include "arch/arch.h"
#include "arch/cure.h"

#include <string.h>

#define PAD_SYMBOL extern __attribute__((__visibility__("hidden"))) const uint8_t

PAD_SYMBOL stasis_pad_start[], stasis_pad_call[], stasis_pad_finish[], stasis_pad_unmap[];
PAD_SYMBOL stasis_pad_leave[], stasis_pad_area[], stasis_pad_cure[], stasis_pad_end[];
PAD_SYMBOL stasis_pad_home[], stasis_pad_mark[];

struct arch_pad arch_pad(void)
{
	return (struct arch_pad){
		.code = stasis_pad_start,
		.len = (size_t)(stasis_pad_end - stasis_pad_start),
		.call = (size_t)(stasis_pad_call - stasis_pad_start),
		.finish = (size_t)(stasis_pad_finish - stasis_pad_start),
		.unmap = (size_t)(stasis_pad_unmap - stasis_pad_start),
		.leave = (size_t)(stasis_pad_leave - stasis_pad_start),
		.home = (size_t)(stasis_pad_home - stasis_pad_start),
		.area = (size_t)(stasis_pad_area - stasis_pad_start),
		.cure = (size_t)(stasis_pad_cure - stasis_pad_start),
	};
}

/*
 * The mark is one instruction, `movb $1, displacement(%rip)`, which changes neither registers nor
 * flags: 2 bytes of opcode, 4 of displacement from its end, 1 of value. Without a mark it is a nop of
 * the same length, since the pad may lie where nothing can be written.
 */
void arch_pad_set_mark(uint8_t *pad, uint64_t pad_addr, uint64_t mark_addr)
{
	enum { DISPLACEMENT = 2, MARK_BYTES = 7 };
	static const uint8_t nop[MARK_BYTES] = {0x0f, 0x1f, 0x80, 0, 0, 0, 0};
	const size_t at = (size_t)(stasis_pad_mark - stasis_pad_start);
	const int32_t displacement = (int32_t)(mark_addr - (pad_addr + at + MARK_BYTES));

	if (!mark_addr)
		memcpy(pad + at, nop, sizeof(nop));
	else
		memcpy(pad + at + DISPLACEMENT, &displacement, sizeof(displacement));
}
