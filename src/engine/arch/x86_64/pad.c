/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the parts of pad_code.S are. */
#include "arch/arch.h"
#include "arch/cure.h"

#define PAD_SYMBOL extern __attribute__((__visibility__("hidden"))) const uint8_t

PAD_SYMBOL stasis_pad_start[], stasis_pad_call[], stasis_pad_finish[], stasis_pad_unmap[];
PAD_SYMBOL stasis_pad_leave[], stasis_pad_area[], stasis_pad_cure[], stasis_pad_end[];

struct arch_pad arch_pad(void)
{
	return (struct arch_pad){
		.code = stasis_pad_start,
		.len = (size_t)(stasis_pad_end - stasis_pad_start),
		.call = (size_t)(stasis_pad_call - stasis_pad_start),
		.finish = (size_t)(stasis_pad_finish - stasis_pad_start),
		.unmap = (size_t)(stasis_pad_unmap - stasis_pad_start),
		.leave = (size_t)(stasis_pad_leave - stasis_pad_start),
		.area = (size_t)(stasis_pad_area - stasis_pad_start),
		.cure = (size_t)(stasis_pad_cure - stasis_pad_start),
	};
}
