/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the leader tells about the process as a whole. */
#include "parasite/parasite_priv.h"

#include <linux/prctl.h>
#include <linux/resource.h>

enum {
	PRCTL_GET_AUXV = 0x41555856, /* Linux 6.4 */
	PRCTL_GET_MDWE = 66,	     /* Linux 6.3 */
	PRCTL_GET_MEMORY_MERGE = 68, /* Linux 6.4 */
};

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

struct kernel_itimerval {
	int64_t interval_s, interval_us, value_s, value_us;
};

enum { US_PER_S = 1000000, SIGSET_BYTES = 8 };

static void collect_sigactions(struct parasite_task *ret)
{
	for (int sig = 1; sig <= PARASITE_NSIG; sig++) {
		struct kernel_sigaction sa = {0};

		(void)SYS4(rt_sigaction, sig, 0, &sa, SIGSET_BYTES); /* cannot fail for these */
		ret->sigactions[sig - 1] = (struct parasite_sigaction){
			.handler = sa.handler,
			.flags = sa.flags,
			.restorer = sa.restorer,
			.mask = sa.mask,
		};
	}
}

static void collect_itimers(struct parasite_task *ret)
{
	for (int which = 0; which < 3; which++) {
		struct kernel_itimerval v = {0};

		(void)SYS2(getitimer, which, &v); /* cannot fail for 0..2 */
		ret->itimers[which].interval_us = v.interval_s * US_PER_S + v.interval_us;
		ret->itimers[which].value_us = v.value_s * US_PER_S + v.value_us;
	}
}

static uint32_t non_negative(long r)
{
	return r < 0 ? 0 : (uint32_t)r;
}

/* The kernel looks for the mapping after it has seen that the key is allocated, and finds none in its own half
 * of the addresses. Key 0 is always allocated where there are keys at all. */
static uint32_t collect_pkeys(void)
{
	enum { NR_KEYS = 16 };
	const uint64_t nowhere = 0xffff800000000000;
	uint32_t allocated = 0;

	for (int key = 0; key < NR_KEYS; key++) {
		if (SYS4(pkey_mprotect, nowhere, 4096, 0, key) == -ENOMEM_NR)
			allocated |= 1u << key;
		else if (key == 0)
			return 0;
	}
	return allocated & ~1u;
}

void task_collect(struct parasite_task *ret)
{
	uint64_t limit[2] = {~0ull, ~0ull}; /* RLIM_INFINITY */
	int32_t subreaper = 0;
	long mask, auxv;

	collect_sigactions(ret);
	collect_itimers(ret);
	ret->dumpable = non_negative(SYS1(prctl, PR_GET_DUMPABLE));
	(void)SYS2(prctl, PR_GET_CHILD_SUBREAPER, &subreaper); /* stays 0 */
	ret->child_subreaper = (uint32_t)subreaper;
	ret->thp_disable = non_negative(SYS5(prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0));
	ret->mdwe = non_negative(SYS5(prctl, PRCTL_GET_MDWE, 0, 0, 0, 0));
	ret->memory_merge = non_negative(SYS5(prctl, PRCTL_GET_MEMORY_MERGE, 0, 0, 0, 0));
	/* umask(2) can only be read by setting it; other threads stand still */
	mask = SYS1(umask, 0);
	SYS1(umask, mask);
	ret->umask = (uint32_t)mask;
	ret->brk = (uint64_t)SYS1(brk, 0);
	ret->pkeys = collect_pkeys();
	(void)SYS4(prlimit64, 0, RLIMIT_FSIZE, 0, limit);
	ret->file_limit = limit[0];
	auxv = SYS5(prctl, PRCTL_GET_AUXV, ret->auxv, sizeof(ret->auxv), 0, 0);
	ret->nr_auxv_bytes = auxv > 0 && auxv <= (long)sizeof(ret->auxv) ? (uint32_t)auxv : 0;
}
