/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes runs of the process's own memory into a file: the shortest way there is, one copy from the
 * page into the page cache. Each chunk is written first and hashed second: the write tells (EFAULT)
 * when memory cannot be read, and leaves it in the cache for the checksum.
 */
#include "parasite/parasite_priv.h"

enum { CHUNK_BYTES = 256 << 10 };

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

static long write_run(struct wire_area *a, int fd, struct wire_run *run, const struct hash_ops *ops)
{
	struct hash_state st;
	uint64_t done = 0;

	ops->reset(&st);
	while (done < run->len) {
		uint64_t len = run->len - done < CHUNK_BYTES ? run->len - done : CHUNK_BYTES;
		long r = write_all(fd, run->addr + done, len, run->offset + done, &run->written);

		if (r == 0)
			r = hash_update_guarded(a, &st, (const void *)(run->addr + done), len,
						ops->update);
		if (r < 0)
			return r;
		done += len;
	}
	run->digest = ops->digest(&st);
	return 0;
}

/* Only a run that cannot be read lets the rest go on: its error is the engine's to mend. */
void write_runs(struct wire_area *a, int fd, uint64_t nr)
{
	struct wire_run *runs = (struct wire_run *)a->buffer;
	const struct hash_ops ops = a->has_fast_hash ? hash_fast() : hash_plain();

	for (uint64_t i = 0; i < nr; i++) {
		runs[i].written = 0;
		runs[i].error = (int32_t)-write_run(a, fd, &runs[i], &ops);
		if (runs[i].error && runs[i].error != EFAULT_NR)
			return;
	}
}
