/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seccomp state of each thread. Only root outside of seccomp can read filters
 * (PTRACE_SECCOMP_GET_FILTER, Linux 4.4). Whoever is confined like its target shares a container with
 * it: those filters are inherited by what is restarted there, so they need not be read.
 */
#include "dump/plan.h"
#include "dump/dump_priv.h"
#include "lib/scoped.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ptrace.h>

#ifndef PTRACE_SECCOMP_GET_METADATA /* Linux 4.16; of glibc's headers not all have it */
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif

enum { TEXT_BYTES = 240, MAX_CHAIN = 4096 };

struct metadata { /* struct seccomp_metadata */
	uint64_t filter_off, flags;
};

/* What is being read of one process. */
struct reader {
	struct dump_plan *p;
	struct task *t;
	struct task_seccomp *ret;
	size_t room;
	bool has_told; /* one obstacle for each process will do */
};

static void tell(struct reader *rd, const struct thread *th, const char *what)
{
	char text[TEXT_BYTES];

	if (rd->has_told)
		return;
	rd->has_told = true;
	(void)snprintf(text, sizeof(text), "thread %d %.200s", th->tid, what);
	dump_plan_add_obstacle(rd->p, rd->t, -1, text);
}

/* Threads share filters, as a rule all of them. */
static int find_or_add(struct reader *rd, const struct sock_filter *f, size_t nr, uint32_t flags,
		       uint32_t *ret_index, struct stasis_error *err)
{
	struct task_seccomp *s = rd->ret;
	const size_t len = nr * sizeof(*f);
	Stasis__SeccompFilter *record;

	for (size_t i = 0; i < s->nr_filters; i++)
		if (s->filters[i]->program.len == len && s->filters[i]->flags == flags &&
		    memcmp(s->filters[i]->program.data, f, len) == 0) {
			*ret_index = (uint32_t)i;
			return 0;
		}
	if (!s->filters) /* few processes have any */
		s->filters = arena_alloc(&rd->p->arena, MAX_CHAIN * sizeof(Stasis__SeccompFilter *));
	record = arena_alloc(&rd->p->arena, sizeof(*record));
	if (!s->filters || !record || s->nr_filters == MAX_CHAIN)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	stasis__seccomp_filter__init(record);
	record->flags = flags;
	record->program.len = len;
	record->program.data = arena_memdup(&rd->p->arena, f, len);
	if (!record->program.data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	s->filters[s->nr_filters] = record;
	*ret_index = (uint32_t)s->nr_filters++;
	return 0;
}

static void check_filter(struct reader *rd, const struct thread *th, const struct sock_filter *f,
			 size_t nr)
{
	const char *call = seccomp_deadly_call(f, nr);
	char text[TEXT_BYTES];

	if (seccomp_asks_supervisor(f, nr))
		tell(rd, th,
		     "has a seccomp filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), which is "
		     "not supported; use -F to restart it without the supervisor");
	if (!call)
		return;
	(void)snprintf(text, sizeof(text),
		       "has a seccomp filter that kills it for %s(2), which would happen if this "
		       "checkpoint were killed half-way; use -F to take that risk",
		       call);
	tell(rd, th, text);
}

static int read_filter(struct reader *rd, struct thread *th, unsigned long index, size_t nr,
		       uint32_t *ret, struct stasis_error *err)
{
	scoped_free struct sock_filter *f = calloc(nr + 1, sizeof(*f));
	struct metadata meta = {.filter_off = index};

	if (!f)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, (void *)index, f) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read the seccomp filters of %d", th->tid);
	(void)ptrace((enum __ptrace_request)PTRACE_SECCOMP_GET_METADATA, th->tid,
		     (void *)sizeof(meta), &meta); /* an old kernel: without flags */
	check_filter(rd, th, f, nr);
	return find_or_add(rd, f, nr, (uint32_t)meta.flags, ret, err);
}

/* Index 0 is the oldest filter: the order in which they are installed. */
static int read_chain(struct reader *rd, struct thread *th, struct thread_seccomp *ret,
		      struct stasis_error *err)
{
	uint32_t list[MAX_CHAIN];
	size_t n = 0;

	for (; n < MAX_CHAIN; n++) {
		long nr = ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, (void *)n, NULL);

		if (nr < 0 && errno == ENOENT)
			break;
		if (nr < 0)
			return stasis_fail_errno(err, STASIS_E_IO,
						 "read the seccomp filters of %d", th->tid);
		if (read_filter(rd, th, n, (size_t)nr, &list[n], err) < 0)
			return -1;
	}
	ret->mode = SECCOMP_MODE_FILTER;
	ret->nr = n;
	ret->list = arena_memdup(&rd->p->arena, list, n * sizeof(list[0]));
	return ret->list ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
}

static int read_thread(struct reader *rd, size_t i, struct stasis_error *err)
{
	struct thread *th = &rd->t->threads[i];

	if (th->status.seccomp == SECCOMP_MODE_STRICT) {
		rd->ret->threads[i].mode = SECCOMP_MODE_STRICT;
		tell(rd, th,
		     "is in strict seccomp mode, which kills it if this checkpoint is killed "
		     "half-way; use -F to take that risk");
		return 0;
	}
	if (th->status.seccomp != SECCOMP_MODE_FILTER)
		return 0;
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, NULL, NULL) >= 0)
		return read_chain(rd, th, &rd->ret->threads[i], err);
	if (!thread_has_our_filters(th))
		tell(rd, th,
		     "is under seccomp filters, which only root without filters can read; checkpoint "
		     "it as root, or use -F to restart it without");
	return 0;
}

int dump_seccomp_read(struct dump_plan *p, struct task *t, struct task_seccomp *ret,
		      struct stasis_error *err)
{
	struct reader rd = {.p = p, .t = t, .ret = ret};

	ret->threads = arena_alloc(&p->arena, t->nr_threads * sizeof(*ret->threads));
	if (!ret->threads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	for (size_t i = 0; i < t->nr_threads; i++)
		if (read_thread(&rd, i, err) < 0)
			return -1;
	return 0;
}
