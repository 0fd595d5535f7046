/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every byte of the data area against its digest. Threads take segments in file order; each has one
 * buffer, so memory stays below a few MiB whatever the image's size.
 */
#include "image/image_priv.h"
#include "lib/io.h"
#include "lib/parallel.h"
#include "lib/scoped.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum {
	BUFFER_BYTES = 1 << 17, /* stays in the processor's cache between pread() and digest */
	LATE_BYTES = 4 << 20,	/* shorter ones are checked before anything is done */
	PARALLEL_BYTES = 4 << 20, /* below it starting a thread takes longer than it saves */
	MAX_VERIFY_THREADS = 16,
	SEGMENTS_AT_ONCE = 32, /* neighbours for one thread: as a rule one pread() */
};

/* What the buffer of a thread holds of the file. */
struct window {
	unsigned char *bytes; /* BUFFER_BYTES */
	uint64_t offset;
	size_t len;
};

struct verify {
	const struct image *img;
	bool is_early;
	atomic_size_t next;
	atomic_size_t first_bad; /* index; nr_segments while all is well */
	pthread_mutex_t lock;	 /* of err, and of changes of first_bad */
	struct stasis_error *err;
};

/* Zeros fill the file up to the next segment. */
static int check_padding(const struct image *img, const struct image_segment *seg,
			 struct stasis_error *err)
{
	static const unsigned char zeros[IMAGE_ALIGN];
	unsigned char padding[IMAGE_ALIGN];
	uint64_t end = seg->offset + seg->filesz;
	size_t len = image_align(end, IMAGE_ALIGN) - end;

	if (len == 0)
		return 0;
	if (io_pread_full(img->fd, padding, len, end, err) < 0)
		return -1;
	return memcmp(padding, zeros, len) ? stasis_fail(err, STASIS_E_CORRUPT,
							 "not zero behind its end") : 0;
}

/* The state of the library under a name of ours. */
struct image_sum *image_sum_start(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state)
		(void)XXH3_64bits_reset(state); /* fails for NULL only, like the update */
	return (struct image_sum *)(void *)state;
}

void image_sum_add(struct image_sum *sum, const void *bytes, size_t len)
{
	(void)XXH3_64bits_update((XXH3_state_t *)(void *)sum, bytes, len);
}

uint64_t image_sum_end(struct image_sum *sum)
{
	XXH3_state_t *state = (XXH3_state_t *)(void *)sum;
	uint64_t digest = state ? XXH3_64bits_digest(state) : 0;

	(void)XXH3_freeState(state);
	return digest;
}

bool image_is_late(const struct image_segment *seg)
{
	return seg->type == IMAGE_SEG_LOAD && seg->filesz >= LATE_BYTES;
}

/* The bytes of a short segment, and with them as many of the next ones as there is room for. */
static const unsigned char *short_bytes(const struct image *img, const struct image_segment *seg,
					struct window *w, struct stasis_error *err)
{
	const uint64_t left = img->trailer.notes_off - seg->offset; /* the end of the segments */
	ssize_t n;

	if (seg->offset >= w->offset && seg->offset + seg->filesz <= w->offset + w->len)
		return w->bytes + (seg->offset - w->offset);
	w->offset = seg->offset;
	n = pread(img->fd, w->bytes, left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES,
		  (off_t)seg->offset);
	w->len = n > 0 ? (size_t)n : 0;
	if (w->len >= seg->filesz)
		return w->bytes;
	w->len = 0;
	return io_pread_full(img->fd, w->bytes, seg->filesz, seg->offset, err) < 0 ? NULL : w->bytes;
}

