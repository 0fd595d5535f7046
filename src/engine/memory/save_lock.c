/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mlockall(MCL_FUTURE) leaves a mark on the address space that nothing shows. It shows in what is
 * mapped afterwards, which the parasite is: the kernel counts its area as locked memory, or not.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STATUS_MAX_BYTES (64u << 10)

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

uint64_t save_locked_kb(const struct task *t)
{
	static const char key[] = "\nVmLck:";
	scoped_free char *text = NULL;
	const char *at;
	size_t len;

	if (io_read_file_at(t->procfd, "status", STATUS_MAX_BYTES, &text, &len, NULL) < 0)
		return 0;
	at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

int save_lock_future(const struct save_task *st, uint32_t *ret, struct stasis_error *err)
{
	struct vma_list list = { 0 };
	tracee_addr area = inject_area(st->t);

	*ret = 0;
	if (!area || save_locked_kb(st->t) <= st->locked_kb)
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
