/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stored pages into staged memory. What costs time is not the copy but the allocation of pages
 * (1.3 us for each of 4 KiB), so whole blocks of 2 MiB become huge pages before they are filled:
 * by MADV_COLLAPSE, which unlike MADV_HUGEPAGE leaves no flag on the mapping. Runs that follow each
 * other in the file are read by one call, and large amounts by two threads. The checksum of a long
 * run is taken here, piece by piece, while its bytes are in the processor's cache.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define PIECE	     (4ull << 20)
#define CACHED	     (512ull << 10) /* read, then hashed */
#define MAX_IOV	     256u
#define POPULATE_MIN (32u << 10) /* bytes from which one call is cheaper than faults */
#define TWO_THREADS  (32ull << 20) /* bytes from which a second thread pays */

/* One unit of work: nr runs, or len bytes of one, from `from` on; a late run is one as a whole. */
struct chunk {
	size_t first, nr;
	uint64_t from, len;
};

struct filler {
	struct mem_load *m;
	const struct load_proc *lp;
	size_t nr, cap;
	struct chunk *chunks;
	uint64_t total;
	atomic_size_t next;
	atomic_int error; /* errno of the first failure; ENODATA: cut off, EBADMSG: checksum */
};

static void filler_done(struct filler *f)
{
	free(f->chunks);
}

static int add_chunk(struct filler *f, size_t first, size_t nr, uint64_t from, uint64_t len,
		     struct stasis_error *err)
{
	if (table_grow((void **)&f->chunks, &f->cap, f->nr, sizeof(*f->chunks), err) < 0)
		return -1;
	f->chunks[f->nr++] = (struct chunk){ first, nr, from, len };
	f->total += len;
	return 0;
}

/* A long run, cut where addresses are whole multiples of PIECE. */
static int add_long(struct filler *f, size_t i, struct stasis_error *err)
{
	const struct load_seg *s = &f->lp->segs[i];
	uint64_t from = 0, len;

	for (; from < s->len; from += len) {
		len = PIECE - (s->addr + from) % PIECE;
		if (len > s->len - from)
			len = s->len - from;
		if (add_chunk(f, i, 1, from, len, err) < 0)
			return -1;
	}
	return 0;
}

static bool continues(const struct load_seg *a, const struct load_seg *b)
{
	return a->offset + a->len == b->offset;
}

static int make_chunks(struct filler *f, struct stasis_error *err)
{
	const struct load_seg *s = f->lp->segs;
	size_t nr = f->lp->nr_segs, end;
	uint64_t len;

	for (size_t i = 0; i < nr; i = end) {
		end = i + 1;
		if (s[i].is_late) {
			if (add_chunk(f, i, 1, 0, s[i].len, err) < 0)
				return -1;
			continue;
		}
		if (s[i].len > PIECE) {
			if (add_long(f, i, err) < 0)
				return -1;
			continue;
		}
		for (len = s[i].len; end < nr && end - i < MAX_IOV && len + s[end].len <= PIECE &&
				     !s[end].is_late && continues(&s[end - 1], &s[end]);
		     end++)
			len += s[end].len;
		if (add_chunk(f, i, end - i, 0, len, err) < 0)
			return -1;
	}
	return 0;
}

/* Failure is no matter in these two: then the pages come one by one. */
static void make_small(uint64_t start, uint64_t end)
{
	if (end > start && end - start >= POPULATE_MIN)
		(void)madvise((void *)(uintptr_t)start, end - start, MADV_POPULATE_WRITE);
}

static void make_huge(uint64_t at, uint64_t len)
{
	uint64_t start = (at + HUGE - 1) / HUGE * HUGE, end = (at + len) / HUGE * HUGE;

	if (start >= end) {
		make_small(at, at + len);
		return;
	}
	make_small(at, start);
	for (uint64_t p = start; p < end; p += HUGE)
		*(volatile char *)(uintptr_t)p = 0;
	(void)madvise((void *)(uintptr_t)start, end - start, MADV_COLLAPSE);
	make_small(end, at + len);
}

static bool may_huge(const struct filler *f, const struct load_seg *s)
{
	const Stasis__Vma *v = f->lp->vmas[s->vma].v;

	return f->lp->may_huge && v->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE &&
	       !(v->flags & (VMA_F_NOHUGEPAGE | VMA_F_HUGETLB));
}

