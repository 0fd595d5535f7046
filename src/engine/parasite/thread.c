/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one thread tells about itself. Compiled for general registers only: in the threads other than
 * the leader nobody saves the vector registers.
 */
#include "parasite/parasite_priv.h"

#include <linux/futex.h>
#include <linux/prctl.h>

struct kernel_stack { /* stack_t */
	uint64_t sp;
	int32_t flags;
	uint64_t size;
};

enum { PRCTL_GET_IO_FLUSHER = 58, WAKE_ALL = 0x7fffffff };

#define QUERY_PERSONALITY 0xffffffffu /* personality(2): changes nothing */

/* A value that prctl returns; an unknown option (old kernel) counts as 0, the default. */
static uint32_t prctl_value(int option)
{
	long r = SYS5(prctl, option, 0, 0, 0, 0);

	return r < 0 ? 0 : (uint32_t)r;
}

/* A value that prctl stores. */
static uint32_t prctl_stored(int option)
{
	int32_t value = 0;

	return SYS2(prctl, option, &value) < 0 ? 0 : (uint32_t)value;
}

uint32_t policy_collect(uint64_t addr, uint64_t flags, uint64_t *ret_nodes)
{
	enum { NODES = 65 }; /* where there can be more the kernel refuses: no policy is known then */
	uint64_t nodes = 0;
	int32_t mode = 0;

	*ret_nodes = 0;
	if (SYS5(get_mempolicy, &mode, &nodes, NODES, addr, flags) < 0)
		return 0;
	*ret_nodes = nodes;
	return (uint32_t)mode;
}

void thread_collect(struct parasite_thread *ret)
{
	struct kernel_stack alt = {0};
	long slack;

	ret->tid = (int32_t)SYS0(gettid);
	if (SYS2(sigaltstack, 0, &alt) == 0) {
		ret->altstack_sp = alt.sp;
		ret->altstack_flags = (uint32_t)alt.flags;
		ret->altstack_size = alt.size;
	}
	ret->clear_child_tid = 0;
	(void)SYS2(prctl, PR_GET_TID_ADDRESS, &ret->clear_child_tid); /* stays 0: unknown */
	ret->pdeath_signal = prctl_stored(PR_GET_PDEATHSIG);
	ret->securebits = prctl_value(PR_GET_SECUREBITS);
	ret->mce_kill = prctl_value(PR_MCE_KILL_GET);
	ret->tsc_mode = prctl_stored(PR_GET_TSC);
	ret->io_flusher = prctl_value(PRCTL_GET_IO_FLUSHER);
	ret->personality = (uint32_t)SYS1(personality, QUERY_PERSONALITY);
	for (int i = 0; i < PARASITE_NR_SPECULATION; i++) {
		long state = SYS5(prctl, PR_GET_SPECULATION_CTRL, i, 0, 0, 0);

		ret->speculation[i] = state < 0 ? 0 : (uint32_t)state;
	}
	slack = SYS5(prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	ret->timerslack_ns = slack < 0 ? 0 : (uint64_t)slack;
	ret->policy_mode = policy_collect(0, 0, &ret->policy_nodes);
	(void)SYS2(prctl, PR_GET_NAME, ret->comm); /* cannot fail: writable memory */
}

/*
 * Runs in every thread but the leader, signals blocked, on a stack of a few hundred bytes. Returns
 * only when the engine has died: start.S then sends the thread home. While the engine lives it stops
 * the thread in the wait and puts its registers back. futex(2) without a time-out leaves no restart
 * block.
 */
void parasite_thread(struct wire_thread *t)
{
	struct wire_area *a = (struct wire_area *)t->area;

	__atomic_store_n(&t->has_entered, 1, __ATOMIC_SEQ_CST);
	thread_collect(&t->result);
	/* the leader waits for the last one */
	if (__atomic_add_fetch(&a->nr_done, 1, __ATOMIC_SEQ_CST) ==
	    __atomic_load_n(&a->nr_running, __ATOMIC_SEQ_CST))
		SYS3(futex, &a->nr_done, FUTEX_WAKE_PRIVATE, WAKE_ALL);
	while (!__atomic_load_n(&a->is_over, __ATOMIC_SEQ_CST))
		SYS4(futex, &a->is_over, FUTEX_WAIT_PRIVATE, 0, 0);
}
