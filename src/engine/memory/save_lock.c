/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mlockall(MCL_FUTURE) leaves a mark on the address space that nothing shows. It shows in what is
 * mapped afterwards, which the parasite is: the kernel counts its area as locked memory, or not.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/scoped.h"

#include <sys/mman.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

static uint64_t locked_kb(const struct task *t)
{
	scoped(proc_status_done) struct proc_status now = {.groups = NULL};

	return proc_read_status(t->procfd, "status", &now, NULL) < 0 ? 0 : now.locked_kb;
}

int save_lock_future(const struct save_task *st, uint32_t *ret, struct stasis_error *err)
{
	struct vma_list list = { 0 };
	tracee_addr area = inject_area(st->t);

	*ret = 0;
	if (!area || locked_kb(st->t) <= st->t->threads[0].status.locked_kb)
		return 0;
	*ret = MCL_FUTURE;
	if (vma_list_read(st->t->procfd, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < list.nr; i++)
		if (list.v[i].start <= area && area < list.v[i].end &&
		    (list.v[i].flags & VMA_F_LOCKONFAULT))
			*ret |= MCL_ONFAULT;
	vma_list_done(&list);
	return 0;
}
