/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes runs of the process's own memory into a file: the shortest way there is, one copy from the
 * page into the page cache. Each chunk is written first and hashed second: the write tells (EFAULT)
 * when memory cannot be read, and leaves it in the cache for the checksum. Our own rseq area goes by way
 * of a copy: whenever we come back to user mode on another processor the kernel notes that there, and
 * what is written and what is hashed would differ.
 *
 * Short runs that follow each other in the file go there in one call: for a file system each call costs more
 * than a page, and several pages at once become a larger piece of its cache.
 */
#include "parasite/parasite_priv.h"

enum { CHUNK_BYTES = 256 << 10, MOVING_BYTES = 64, MAX_GROUP = 64 };

static long write_all(int fd, uint64_t addr, uint64_t len, uint64_t offset, uint64_t *written)
{
	while (len) {
		long r = SYS4(pwrite64, fd, addr, len, offset);

		if (r == -EINTR_NR)
			continue;
		if (r < 0)
			return r;
		if (r == 0)
			return -EIO_NR; /* a file that takes nothing */
		addr += (uint64_t)r;
		offset += (uint64_t)r;
		len -= (uint64_t)r;
		*written += (uint64_t)r;
	}
	return 0;
}

struct iovec_here {
	uint64_t base, len;
};

/* process_vm_readv() of ourselves, by thread id, since the first thread may have ended: a copy that
 * tells (EFAULT) when memory cannot be read. */
static long copy_of(uint64_t addr, uint8_t *to, uint64_t len)
{
	const struct iovec_here local = {(uint64_t)to, len}, remote = {addr, len};
	long r = raw_syscall(__NR_process_vm_readv, (uint64_t)SYS0(gettid), (uint64_t)&local, 1,
			     (uint64_t)&remote, 1, 0);

	if (r < 0)
		return r;
	return (uint64_t)r == len ? 0 : -EFAULT_NR;
}

/* How much of [addr, addr + len) to write next, and whether it moves: at most a chunk of one kind. */
static uint64_t next_piece(const struct wire_area *a, uint64_t addr, uint64_t len, bool *ret_moves)
{
	uint64_t before = a->moving - addr, into = addr - a->moving;

	*ret_moves = into < a->moving_len;
	if (*ret_moves) {
		if (len > a->moving_len - into)
			len = a->moving_len - into;
		return len < MOVING_BYTES ? len : MOVING_BYTES;
	}
	if (a->moving_len && before < len)
		len = before;
	return len < CHUNK_BYTES ? len : CHUNK_BYTES;
}

static long write_moving(int fd, struct wire_run *run, uint64_t done, uint64_t len,
			 struct hash_state *st, const struct hash_ops *ops)
{
	uint8_t copy[MOVING_BYTES];
	long r = copy_of(run->addr + done, copy, len);

	if (r == 0)
		r = write_all(fd, (uint64_t)copy, len, run->offset + done, &run->written);
	if (r == 0)
		ops->update(st, copy, len);
	return r;
}

static long write_standing(struct wire_area *a, int fd, struct wire_run *run, uint64_t done,
			   uint64_t len, struct hash_state *st, const struct hash_ops *ops)
{
	long r = write_all(fd, run->addr + done, len, run->offset + done, &run->written);

	if (r < 0)
		return r;
	return hash_update_guarded(a, st, (const void *)(run->addr + done), len, ops->update);
}

static long write_run(struct wire_area *a, int fd, struct wire_run *run, const struct hash_ops *ops)
{
	struct hash_state st;
	uint64_t done = 0;

	ops->reset(&st);
	while (done < run->len) {
		bool moves;
		uint64_t len = next_piece(a, run->addr + done, run->len - done, &moves);
		long r = moves ? write_moving(fd, run, done, len, &st, ops)
			       : write_standing(a, fd, run, done, len, &st, ops);

		if (r < 0)
			return r;
		done += len;
	}
	run->digest = ops->digest(&st);
	return 0;
}

/* How many runs, from the first of nr, are one stretch of the file that is not longer than a chunk. */
static uint64_t group_of(const struct wire_area *a, const struct wire_run *runs, uint64_t nr)
{
	uint64_t len = 0, i;

	for (i = 0; i < nr && i < MAX_GROUP && a->may_gather; i++) {
		bool moves;

		if (len + runs[i].len > CHUNK_BYTES || (i && runs[i].offset != runs[0].offset + len) ||
		    next_piece(a, runs[i].addr, runs[i].len, &moves) != runs[i].len || moves)
			break;
		len += runs[i].len;
	}
	return i;
}

/* False: not, or a part of it, which does no harm. */
static bool write_group(struct wire_area *a, int fd, struct wire_run *runs, uint64_t nr,
			const struct hash_ops *ops)
{
	struct iovec_here from[MAX_GROUP];
	struct hash_state st;
	uint64_t len = 0;

	for (uint64_t i = 0; i < nr; i++) {
		from[i] = (struct iovec_here){runs[i].addr, runs[i].len};
		len += runs[i].len;
	}
	if (SYS5(pwritev, fd, from, nr, runs[0].offset, 0) != (long)len)
		return false;
	for (uint64_t i = 0; i < nr; i++) {
		ops->reset(&st);
		runs[i].error = (int32_t)-hash_update_guarded(a, &st, (const void *)runs[i].addr,
							      runs[i].len, ops->update);
		runs[i].written = runs[i].len;
		runs[i].digest = ops->digest(&st);
	}
	return true;
}

/* Only a run that cannot be read lets the rest go on: its error is the engine's to mend. */
void write_runs(struct wire_area *a, int fd, uint64_t nr)
{
	struct wire_run *runs = (struct wire_run *)a->buffer;
	const struct hash_ops ops = a->has_fast_hash ? hash_fast() : hash_plain();
	uint64_t group;

	for (uint64_t i = 0; i < nr; i += group) {
		group = group_of(a, runs + i, nr - i);
		if (group > 1 && write_group(a, fd, runs + i, group, &ops))
			continue;
		group = 1;
		runs[i].written = 0;
		runs[i].error = (int32_t)-write_run(a, fd, &runs[i], &ops);
		if (runs[i].error && runs[i].error != EFAULT_NR)
			return;
	}
}
