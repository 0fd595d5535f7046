/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Contexts of asynchronous I/O (io_setup(2)). The context's id is the address of its ring, a mapping
 * that fork() copies but of which only the process that made it can say so. Results that the program
 * has not taken yet are in the ring. Requests still in flight can be seen nowhere: they are waited for
 * until, while the tree stands still, no ring has got a result for a while.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/scoped.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define AIO_MAGIC    0xa10a10a1u
#define SETTLE_NS    20000000 /* a disk answers within */
#define MAX_SETTLES  100

/* What the ring begins with: fs/aio.c of the kernel, and libaio, which reads it too. */
struct aio_head {
	uint32_t id, nr, head, tail, magic, compat, incompat, header_len;
};

static int read_head(const struct save_task *st, const struct vma *v, struct aio_head *ret,
		     struct stasis_error *err)
{
	uint64_t room = (v->end - v->start - sizeof(*ret)) / SAVE_AIO_EVENT;

	if (task_read_mem(st->t, v->start, ret, sizeof(*ret), err) < 0)
		return -1;
	if (ret->magic != AIO_MAGIC || ret->nr != room || ret->head >= room || ret->tail >= room)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "ring of asynchronous I/O at %llx is not as the kernel made it; call "
				   "io_destroy() before the dump",
				   (unsigned long long)v->start);
	return 0;
}

/* Changes with every result in any ring; 0: there is no ring. */
static uint64_t results_so_far(const struct mem_save *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->nr_tasks; i++) {
		const struct save_task *st = &m->tasks[i];
		struct aio_head head;

		for (size_t k = 0; k < st->vmas.nr; k++)
			if (st->sv[k].kind == STASIS__VMA_KIND__VMA_AIO &&
			    read_head(st, &st->vmas.v[k], &head, NULL) == 0)
				sum += 1 + ((uint64_t)head.tail << 32);
	}
	return sum;
}

void save_aio_settle(const struct mem_save *m)
{
	const struct timespec a_while = {.tv_nsec = SETTLE_NS};
	uint64_t before = results_so_far(m), now;

	for (int i = 0; before && i < MAX_SETTLES; i++, before = now) {
		(void)nanosleep(&a_while, NULL);
		now = results_so_far(m);
		if (now == before)
			break;
	}
}

/* To ask a context for nothing tells whether it is one, and takes nothing from it. */
static int is_context(struct task *t, const struct vma *v, bool *ret, struct stasis_error *err)
{
	const uint64_t args[6] = {v->start};
	int64_t result;

	if (inject_syscall(t, SYS_io_getevents, args, &result, err) < 0)
		return -1;
	*ret = result == 0;
	return 0;
}

/* The results not taken yet, the oldest first. */
static int read_events(struct mem_save *m, const struct save_task *st, const struct vma *v,
		       const struct aio_head *h, ProtobufCBinaryData *ret, struct stasis_error *err)
{
	uint64_t ring = v->start + sizeof(*h);
	size_t nr = (h->tail + h->nr - h->head) % h->nr;
	size_t first = nr < h->nr - h->head ? nr : h->nr - h->head;

	ret->len = nr * SAVE_AIO_EVENT;
	ret->data = arena_alloc(&m->arena, ret->len + 1);
	if (!ret->data)
		return stasis_fail(err, STASIS_E_NOMEM, "results of asynchronous I/O");
	if (task_read_mem(st->t, ring + (uint64_t)h->head * SAVE_AIO_EVENT, ret->data,
			  first * SAVE_AIO_EVENT, err) < 0)
		return -1;
	return task_read_mem(st->t, ring, ret->data + first * SAVE_AIO_EVENT,
			     (nr - first) * SAVE_AIO_EVENT, err);
}

int save_aio_record(struct mem_save *m, const struct save_task *st, const struct vma *v,
		    Stasis__Vma *ret, struct stasis_error *err)
{
	struct aio_head head;
	bool is_alive = true;

	if (st->t->inject && is_context(st->t, v, &is_alive, err) < 0)
		return -1;
	if (!is_alive) { /* of a parent: memory that is good for nothing but to be unmapped */
		ret->kind = STASIS__VMA_KIND__VMA_ANON_PRIVATE;
		ret->flags &= ~(uint64_t)(VMA_F_SHARED | VMA_F_MAYSHARE);
		ret->pgoff = 0;
		return 0;
	}
	ret->aio = arena_alloc(&m->arena, sizeof(*ret->aio));
	if (!ret->aio)
		return stasis_fail(err, STASIS_E_NOMEM, "ring of asynchronous I/O");
	stasis__aio_ring__init(ret->aio);
	if (read_head(st, v, &head, err) < 0)
		return -1;
	ret->aio->nr = head.nr;
	return read_events(m, st, v, &head, &ret->aio->events, err);
}
