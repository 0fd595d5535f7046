/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Contexts of asynchronous I/O. io_setup() makes a ring of a size that it computes from what is asked
 * for and from the number of processors; where the ring is moved to becomes the context's id. The
 * kernel counts the results in the ring itself, so results to be put back are first made: each by a
 * request that reads nothing from /dev/null.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AIO_EVENT     sizeof(struct io_event)
#define AIO_MAX_BYTES (64ull << 20)

/* See save_aio.c. */
struct aio_head {
	uint32_t id, nr, head, tail, magic, compat, incompat, header_len;
};

int load_check_aio(const Stasis__Vma *v, struct stasis_error *err)
{
	uint64_t len = v->end - v->start;

	if (!v->aio || len > AIO_MAX_BYTES || v->aio->nr != (len - sizeof(struct aio_head)) / AIO_EVENT ||
	    v->aio->events.len % AIO_EVENT || v->aio->events.len / AIO_EVENT >= v->aio->nr)
		return stasis_fail(err, STASIS_E_CORRUPT, "ring of asynchronous I/O at %llx",
				   (unsigned long long)v->start);
	return 0;
}

/* A context with a ring of that many places, the most requests such a ring has been made for. */
static int set_up(uint32_t nr, aio_context_t *ret, struct stasis_error *err)
{
	aio_context_t ctx = 0;
	uint32_t got;

	if (syscall(SYS_io_setup, (nr - 2) / 2, &ctx) < 0)
		return stasis_fail_errno(err, STASIS_E_UNSUPPORTED,
					 "asynchronous I/O with %u requests (see fs.aio-max-nr)",
					 (nr - 2) / 2);
	got = ((const struct aio_head *)(uintptr_t)ctx)->nr;
	if (got == nr) {
		*ret = ctx;
		return 0;
	}
	(void)syscall(SYS_io_destroy, ctx); /* it was only to try */
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "ring of asynchronous I/O: this kernel makes one for %u results where there was "
			   "one for %u; restart on a machine with as many processors",
			   got, nr);
}

int load_try_aio(const struct mem_load *m, struct stasis_error *err)
{
	for (size_t p = 0; p < m->nr_procs; p++)
		for (size_t i = 0; i < m->procs[p].nr_vmas; i++) {
			const Stasis__Vma *v = m->procs[p].vmas[i].v;
			aio_context_t ctx;

			if (v->kind != STASIS__VMA_KIND__VMA_AIO)
				continue;
			if (set_up(v->aio->nr, &ctx, err) < 0)
				return stasis_fail_prefix(err, "process %d",
							  (int)m->procs[p].p->pid);
			(void)syscall(SYS_io_destroy, ctx); /* it was only to try */
		}
	return 0;
}

static int make_results(aio_context_t ctx, size_t nr, struct stasis_error *err)
{
	scoped_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)fd};
	struct iocb *list[1] = {&cb};

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/dev/null'");
	for (size_t i = 0; i < nr; i++)
		if (syscall(SYS_io_submit, ctx, 1, list) != 1)
			return stasis_fail_errno(err, STASIS_E_IO, "results of asynchronous I/O");
	return 0;
}

int load_make_aio(const Stasis__Vma *v, void *at, struct stasis_error *err)
{
	size_t len = v->end - v->start, nr = v->aio->events.len / AIO_EVENT;
	aio_context_t ctx;

	if (set_up(v->aio->nr, &ctx, err) < 0)
		return -1;
	if (nr && make_results(ctx, nr, err) < 0)
		return -1;
	if (nr)
		memcpy((char *)(uintptr_t)ctx + sizeof(struct aio_head), v->aio->events.data,
		       v->aio->events.len);
	if (mremap((void *)(uintptr_t)ctx, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at ||
	    mprotect(at, len, (int)v->prot) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "ring of asynchronous I/O");
	return 0;
}
