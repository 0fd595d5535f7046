/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads signal queues without taking anything out of them. */
#include "dump/dump_priv.h"
#include "lib/scoped.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>

enum {
	SIGINFO_BYTES = 128,
	BATCH = 32,
	MAX_QUEUED = 1 << 20, /* far above any RLIMIT_SIGPENDING in use */
};
_Static_assert(sizeof(siginfo_t) == SIGINFO_BYTES, "siginfo_t is what the image stores");

static int append(ProtobufCBinaryData **list, size_t *nr, const siginfo_t *infos, size_t count,
		  struct arena *a)
{
	ProtobufCBinaryData *bigger = realloc(*list, (*nr + count) * sizeof(**list));

	if (!bigger)
		return -1;
	*list = bigger;
	for (size_t i = 0; i < count; i++, (*nr)++) {
		bigger[*nr].len = SIGINFO_BYTES;
		bigger[*nr].data = arena_memdup(a, &infos[i], SIGINFO_BYTES);
		if (!bigger[*nr].data)
			return -1;
	}
	return 0;
}

/* PTRACE_PEEKSIGINFO, Linux 3.10. */
static int read_queue(pid_t tid, bool is_shared, struct arena *a, struct pending *ret,
		      struct stasis_error *err)
{
	struct __ptrace_peeksiginfo_args args = {
		.flags = is_shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = BATCH,
	};
	scoped_free ProtobufCBinaryData *list = NULL;
	siginfo_t infos[BATCH];
	size_t nr = 0;
	long n;

	do {
		n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos);
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read the queued signals of %d",
						 tid);
		if (n && append(&list, &nr, infos, (size_t)n, a) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for queued signals");
		args.off += (uint64_t)n;
	} while (n == BATCH && nr < MAX_QUEUED);
	ret->nr = nr;
	ret->list = nr ? arena_memdup(a, list, nr * sizeof(*list)) : NULL;
	if (nr && !ret->list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for queued signals");
	return 0;
}

int dump_pending_read(struct task *t, struct arena *a, struct task_pending *ret,
		      struct stasis_error *err)
{
	if (!task_is_saved(t))
		return 0;
	ret->threads = arena_alloc(a, t->nr_threads * sizeof(*ret->threads));
	if (!ret->threads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for queued signals");
	for (size_t i = 0; i < t->nr_threads; i++)
		if (read_queue(t->threads[i].tid, false, a, &ret->threads[i], err) < 0)
			return -1;
	return read_queue(t->threads[0].tid, true, a, &ret->shared, err);
}
