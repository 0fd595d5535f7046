/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holds known values in every register for nearly all of its time and checks them in a loop: a lost
 * vector, mask, x87 or control register shows as a wrong value. */
#include "subject.h"

#include <string.h>

#define SPIN 3000000u /* loop turns: about a millisecond in the registers' hands */

static uint8_t vec_in[32][64] __attribute__((aligned(64)));
static uint8_t vec_out[32][64] __attribute__((aligned(64)));

/* General registers: each gets a value, the loop counts in rcx only. */
static void check_general(uint64_t seed)
{
	uint64_t in[8], out[8];
	uint64_t turns = SPIN;
	unsigned i;

	for (i = 0; i < 8; i++)
		in[i] = seed * 0x9e3779b97f4a7c15u + i;
	__asm__ volatile("mov 0(%[in]), %%r8\n\tmov 8(%[in]), %%r9\n\t"
			 "mov 16(%[in]), %%r10\n\tmov 24(%[in]), %%r11\n\t"
			 "mov 32(%[in]), %%r12\n\tmov 40(%[in]), %%r13\n\t"
			 "mov 48(%[in]), %%r14\n\tmov 56(%[in]), %%r15\n\t"
			 "1: dec %[n]\n\tjnz 1b\n\t"
			 "mov %%r8, 0(%[out])\n\tmov %%r9, 8(%[out])\n\t"
			 "mov %%r10, 16(%[out])\n\tmov %%r11, 24(%[out])\n\t"
			 "mov %%r12, 32(%[out])\n\tmov %%r13, 40(%[out])\n\t"
			 "mov %%r14, 48(%[out])\n\tmov %%r15, 56(%[out])\n\t"
			 : [n] "+c"(turns)
			 : [in] "S"(in), [out] "D"(out)
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	CHECK(memcmp(in, out, sizeof(in)) == 0);
}

#define FOR16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define XMM_CLOBBERS                                                                             \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

#define LOAD_XMM(n)  "movdqu " #n "*64(%[in]), %%xmm" #n "\n\t"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*64(%[out])\n\t"
#define LOAD_YMM(n)  "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n\t"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n\t"
#define LOAD_ZMM(n)  "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n\t"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n\t"

#define HOLD(load, store)                                                       \
	__asm__ volatile(FOR16(load) "1: dec %[n]\n\tjnz 1b\n\t" FOR16(store)   \
			 : [n] "+r"(turns)                                      \
			 : [in] "r"(vec_in), [out] "r"(vec_out)                 \
			 : "memory", "cc", XMM_CLOBBERS)

static void check_vectors(uint64_t seed)
{
	uint64_t turns = SPIN;
	size_t width = 16;
	unsigned i;

	pattern_fill(vec_in, sizeof(vec_in), seed);
	memset(vec_out, 0, sizeof(vec_out));
	if (__builtin_cpu_supports("avx512f")) {
		HOLD(LOAD_ZMM, STORE_ZMM);
		width = 64;
	} else if (__builtin_cpu_supports("avx")) {
		HOLD(LOAD_YMM, STORE_YMM);
		width = 32;
	} else {
		HOLD(LOAD_XMM, STORE_XMM);
	}
	if (width > 16)
		__asm__ volatile("vzeroupper" ::: XMM_CLOBBERS);
	for (i = 0; i < 16; i++)
		CHECK(memcmp(vec_in[i], vec_out[i], width) == 0);
}

/* The upper sixteen vector registers and the masks, which the compiler leaves alone here. */
static void check_avx512_upper(uint64_t seed)
{
	uint64_t turns = SPIN;
	uint16_t mask = (uint16_t)(seed * 40503u), mask_out = 0;

	if (!__builtin_cpu_supports("avx512f"))
		return;
	pattern_fill(vec_in, sizeof(vec_in), seed);
	memset(vec_out, 0, sizeof(vec_out));
	__asm__ volatile("vmovdqu64 0(%[in]), %%zmm16\n\tvmovdqu64 64(%[in]), %%zmm23\n\t"
			 "vmovdqu64 128(%[in]), %%zmm31\n\tkmovw %k[m], %%k5\n\t"
			 "1: dec %[n]\n\tjnz 1b\n\t"
			 "vmovdqu64 %%zmm16, 0(%[out])\n\tvmovdqu64 %%zmm23, 64(%[out])\n\t"
			 "vmovdqu64 %%zmm31, 128(%[out])\n\tkmovw %%k5, %k[mo]\n\t"
			 : [n] "+r"(turns), [mo] "=r"(mask_out)
			 : [in] "r"(vec_in), [out] "r"(vec_out), [m] "r"((uint32_t)mask)
			 : "memory", "cc");
	CHECK(memcmp(vec_in, vec_out, 192) == 0);
	CHECK(mask == mask_out);
}

/* x87: eight values on the stack and an unusual control word; SSE: rounding towards zero. */
static void check_x87_and_mxcsr(uint64_t seed)
{
	uint64_t turns = SPIN, in[8], out[8];
	uint16_t cw = 0x0c7f, cw_out = 0, cw_old;
	uint32_t mxcsr = 0x1f80 | 0x6000, mxcsr_out = 0, mxcsr_old;
	unsigned i;

	for (i = 0; i < 8; i++)
		in[i] = (seed << 8) + i;
	__asm__ volatile("fnstcw %[old]\n\tstmxcsr %[mold]\n\tfninit\n\tfldcw %[cw]\n\tldmxcsr %[mx]\n\t"
			 "fildll 0(%[in])\n\tfildll 8(%[in])\n\tfildll 16(%[in])\n\tfildll 24(%[in])\n\t"
			 "fildll 32(%[in])\n\tfildll 40(%[in])\n\tfildll 48(%[in])\n\tfildll 56(%[in])\n\t"
			 "1: dec %[n]\n\tjnz 1b\n\t"
			 "fistpll 56(%[out])\n\tfistpll 48(%[out])\n\tfistpll 40(%[out])\n\t"
			 "fistpll 32(%[out])\n\tfistpll 24(%[out])\n\tfistpll 16(%[out])\n\t"
			 "fistpll 8(%[out])\n\tfistpll 0(%[out])\n\t"
			 "fnstcw %[cwo]\n\tstmxcsr %[mxo]\n\tfldcw %[old]\n\tldmxcsr %[mold]\n\t"
			 : [n] "+r"(turns), [old] "=m"(cw_old), [mold] "=m"(mxcsr_old), [cwo] "=m"(cw_out),
			   [mxo] "=m"(mxcsr_out)
			 : [in] "r"(in), [out] "r"(out), [cw] "m"(cw), [mx] "m"(mxcsr)
			 : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
			   "st(7)");
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CHECK(cw_out == cw);
	CHECK((mxcsr_out & ~0x3fu) == (mxcsr & ~0x3fu));
}

int main(void)
{
	uint64_t seed;

	subject_init();
	subject_ready();
	for (seed = 1; !subject_is_go(); seed++) {
		check_general(seed);
		check_vectors(seed);
		check_avx512_upper(seed);
		check_x87_and_mxcsr(seed);
	}
	subject_ok();
}
