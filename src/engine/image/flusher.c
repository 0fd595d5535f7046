/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts the disk's work on a long draft while it is still being written: a thread that asks for
 * write-back of what is there already. Without it the disk would be idle first and the caller
 * later. Only a head start: what goes wrong shows at the fsync() of the commit.
 */
#include "image/image_priv.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static const uint64_t WORTH_BYTES = 8 << 20; /* a shorter draft is not worth a thread */

struct flusher {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	uint64_t until; /* written so far */
	bool is_over;
};

/* The next stretch of the file to be flushed; false at the end. */
static bool next_stretch(struct flusher *f, uint64_t done, uint64_t *ret_until)
{
	bool is_over;

	(void)pthread_mutex_lock(&f->lock);
	while (f->until == done && !f->is_over)
		(void)pthread_cond_wait(&f->wake, &f->lock);
	*ret_until = f->until;
	is_over = f->is_over;
	(void)pthread_mutex_unlock(&f->lock);
	return !is_over;
}

static void *flush(void *arg)
{
	struct flusher *f = arg;
	uint64_t done = 0, until;

	for (; next_stretch(f, done, &until); done = until)
		(void)sync_file_range(f->fd, (off_t)done, (off_t)(until - done),
				      SYNC_FILE_RANGE_WRITE);
	return NULL;
}

/* NULL when there can be no thread. */
static struct flusher *start(int fd)
{
	struct flusher *f = calloc(1, sizeof(*f));
	sigset_t all, old;
	int result;

	if (!f)
		return NULL;
	f->fd = fd;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->wake, NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the caller's threads */
	result = pthread_create(&f->thread, NULL, flush, f);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (result == 0)
		return f;
	(void)pthread_cond_destroy(&f->wake);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}

static void tell(struct flusher *f, uint64_t until, bool is_over)
{
	(void)pthread_mutex_lock(&f->lock);
	if (until > f->until)
		f->until = until;
	f->is_over = is_over;
	(void)pthread_cond_signal(&f->wake);
	(void)pthread_mutex_unlock(&f->lock);
}

void image_written(struct image_writer *w, uint64_t until)
{
	if (!w->flusher && until >= WORTH_BYTES)
		w->flusher = start(w->fd);
	if (w->flusher)
		tell(w->flusher, until, false);
}

void flusher_end(struct image_writer *w)
{
	struct flusher *f = w->flusher;

	if (!f)
		return;
	tell(f, 0, true);
	(void)pthread_join(f->thread, NULL);
	(void)pthread_cond_destroy(&f->wake);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	w->flusher = NULL;
}
