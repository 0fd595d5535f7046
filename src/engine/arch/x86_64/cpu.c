/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a processor can do that a program may have noticed: instruction sets (cpuid) and register
 * state (XCR0). Only bits that user code executes by are kept: what the kernel keeps to itself
 * (virtualisation, paging, power) and mere hints of speed must not stop a restart elsewhere.
 */
#include "arch/arch.h"

#include <cpuid.h>

enum reg { EAX, EBX, ECX, EDX };

struct feature {
	uint8_t bit;
	const char *name;
};

/* One word of the image: a cpuid register and the bits in it that matter. Order is part of the image
 * format: only ever append. */
struct feature_word {
	uint32_t leaf, subleaf;
	enum reg reg;
	const struct feature *features; /* ends with a NULL name */
};

/* clang-format off */
static const struct feature leaf1_ecx[] = {
	{0, "sse3"}, {1, "pclmulqdq"}, {9, "ssse3"}, {12, "fma"}, {13, "cmpxchg16b"}, {19, "sse4.1"},
	{20, "sse4.2"}, {22, "movbe"}, {23, "popcnt"}, {25, "aes"}, {26, "xsave"}, {27, "osxsave"},
	{28, "avx"}, {29, "f16c"}, {30, "rdrand"}, {0, NULL},
};
static const struct feature leaf1_edx[] = {
	{0, "fpu"}, {4, "tsc"}, {8, "cmpxchg8b"}, {15, "cmov"}, {19, "clflush"}, {23, "mmx"},
	{24, "fxsr"}, {25, "sse"}, {26, "sse2"}, {0, NULL},
};
static const struct feature leaf7_ebx[] = {
	{0, "fsgsbase"}, {3, "bmi1"}, {5, "avx2"}, {8, "bmi2"}, {11, "rtm"},
	{16, "avx512f"}, {17, "avx512dq"}, {18, "rdseed"}, {19, "adx"}, {21, "avx512ifma"},
	{23, "clflushopt"}, {24, "clwb"}, {26, "avx512pf"}, {27, "avx512er"}, {28, "avx512cd"},
	{29, "sha"}, {30, "avx512bw"}, {31, "avx512vl"}, {0, NULL},
};
static const struct feature leaf7_ecx[] = {
	{1, "avx512vbmi"}, {4, "ospke"}, {5, "waitpkg"}, {6, "avx512vbmi2"},
	{8, "gfni"}, {9, "vaes"}, {10, "vpclmulqdq"}, {11, "avx512vnni"}, {12, "avx512bitalg"},
	{14, "avx512vpopcntdq"}, {22, "rdpid"}, {23, "keylocker"}, {27, "movdiri"},
	{28, "movdir64b"}, {29, "enqcmd"}, {0, NULL},
};
static const struct feature leaf7_edx[] = {
	{2, "avx512_4vnniw"}, {3, "avx512_4fmaps"}, {8, "avx512vp2intersect"},
	{14, "serialize"}, {16, "tsxldtrk"}, {22, "amx-bf16"}, {23, "avx512fp16"}, {24, "amx-tile"},
	{25, "amx-int8"}, {0, NULL},
};
static const struct feature leaf7_1_eax[] = {
	{0, "sha512"}, {1, "sm3"}, {2, "sm4"}, {3, "rao-int"}, {4, "avx-vnni"}, {5, "avx512bf16"},
	{7, "cmpccxadd"}, {21, "amx-fp16"},
	{23, "avx-ifma"}, {0, NULL},
};
static const struct feature leaf7_1_edx[] = {
	{4, "avx-vnni-int8"}, {5, "avx-ne-convert"}, {8, "amx-complex"}, {10, "avx-vnni-int16"},
	{19, "avx10"}, {21, "apx"}, {0, NULL},
};
static const struct feature leafd_1_eax[] = {
	{0, "xsaveopt"}, {1, "xsavec"}, {2, "xgetbv1"}, {0, NULL},
};
static const struct feature leaf80000001_ecx[] = {
	{0, "lahf"}, {5, "lzcnt"}, {6, "sse4a"}, {7, "misalignsse"}, {8, "prefetchw"}, {11, "xop"},
	{15, "lwp"}, {16, "fma4"}, {21, "tbm"}, {29, "monitorx"}, {0, NULL},
};
static const struct feature leaf80000001_edx[] = {
	{11, "syscall"}, {22, "mmxext"}, {27, "rdtscp"}, {29, "lm"}, {30, "3dnowext"}, {31, "3dnow"},
	{0, NULL},
};
static const struct feature leaf80000008_ebx[] = {
	{0, "clzero"}, {4, "rdpru"}, {0, NULL},
};

