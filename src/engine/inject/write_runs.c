/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages into a file, written by the process itself. What it cannot read (PROT_NONE, or memory that
 * went away under it) or may not write is read through /proc/PID/mem and written from here.
 */
#include "inject/inject_priv.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BATCH = WIRE_RUNS_PER_REQUEST, CHUNK_BYTES = 1 << 20 };

static int fail_write(struct task *t, const struct page_run *run, int error,
		      struct stasis_error *err)
{
	errno = error;
	(void)stasis_fail_errno(err, STASIS_E_IO, "write memory of process %d at 0x%llx to the image",
				t->pid, (unsigned long long)run->addr);
	return -1;
}

/* The slow way. */
static int write_one_from_here(struct task *t, int file_fd, const struct page_run *run,
			   uint64_t *ret_digest, struct stasis_error *err)
{
	scoped_fd int mem = openat(t->procfd, "mem", O_RDONLY | O_CLOEXEC);
	scoped_free void *buf = malloc(CHUNK_BYTES);
	XXH3_state_t *st;
	int r = 0;

	if (mem < 0 || !buf)
		return stasis_fail_errno(err, STASIS_E_IO, "read the memory of process %d", t->pid);
	st = XXH3_createState();
	if (!st)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a checksum");
	(void)XXH3_64bits_reset(st); /* fails for NULL only */
	for (uint64_t done = 0; done < run->len && r == 0; done += CHUNK_BYTES) {
		size_t len = run->len - done < CHUNK_BYTES ? run->len - done : CHUNK_BYTES;

		r = io_pread_full(mem, buf, len, run->addr + done, err);
		if (r == 0)
			r = io_pwrite_full(file_fd, buf, len, run->offset + done, err);
		(void)XXH3_64bits_update(st, buf, len);
	}
	*ret_digest = XXH3_64bits_digest(st);
	(void)XXH3_freeState(st);
	return r;
}

static int write_from_here(struct task *t, int file_fd, const struct page_run *runs, size_t nr,
			   uint64_t *ret_digests, struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++)
		if (write_one_from_here(t, file_fd, &runs[i], &ret_digests[i], err) < 0)
			return -1;
	return 0;
}

/* The process has a limit for the size of files (ulimit -f), and would be killed by SIGXFSZ. */
static bool is_beyond_its_limit(const struct inject *in, const struct page_run *runs, size_t nr)
{
	for (size_t i = 0; i < nr && in->is_collected; i++)
		if (runs[i].offset + runs[i].len > in->task.file_limit)
			return true;
	return false;
}

static void fill_batch(struct wire_run *buf, const struct page_run *runs, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		buf[i] = (struct wire_run){
			.addr = runs[i].addr, .len = runs[i].len, .offset = runs[i].offset};
}

/* The lists agree: what the answer says about itself is looked at and nothing else. */
static int take_batch(struct task *t, int file_fd, const struct wire_run *buf,
		      const struct page_run *runs, size_t nr, uint64_t *ret_digests,
		      struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++) {
		if (buf[i].error == EFAULT) {
			if (write_from_here(t, file_fd, &runs[i], 1, &ret_digests[i], err) < 0)
				return -1;
			continue;
		}
		if (buf[i].error)
			return fail_write(t, &runs[i], buf[i].error, err);
		if (buf[i].written != runs[i].len)
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "process %d wrote a part of its memory only", t->pid);
		ret_digests[i] = buf[i].digest;
	}
	return 0;
}

/* A batch that the process may still be busy with. */
struct inject_writing {
	int file_fd;
	const struct page_run *runs;
	size_t nr;
	uint64_t *digests;
	struct wire_run buf[BATCH];
};

static int settle_write(struct inject *in, struct stasis_error *err)
{
	struct inject_writing *wr = in->writing;

	if (inject_read(in, in->at.buffer, wr->buf, wr->nr * sizeof(*wr->buf), err) < 0)
		return -1;
	return take_batch(in->t, wr->file_fd, wr->buf, wr->runs, wr->nr, wr->digests, err);
}

static int begin_batch(struct inject *in, int file_fd, const struct page_run *runs, size_t nr,
		       uint64_t *ret_digests, struct stasis_error *err)
{
	struct wire_request req = {.op = WIRE_OP_WRITE, .a = {nr}};
	struct inject_writing *wr = in->writing;

	if (is_beyond_its_limit(in, runs, nr))
		return write_from_here(in->t, file_fd, runs, nr, ret_digests, err);
	if (inject_settle(in, err) < 0)
		return -1;
	wr->file_fd = file_fd;
	wr->runs = runs;
	wr->nr = nr;
	wr->digests = ret_digests;
	fill_batch(wr->buf, runs, nr);
	if (inject_write(in, in->at.buffer, wr->buf, nr * sizeof(*wr->buf), err) < 0)
		return -1;
	return inject_ask(in, &req, file_fd, settle_write, err);
}

static int fail_batch(const struct inject *in, struct stasis_error *err)
{
	if (!err || err->sys_errno != EMFILE)
		return -1;
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "process %d (%s) has no free descriptor for the image",
			   in->t->pid, in->t->comm);
}

int inject_write_begin(struct task *t, int file_fd, const struct page_run *runs, size_t nr,
		       uint64_t *ret_digests, struct stasis_error *err)
{
	struct inject *in = t->inject;

	if (!in)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	if (!in->writing)
		in->writing = malloc(sizeof(*in->writing));
	if (!in->writing)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for page runs");
	for (size_t from = 0; from < nr; from += BATCH) {
		const size_t now = nr - from < BATCH ? nr - from : BATCH;

		if (begin_batch(in, file_fd, runs + from, now, ret_digests + from, err) < 0)
			return fail_batch(in, err);
	}
	return 0;
}

int inject_write_end(struct task *t, struct stasis_error *err)
{
	return inject_settle(t->inject, err) < 0 ? fail_batch(t->inject, err) : 0;
}

int inject_write_runs(struct task *t, int file_fd, const struct page_run *runs, size_t nr,
		      uint64_t *ret_digests, struct stasis_error *err)
{
	if (inject_write_begin(t, file_fd, runs, nr, ret_digests, err) < 0)
		return -1;
	return inject_write_end(t, err);
}
