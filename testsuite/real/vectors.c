/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checksum that lives in registers: all vector registers of the widest kind this processor has, the
 * AVX-512 masks, the eight x87 registers, MXCSR and the x87 control word. Every step mixes each
 * register into its neighbour, so one lost bit changes everything that follows. They are stored and
 * printed only at the end of a chunk of steps.
 *
 *   vectors CHUNKS STEPS
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_VEC	 32 /* the narrower kinds use the first 16 */
#define NR_MASK	 8
#define NR_FLOAT 8

struct state {
	_Alignas(64) uint64_t vec[NR_VEC][8];
	uint64_t mask[NR_MASK];
	_Alignas(16) uint8_t x87[NR_FLOAT][16];
	uint32_t mxcsr;
	uint16_t control;
	int16_t two; /* follows control: X87_STEP knows */
};

_Static_assert(offsetof(struct state, two) == offsetof(struct state, control) + 2, "X87_STEP");

typedef void run_fn(struct state *st, uint64_t steps);

/* clang-format off */
#define X16(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define X32(F) X16(F) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) \
	F(29) F(30) F(31)

#define CLOBBER16 "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
	"xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define CLOBBER32 CLOBBER16, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", \
	"xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#define CLOBBER_MASKS "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#define CLOBBER_X87 "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"

#define OPERANDS \
	: [steps] "+r"(steps) \
	: [vec] "r"(st->vec), [mask] "r"(st->mask), [x87] "r"(st->x87), [mxcsr] "r"(&st->mxcsr), \
	  [control] "r"(&st->control)

#define BEGIN	"ldmxcsr (%[mxcsr])\n\t"
#define LOOP	"1:\n\t"
#define AGAIN	"dec %[steps]\n\t jnz 1b\n\t"
#define END	"stmxcsr (%[mxcsr])\n\t"

/* ---- x87: three registers a step take x = 2 - x * x, which is chaotic; then the stack turns by one */

#define X87_LOAD(n)  "fldt " #n "*16(%[x87])\n\t"
#define X87_STORE(n) "fstpt " #n "*16(%[x87])\n\t"
#define X87_MAP	     "fmul %%st(0), %%st\n\t fchs\n\t fiadds 2(%[control])\n\t"
#define X87_STEP     X87_MAP "fxch %%st(3)\n\t" X87_MAP "fxch %%st(5)\n\t" X87_MAP "fincstp\n\t"
#define X87_BEGIN    "fninit\n\t fldcw (%[control])\n\t" X87_LOAD(7) X87_LOAD(6) X87_LOAD(5) \
	X87_LOAD(4) X87_LOAD(3) X87_LOAD(2) X87_LOAD(1) X87_LOAD(0)
#define X87_END	     "fnstcw (%[control])\n\t" X87_STORE(0) X87_STORE(1) X87_STORE(2) X87_STORE(3) \
	X87_STORE(4) X87_STORE(5) X87_STORE(6) X87_STORE(7) "fninit\n\t"

/* ---- AVX-512: 32 registers of 512 bits and seven masks */

#define Z_LOAD(n)  "vmovdqu64 " #n "*64(%[vec]), %%zmm" #n "\n\t"
#define Z_STORE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[vec])\n\t"
#define K_LOAD(n)  "kmovw " #n "*8(%[mask]), %%k" #n "\n\t"
#define K_STORE(n) "kmovw %%k" #n ", " #n "*8(%[mask])\n\t"
/* a takes in its neighbour b and turns; mask k decides which lanes take in c as well */
#define Z_MIX(a, b, c, k) \
	"vpaddq %%zmm" #b ", %%zmm" #a ", %%zmm" #a "\n\t" \
	"vprolq $" #k "*7+3, %%zmm" #a ", %%zmm" #a "\n\t" \
	"vpxorq %%zmm" #c ", %%zmm" #a ", %%zmm" #a "%{%%k" #k "%}\n\t"
