/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From sealed drafts to final names: durable first, visible then, and all of them or none. An older
 * file that is replaced changes places with the draft, so that it comes back if a later step fails.
 */
#include "image/image_priv.h"
#include "lib/parallel.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
	PARALLEL_FROM = 3, /* files: below it a thread costs more than it hides */
	FSYNC_THREADS = 8, /* enough for the journal to merge their commits */
	MAX_RACES = 16,	   /* retries when others create and delete the target meanwhile */
};

/* ---- durable */

struct sync_work {
	struct image_writer **writers;
	size_t nr;
	atomic_size_t next;
	atomic_bool has_failed;
	pthread_mutex_t lock; /* of err */
	struct stasis_error *err;
};

static void sync_fail(struct sync_work *work, const struct image_writer *w)
{
	struct stasis_error err;

	(void)stasis_fail_errno(&err, STASIS_E_IO, "image '%s': fsync", w->name);
	(void)pthread_mutex_lock(&work->lock);
	if (!atomic_exchange(&work->has_failed, true) && work->err)
		*work->err = err;
	(void)pthread_mutex_unlock(&work->lock);
}

static void sync_some(void *arg)
{
	struct sync_work *work = arg;
	size_t i;

	while (!atomic_load(&work->has_failed)) {
		i = atomic_fetch_add(&work->next, 1);
		if (i >= work->nr)
			return;
		flusher_end(work->writers[i]);
		if (fsync(work->writers[i]->fd) < 0)
			sync_fail(work, work->writers[i]);
	}
}

static int sync_all(struct image_writer **writers, size_t nr, struct stasis_error *err)
{
	struct sync_work work = {.writers = writers, .nr = nr, .err = err};

	(void)pthread_mutex_init(&work.lock, NULL);
	parallel_run(nr < PARALLEL_FROM ? 1 : FSYNC_THREADS, sync_some, &work);
	(void)pthread_mutex_destroy(&work.lock);
	return atomic_load(&work.has_failed) ? -1 : 0;
}

/* fsync() of the folder. A folder that may be written but not read cannot be opened for it: then the
 * whole file system is synced. */
static int sync_folder(int dirfd, int any_fd, struct stasis_error *err)
{
	scoped_fd int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		if (syncfs(any_fd) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "sync the folder of the image");
		return 0;
	}
	if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system whose folders need none */
		return stasis_fail_errno(err, STASIS_E_IO, "fsync the folder of the image");
	return 0;
}

/* ---- visible */

/* Whether the file system (or the kernel) lacks a flag of renameat2(). */
static bool lacks_flag(int sys_errno)
{
	return sys_errno == EINVAL || sys_errno == ENOSYS || sys_errno == EOPNOTSUPP;
}

/* rename() that never replaces: -1 with errno EEXIST instead. link() gives the same promise where
 * the file system has no RENAME_NOREPLACE (NFS). */
static int rename_to_free(int dirfd, const char *from, const char *to)
{
	if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (!lacks_flag(errno))
		return -1;
	if (linkat(dirfd, from, dirfd, to, 0) < 0)
		return -1;
	(void)unlinkat(dirfd, from, 0); /* it has its name; a second one is only litter */
	return 0;
}

static int publish_new(struct image_writer *w, int dirfd)
{
	if (rename_to_free(dirfd, w->draft, w->name) < 0)
		return -1;
	w->state = DRAFT_RENAMED;
	return 0;
}

static int publish_over(struct image_writer *w, int dirfd)
{
	if (renameat2(dirfd, w->draft, dirfd, w->name, RENAME_EXCHANGE) == 0) {
		w->state = DRAFT_EXCHANGED;
		return 0;
	}
	if (!lacks_flag(errno) || renameat(dirfd, w->draft, dirfd, w->name) < 0)
		return -1;
	w->state = DRAFT_REPLACED;
	return 0;
}

static bool is_folder(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int publish(struct image_writer *w, int dirfd, struct stasis_error *err)
{
	for (int i = 0; i < MAX_RACES; i++) {
		if (publish_new(w, dirfd) == 0)
			return 0;
		if (errno != EEXIST)
			break;
		if (!w->overwrite)
			return stasis_fail(err, STASIS_E_BUSY, "%s: file exists", w->name);
		if (is_folder(dirfd, w->name)) /* exchange would move it away */
			return stasis_fail(err, STASIS_E_BUSY, "%s: is a directory", w->name);
		if (publish_over(w, dirfd) == 0)
			return 0;
		if (errno != ENOENT) /* ENOENT: the older file has just gone */
			break;
	}
	return stasis_fail_errno(err, STASIS_E_IO, "rename the draft of image '%s'", w->name);
}

/* Back to a draft. What cannot be undone stays as it is: the caller reports the first failure. */
static void unpublish(struct image_writer *w, int dirfd)
{
	int result = -1;

	if (w->state == DRAFT_RENAMED) {
		result = renameat(dirfd, w->name, dirfd, w->draft);
		if (result < 0) /* then at least not under its final name */
			(void)unlinkat(dirfd, w->name, 0);
	}
	if (w->state == DRAFT_EXCHANGED)
		result = renameat2(dirfd, w->draft, dirfd, w->name, RENAME_EXCHANGE);
	if (result == 0)
		w->state = DRAFT_SEALED;
}

static int publish_all(struct image_writer **writers, size_t nr, int dirfd,
		       struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++)
		if (publish(writers[i], dirfd, err) < 0)
			return -1;
	return nr ? sync_folder(dirfd, writers[0]->fd, err) : 0;
}

int image_commit_all(struct image_writer **writers, size_t nr, int dirfd, struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++)
		if (writers[i]->state != DRAFT_SEALED)
			return stasis_fail(err, STASIS_E_INTERNAL, "image '%s' is not sealed",
					   writers[i]->name);
	if (sync_all(writers, nr, err) < 0)
		return -1;
	if (publish_all(writers, nr, dirfd, err) < 0) {
		for (size_t i = nr; i > 0; i--)
			unpublish(writers[i - 1], dirfd);
		return -1;
	}
	for (size_t i = 0; i < nr; i++) {
		if (writers[i]->state == DRAFT_EXCHANGED)
			(void)unlinkat(dirfd, writers[i]->draft, 0); /* litter if it stays */
		writers[i]->state = DRAFT_COMMITTED;
	}
	return 0;
}