static void make_pages(const struct filler *f, const struct load_seg *s, uint64_t at, uint64_t len)
{
	if (may_huge(f, s))
		make_huge(at, len);
	else
		make_small(at, at + len);
}

/* preadv() until all is there; 0 or an errno. */
static int read_all(int fd, struct iovec *iov, size_t nr, uint64_t offset)
{
	ssize_t n;

	while (nr) {
		n = preadv(fd, iov, (int)nr, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return ENODATA; /* the file has ended */
		offset += (uint64_t)n;
		for (; nr && (size_t)n >= iov->iov_len; iov++, nr--)
			n -= (ssize_t)iov->iov_len;
		if (nr) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* [from, from + len) of a run, PIECE at most. */
static int fill_hashed(struct filler *f, const struct load_seg *s, uint64_t from, uint64_t len,
		       struct image_sum *sum)
{
	uint64_t at = load_staging(f->m, s->addr) + from;
	int e;

	make_pages(f, s, at, len);
	for (uint64_t done = 0; done < len; done += CACHED) {
		uint64_t now = len - done < CACHED ? len - done : CACHED;
		struct iovec iov = { (void *)(uintptr_t)(at + done), now };

		e = read_all(image_fd(f->lp->p->image), &iov, 1, s->offset + from + done);
		if (e)
			return e;
		image_sum_add(sum, (void *)(uintptr_t)(at + done), now);
	}
	return 0;
}

static int fill_late(struct filler *f, const struct load_seg *s)
{
	struct image_sum *sum = image_sum_start();
	uint64_t len;
	int e = 0;

	if (!sum)
		return ENOMEM;
	for (uint64_t from = 0; from < s->len && !e; from += len) {
		len = PIECE - (s->addr + from) % PIECE;
		if (len > s->len - from)
			len = s->len - from;
		e = fill_hashed(f, s, from, len, sum);
	}
	if (image_sum_end(sum) != s->digest && !e)
		e = EBADMSG;
	return e;
}

static int fill_chunk(struct filler *f, const struct chunk *c)
{
	const struct load_seg *s = &f->lp->segs[c->first];
	struct iovec iov[MAX_IOV];
	uint64_t at, len;

	if (s->is_late)
		return fill_late(f, s);
	for (size_t i = 0; i < c->nr; i++) {
		at = load_staging(f->m, s[i].addr) + c->from;
		len = c->nr == 1 ? c->len : s[i].len;
		make_pages(f, &s[i], at, len);
		iov[i].iov_base = (void *)(uintptr_t)at;
		iov[i].iov_len = len;
	}
	return read_all(image_fd(f->lp->p->image), iov, c->nr, s->offset + c->from);
}

static void *work(void *arg)
{
	struct filler *f = arg;
	int expected = 0, e;
	size_t i;

	while (!atomic_load(&f->error)) {
		i = atomic_fetch_add(&f->next, 1);
		if (i >= f->nr)
			break;
		e = fill_chunk(f, &f->chunks[i]);
		if (e)
			atomic_compare_exchange_strong(&f->error, &expected, e);
	}
	return NULL;
}

static bool has_two_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

/* The second thread is gone before anything is forked. */
static void run_filler(struct filler *f)
{
	bool has_helper = f->total >= TWO_THREADS && has_two_cpus();
	pthread_t helper;

	has_helper = has_helper && pthread_create(&helper, NULL, work, f) == 0;
	(void)work(f);
	if (has_helper)
		(void)pthread_join(helper, NULL);
}

int load_fill(struct mem_load *m, const struct load_proc *lp, struct stasis_error *err)
{
	scoped(filler_done) struct filler f = { .m = m, .lp = lp };

	if (make_chunks(&f, err) < 0)
		return -1;
	run_filler(&f);
	errno = atomic_load(&f.error);
	if (errno == ENODATA)
		return stasis_fail(err, STASIS_E_CORRUPT, "image '%s' is cut off",
				   image_name(lp->p->image));
	if (errno == EBADMSG)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "image '%s': stored pages: checksum mismatch",
				   image_name(lp->p->image));
	if (errno)
		return stasis_fail_errno(err, STASIS_E_IO, "read pages from image '%s'",
					 image_name(lp->p->image));
	return 0;
}