#define K_MIX(k, a) "vpcmpuq $1, %%zmm" #a ", %%zmm" #k ", %%k" #k "\n\t"

__attribute__((__target__("avx512f"))) static void run_avx512(struct state *st, uint64_t steps)
{
	__asm__ volatile(
		BEGIN X87_BEGIN X32(Z_LOAD)
		K_LOAD(1) K_LOAD(2) K_LOAD(3) K_LOAD(4) K_LOAD(5) K_LOAD(6) K_LOAD(7)
		LOOP
		Z_MIX(0, 1, 17, 1) Z_MIX(1, 2, 18, 2) Z_MIX(2, 3, 19, 3) Z_MIX(3, 4, 20, 4)
		Z_MIX(4, 5, 21, 5) Z_MIX(5, 6, 22, 6) Z_MIX(6, 7, 23, 7) Z_MIX(7, 8, 24, 1)
		Z_MIX(8, 9, 25, 2) Z_MIX(9, 10, 26, 3) Z_MIX(10, 11, 27, 4) Z_MIX(11, 12, 28, 5)
		Z_MIX(12, 13, 29, 6) Z_MIX(13, 14, 30, 7) Z_MIX(14, 15, 31, 1) Z_MIX(15, 16, 0, 2)
		Z_MIX(16, 17, 1, 3) Z_MIX(17, 18, 2, 4) Z_MIX(18, 19, 3, 5) Z_MIX(19, 20, 4, 6)
		Z_MIX(20, 21, 5, 7) Z_MIX(21, 22, 6, 1) Z_MIX(22, 23, 7, 2) Z_MIX(23, 24, 8, 3)
		Z_MIX(24, 25, 9, 4) Z_MIX(25, 26, 10, 5) Z_MIX(26, 27, 11, 6) Z_MIX(27, 28, 12, 7)
		Z_MIX(28, 29, 13, 1) Z_MIX(29, 30, 14, 2) Z_MIX(30, 31, 15, 3) Z_MIX(31, 0, 16, 4)
		K_MIX(1, 11) K_MIX(2, 13) K_MIX(3, 17) K_MIX(4, 19) K_MIX(5, 23) K_MIX(6, 29)
		K_MIX(7, 31)
		X87_STEP AGAIN X32(Z_STORE)
		K_STORE(1) K_STORE(2) K_STORE(3) K_STORE(4) K_STORE(5) K_STORE(6) K_STORE(7)
		"vzeroupper\n\t" X87_END END
		OPERANDS : "memory", "cc", CLOBBER32, CLOBBER_MASKS, CLOBBER_X87);
}

/* ---- AVX2: 16 registers of 256 bits */

#define Y_LOAD(n)  "vmovdqu " #n "*64(%[vec]), %%ymm" #n "\n\t"
#define Y_STORE(n) "vmovdqu %%ymm" #n ", " #n "*64(%[vec])\n\t"
#define Y_MIX(a, b, c) \
	"vpaddq %%ymm" #b ", %%ymm" #a ", %%ymm" #a "\n\t" \
	"vpermq $0x93, %%ymm" #a ", %%ymm" #a "\n\t" \
	"vpxor %%ymm" #c ", %%ymm" #a ", %%ymm" #a "\n\t"

__attribute__((__target__("avx2"))) static void run_avx2(struct state *st, uint64_t steps)
{
	__asm__ volatile(
		BEGIN X87_BEGIN X16(Y_LOAD) LOOP
		Y_MIX(0, 1, 5) Y_MIX(1, 2, 6) Y_MIX(2, 3, 7) Y_MIX(3, 4, 8) Y_MIX(4, 5, 9)
		Y_MIX(5, 6, 10) Y_MIX(6, 7, 11) Y_MIX(7, 8, 12) Y_MIX(8, 9, 13) Y_MIX(9, 10, 14)
		Y_MIX(10, 11, 15) Y_MIX(11, 12, 0) Y_MIX(12, 13, 1) Y_MIX(13, 14, 2)
		Y_MIX(14, 15, 3) Y_MIX(15, 0, 4)
		X87_STEP AGAIN X16(Y_STORE) "vzeroupper\n\t" X87_END END
		OPERANDS : "memory", "cc", CLOBBER16, CLOBBER_X87);
}