static const struct feature_word feature_words[] = {
	{1, 0, ECX, leaf1_ecx},
	{1, 0, EDX, leaf1_edx},
	{7, 0, EBX, leaf7_ebx},
	{7, 0, ECX, leaf7_ecx},
	{7, 0, EDX, leaf7_edx},
	{7, 1, EAX, leaf7_1_eax},
	{7, 1, EDX, leaf7_1_edx},
	{0xd, 1, EAX, leafd_1_eax},
	{0x80000001, 0, ECX, leaf80000001_ecx},
	{0x80000001, 0, EDX, leaf80000001_edx},
	{0x80000008, 0, EBX, leaf80000008_ebx},
};

static const struct feature xcr0_components[] = {
	{0, "x87"}, {1, "SSE"}, {2, "AVX"}, {3, "MPX bounds"}, {4, "MPX bounds"}, {5, "AVX-512 mask"},
	{6, "AVX-512 upper half"}, {7, "AVX-512 upper registers"}, {9, "protection key"},
	{17, "AMX tile configuration"}, {18, "AMX tile"}, {19, "APX"}, {0, NULL},
};
/* clang-format on */

enum { NR_WORDS = sizeof(feature_words) / sizeof(feature_words[0]) };

static uint32_t feature_mask(const struct feature *f)
{
	uint32_t mask = 0;

	for (; f->name; f++)
		mask |= 1u << f->bit;
	return mask;
}

static const char *feature_name(const struct feature *f, unsigned bit)
{
	for (; f->name; f++)
		if (f->bit == bit)
			return f->name;
	return NULL;
}

static uint32_t read_word(const struct feature_word *w)
{
	uint32_t r[4] = {0}, max_subleaf, unused[3];

	/* Leaf 7 says how many sub-leaves it has; reading past them gives another leaf's data. */
	if (w->leaf == 7 && w->subleaf) {
		if (!__get_cpuid_count(7, 0, &max_subleaf, &unused[0], &unused[1], &unused[2]) ||
		    max_subleaf < w->subleaf)
			return 0;
	}
	if (!__get_cpuid_count(w->leaf, w->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
		return 0;
	return r[w->reg] & feature_mask(w->features);
}

size_t arch_cpu_features(uint32_t *words, size_t max)
{
	size_t nr = max < NR_WORDS ? max : NR_WORDS;

	for (size_t i = 0; i < nr; i++)
		words[i] = read_word(&feature_words[i]);
	return nr;
}

static int fail_missing_feature(size_t word, uint32_t missing, struct stasis_error *err)
{
	unsigned bit = (unsigned)__builtin_ctz(missing);
	const char *name = feature_name(feature_words[word].features, bit);

	if (name)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the program may use the processor feature '%s', which this "
				   "machine lacks",
				   name);
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "the program may use a processor feature (word %zu, bit %u) that this "
			   "machine lacks",
			   word, bit);
}

static int check_xcr0(uint64_t want, struct stasis_error *err)
{
	uint64_t missing = want & ~arch_xcr0();
	const char *name;
	unsigned bit;

	if (!missing)
		return 0;
	bit = (unsigned)__builtin_ctzll(missing);
	name = feature_name(xcr0_components, bit);
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "the image holds %s registers (XCR0 bit %u), which this machine lacks",
			   name ? name : "unknown", bit);
}

int arch_cpu_check(const uint32_t *words, size_t nr, uint64_t xcr0, struct stasis_error *err)
{
	uint32_t mine[NR_WORDS] = {0};

	(void)arch_cpu_features(mine, NR_WORDS);
	for (size_t i = 0; i < nr; i++) {
		if (i >= NR_WORDS && words[i])
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "the image names processor features (word %zu) that this "
					   "version does not know",
					   i);
		if (i < NR_WORDS && words[i] & ~mine[i])
			return fail_missing_feature(i, words[i] & ~mine[i], err);
	}
	return check_xcr0(xcr0, err);
}

static bool has_osxsave(void)
{
	uint32_t eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_OSXSAVE;
}

uint64_t arch_xcr0(void)
{
	uint32_t lo, hi;

	if (!has_osxsave())
		return 3; /* x87 and SSE are always there */
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

uint32_t arch_xsave_size(void)
{
	enum { LEGACY_AREA = 512 };
	uint32_t eax, ebx, ecx, edx;

	/* ebx is for the components enabled in XCR0, ecx for all that the processor has */
	if (!has_osxsave() || !__get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx))
		return LEGACY_AREA;
	return ebx;
}

bool arch_may_shadow_stack(void)
{
	enum { LEAF7_ECX_SHSTK = 1u << 7 };
	uint32_t eax, ebx, ecx, edx;

	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ecx & LEAF7_ECX_SHSTK;
}

bool arch_has_fast_hash(void)
{
	return __builtin_cpu_supports("avx2") != 0;
}