static int digest_file(const struct image *img, const struct image_segment *seg, struct window *w,
		       uint64_t *ret, struct stasis_error *err)
{
	const unsigned char *bytes;
	struct image_sum *sum;
	uint64_t done = 0;

	if (seg->filesz <= BUFFER_BYTES) {
		bytes = short_bytes(img, seg, w, err);
		if (!bytes)
			return -1;
		*ret = image_digest(bytes, seg->filesz);
		return 0;
	}
	sum = image_sum_start();
	if (!sum)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory");
	w->len = 0;
	while (done < seg->filesz) {
		uint64_t left = seg->filesz - done;
		size_t len = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;

		if (io_pread_full(img->fd, w->bytes, len, seg->offset + done, err) < 0)
			break;
		image_sum_add(sum, w->bytes, len);
		done += len;
	}
	*ret = image_sum_end(sum);
	return done == seg->filesz ? 0 : -1;
}

static int check_segment(const struct verify *v, const struct image_segment *seg, struct window *w,
			 struct stasis_error *err)
{
	const struct image *img = v->img;
	uint64_t digest = 0;

	if (seg->filesz == 0)
		return 0;
	if (v->is_early && image_is_late(seg))
		return check_padding(img, seg, err);
	if (digest_file(img, seg, w, &digest, err) < 0)
		return -1;
	if (digest != seg->digest)
		return stasis_fail(err, STASIS_E_CORRUPT, "checksum mismatch");
	return check_padding(img, seg, err);
}

/* Keep the failure of the first segment in the file. */
static void verify_fail(struct verify *v, size_t index, const struct stasis_error *err)
{
	const struct image_segment *seg = &v->img->segments[index];

	(void)pthread_mutex_lock(&v->lock);
	if (index < atomic_load(&v->first_bad)) {
		atomic_store(&v->first_bad, index);
		if (v->err)
			*v->err = *err;
		(void)stasis_fail_prefix(v->err, "image '%s': segment %zu (%s 0x%llx)",
					 v->img->name, index,
					 seg->type == IMAGE_SEG_LOAD ? "address" : "object offset",
					 (unsigned long long)seg->vaddr);
	}
	(void)pthread_mutex_unlock(&v->lock);
}

/* Indices are handed out in order, so whatever lies before a bad segment is being checked by someone
 * who finishes it. False: nothing is left to do. */
static bool verify_next(struct verify *v, struct window *w)
{
	size_t i = atomic_fetch_add(&v->next, SEGMENTS_AT_ONCE), end = i + SEGMENTS_AT_ONCE;
	struct stasis_error err;

	for (; i < end; i++) {
		if (i >= v->img->nr_segments || i > atomic_load(&v->first_bad))
			return false;
		if (!w->bytes)
			(void)stasis_fail(&err, STASIS_E_NOMEM, "no memory");
		else if (check_segment(v, &v->img->segments[i], w, &err) == 0)
			continue;
		verify_fail(v, i, &err);
	}
	return true;
}

static void verify_some(void *arg)
{
	scoped_free unsigned char *buffer = malloc(BUFFER_BYTES);
	struct window w = {.bytes = buffer};

	while (verify_next(arg, &w))
		;
}

static int verify(const struct image *img, bool is_early, unsigned nr_threads,
		  struct stasis_error *err)
{
	struct verify v = {.img = img, .is_early = is_early, .first_bad = img->nr_segments,
			   .err = err};
	unsigned nr = nr_threads < MAX_VERIFY_THREADS ? nr_threads : MAX_VERIFY_THREADS;

	if (nr > img->nr_segments)
		nr = (unsigned)img->nr_segments;
	if (img->trailer.notes_off < PARALLEL_BYTES) /* the end of the segments */
		nr = 1;
	(void)pthread_mutex_init(&v.lock, NULL);
	parallel_run(nr, verify_some, &v);
	(void)pthread_mutex_destroy(&v.lock);
	return atomic_load(&v.first_bad) == img->nr_segments ? 0 : -1;
}

int image_verify_data(const struct image *img, unsigned nr_threads, struct stasis_error *err)
{
	return verify(img, false, nr_threads, err);
}

int image_verify_early(const struct image *img, unsigned nr_threads, struct stasis_error *err)
{
	return verify(img, true, nr_threads, err);
}