/* ---- SSE2: 16 registers of 128 bits */

#define S_LOAD(n)  "movdqu " #n "*64(%[vec]), %%xmm" #n "\n\t"
#define S_STORE(n) "movdqu %%xmm" #n ", " #n "*64(%[vec])\n\t"
#define S_MIX(a, b, c) \
	"paddq %%xmm" #b ", %%xmm" #a "\n\t" \
	"pshufd $0x93, %%xmm" #a ", %%xmm" #a "\n\t" \
	"pxor %%xmm" #c ", %%xmm" #a "\n\t"

static void run_sse2(struct state *st, uint64_t steps)
{
	__asm__ volatile(
		BEGIN X87_BEGIN X16(S_LOAD) LOOP
		S_MIX(0, 1, 5) S_MIX(1, 2, 6) S_MIX(2, 3, 7) S_MIX(3, 4, 8) S_MIX(4, 5, 9)
		S_MIX(5, 6, 10) S_MIX(6, 7, 11) S_MIX(7, 8, 12) S_MIX(8, 9, 13) S_MIX(9, 10, 14)
		S_MIX(10, 11, 15) S_MIX(11, 12, 0) S_MIX(12, 13, 1) S_MIX(13, 14, 2)
		S_MIX(14, 15, 3) S_MIX(15, 0, 4)
		X87_STEP AGAIN X16(S_STORE) X87_END END
		OPERANDS : "memory", "cc", CLOBBER16, CLOBBER_X87);
}
/* clang-format on */

static uint64_t draw(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 11 ^ *x << 40;
}

static void state_init(struct state *st)
{
	uint64_t x = 4711;

	memset(st, 0, sizeof(*st));
	for (unsigned i = 0; i < NR_VEC; i++)
		for (unsigned j = 0; j < 8; j++)
			st->vec[i][j] = draw(&x);
	for (unsigned i = 0; i < NR_MASK; i++)
		st->mask[i] = draw(&x) & 0xff;
	for (unsigned i = 0; i < NR_FLOAT; i++) {
		long double v = 0.1L + (long double)i / 7;

		memcpy(st->x87[i], &v, 10);
	}
	st->mxcsr = 0x7fa0;   /* towards zero, an inexact result on record, all exceptions masked */
	st->control = 0x0b7f; /* upwards, 64 bits, all exceptions masked */
	st->two = 2;
}

static uint64_t state_digest(const struct state *st)
{
	const uint8_t *b = (const uint8_t *)st;
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < sizeof(*st); i++)
		h = (h ^ b[i]) * 0x100000001b3u;
	return h;
}

static run_fn *best_kind(const char **ret_name)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return *ret_name = "AVX-512", run_avx512;
	if (__builtin_cpu_supports("avx2"))
		return *ret_name = "AVX2", run_avx2;
	return *ret_name = "SSE2", run_sse2;
}

int main(int argc, char **argv)
{
	static const uint32_t mxcsr_normal = 0x1f80;
	uint64_t chunks = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	struct state st;
	const char *name;
	run_fn *run = best_kind(&name);

	if (!steps)
		return 2;
	(void)printf("%s\n", name);
	state_init(&st);
	for (uint64_t i = 0; i < chunks; i++) {
		run(&st, steps);
		__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr_normal));
		(void)printf("%" PRIu64 " %016" PRIx64 " mxcsr %x control %x\n", i,
			     state_digest(&st), (unsigned)st.mxcsr, (unsigned)st.control);
	}
	return 0;
}
