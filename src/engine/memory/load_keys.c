/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory protection keys (pkeys(7), Linux 4.9). Which are allocated belongs to the address space; which may be
 * accessed, to the registers of a thread (PKRU, part of its XSAVE area). pkey_alloc() gives the lowest free one.
 *
 * The kernel takes a key for itself when a mapping becomes PROT_EXEC alone, the lowest free one, too: such
 * mappings are staged readable, and become what they were when the program's own keys have been taken.
 */
#include "memory/load_priv.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

uint32_t load_staged_prot(const Stasis__Vma *v)
{
	return v->prot == PROT_EXEC ? PROT_READ | PROT_EXEC : v->prot;
}

/* A mapping's key that is not allocated is the kernel's own, or was freed while in use. */
static bool is_kernels_key(const Stasis__Mm *mm, const Stasis__Vma *v)
{
	return v->prot == PROT_EXEC && !(mm->pkeys & 1u << v->pkey);
}

/* All that are needed now, those which were freed while in use among them. */
static uint32_t needed_keys(const struct load_proc *lp)
{
	uint32_t keys = lp->p->mm->pkeys & ((1u << LOAD_NR_PKEYS) - 2);

	for (size_t i = 0; i < lp->nr_vmas; i++)
		if (lp->vmas[i].v->pkey && !is_kernels_key(lp->p->mm, lp->vmas[i].v))
			keys |= 1u << lp->vmas[i].v->pkey;
	return keys;
}

static void free_keys(uint32_t keys)
{
	for (int key = 1; key < LOAD_NR_PKEYS; key++)
		if (keys & 1u << key)
			(void)pkey_free(key);
}

int load_take_pkeys(const struct load_proc *lp, struct stasis_error *err)
{
	const uint32_t needed = needed_keys(lp);
	uint32_t taken = 0;
	int key;

	while ((taken & needed) != needed) {
		key = pkey_alloc(0, 0);
		if (key < 0) {
			free_keys(taken);
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "the program uses memory protection keys (pkeys(7)), and %s",
					   errno == ENOSPC && taken ? "one of them cannot be had again" :
								      "this machine has none");
		}
		taken |= 1u << key;
	}
	free_keys(taken & ~needed);
	return 0;
}

int load_set_pkey(const struct load_proc *lp, const Stasis__Vma *v, void *at, uint64_t len,
		  struct stasis_error *err)
{
	const bool is_kernels = is_kernels_key(lp->p->mm, v);

	if (v->pkey == 0 && !is_kernels)
		return 0;
	if ((is_kernels ? mprotect(at, len, (int)v->prot) : pkey_mprotect(at, len, (int)v->prot, (int)v->pkey)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "protect %llx-%llx with key %u",
					 (unsigned long long)v->start, (unsigned long long)v->end, v->pkey);
	return 0;
}

void load_free_pkeys(const struct load_proc *lp)
{
	free_keys(needed_keys(lp) & ~lp->p->mm->pkeys);
}
