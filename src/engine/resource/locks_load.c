/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes locks again. Those of a description the master takes, before any process exists; leases a process
 * that has the descriptor, since the kernel remembers the number; POSIX locks each process in the restorer,
 * when nothing is closed any more: with the first descriptor of a file that a process closes it loses them.
 * Somebody else may have a lock meanwhile. He is waited for, as long as for a pid; then the restart fails,
 * or with -F goes on without the lock.
 */
#include "resource/locks.h"

#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum { WAIT_S = 10, POLL_NS = 10000000, NS_PER_S = 1000000000 };

/* ---- records ---- */

static int check_range(const Stasis__FileLock *k, struct stasis_error *err)
{
	if (k->start > INT64_MAX || k->len > INT64_MAX - k->start + 1 ||
	    (!lock_is_range(k->type) && (k->start || k->len)))
		return stasis_fail(err, STASIS_E_CORRUPT, "range of a lock: %llu, %llu bytes",
				   (unsigned long long)k->start, (unsigned long long)k->len);
	return 0;
}

static int check_access(const Stasis__Description *d, const Stasis__FileLock *k,
			struct stasis_error *err)
{
	const uint32_t missing = k->is_exclusive ? O_RDONLY : O_WRONLY;

	if (d->flags & O_PATH ||
	    (lock_is_range(k->type) && (d->flags & O_ACCMODE) == missing))
		return stasis_fail(err, STASIS_E_CORRUPT, "a lock that this descriptor does not allow");
	return 0;
}

/* At most one flock and one lease; a lease only on a file with a path, as it was saved. */
int locks_check(const Stasis__Description *d, struct stasis_error *err)
{
	bool has[STASIS__LOCK_TYPE__LOCK_POSIX] = {false};

	for (size_t i = 0; i < d->n_locks; i++) {
		const Stasis__FileLock *k = d->locks[i];
		bool is_lease = k->type == STASIS__LOCK_TYPE__LOCK_LEASE;

		if ((unsigned)k->type >= STASIS__LOCK_TYPE__LOCK_POSIX ||
		    (has[k->type] && !lock_is_range(k->type)) ||
		    (is_lease && (d->kind_case != STASIS__DESCRIPTION__KIND_REGULAR ||
				  d->regular->object)))
			return stasis_fail(err, STASIS_E_CORRUPT, "lock %zu of a description", i);
		has[k->type] = true;
		if (check_range(k, err) < 0 || check_access(d, k, err) < 0)
			return -1;
	}
	return 0;
}

static const Stasis__Fd *find_fd(const Stasis__FdTable *table, uint32_t fd)
{
	for (size_t i = 0; i < table->n_fds; i++)
		if (table->fds[i]->fd == fd)
			return table->fds[i];
	return NULL;
}

static struct load_desc *find_kept(const struct load_proc *p, uint32_t fd)
{
	for (size_t i = 0; i < p->nr_fds; i++)
		if ((uint32_t)p->fds[i].fd == fd)
			return p->fds[i].desc;
	return NULL;
}

/* A descriptor that the user ignores takes its locks along. */
int locks_index(struct fd_load *c, struct load_proc *p, const Stasis__FdTable *table,
		struct stasis_error *err)
{
	p->locks = arena_alloc(&c->arena, (table->n_locks + 1) * sizeof(*p->locks));
	if (!p->locks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for locks");
	for (size_t i = 0; i < table->n_locks; i++) {
		const Stasis__FileLock *k = table->locks[i];
		const Stasis__Fd *fd = find_fd(table, k->fd);
		struct load_lock *l = &p->locks[p->nr_locks];

		if (!fd || k->type != STASIS__LOCK_TYPE__LOCK_POSIX)
			return stasis_fail(err, STASIS_E_CORRUPT, "'%s': lock %zu is through fd %u",
					   image_name(p->image), i, k->fd);
		if (check_range(k, err) < 0 ||
		    check_access(load_find_desc(c, fd->desc)->d, k, err) < 0)
			return stasis_fail_prefix(err, "'%s': fd %u", image_name(p->image), k->fd);
		*l = (struct load_lock){.k = k, .index = (uint32_t)i, .desc = find_kept(p, k->fd)};
		p->nr_locks += l->desc != NULL;
	}
	return 0;
}

/* ---- trying ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Again after a moment? One time for all locks of a restart: those of a tree that is just being killed
 * are gone soon. */
static bool may_retry(struct fd_load *c)
{
	const struct timespec moment = {.tv_nsec = POLL_NS};

	if (!c->lock_deadline_ns)
		c->lock_deadline_ns =
			now_ns() + (uint64_t)(c->lock_wait_s ? c->lock_wait_s : WAIT_S) * NS_PER_S;
	if (now_ns() >= c->lock_deadline_ns)
		return false;
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	return true;
}

/* Of a POSIX lock only whether it could be taken. */
static int try_lock(int fd, const Stasis__FileLock *k)
{
	struct flock range = lock_range(k);

	switch (k->type) {
	case STASIS__LOCK_TYPE__LOCK_FLOCK:
		return flock(fd, (k->is_exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
	case STASIS__LOCK_TYPE__LOCK_OFD:
		return fcntl(fd, F_OFD_SETLK, &range);
	case STASIS__LOCK_TYPE__LOCK_LEASE:
		return fcntl(fd, F_SETLEASE, (int)range.l_type);
	default:
		if (fcntl(fd, F_GETLK, &range) < 0)
			return -1;
		errno = EAGAIN;
		return range.l_type == F_UNLCK ? 0 : -1;
	}
}

/* -1 with the words for it in *err. */
static int fail_held(const struct fd_load *c, const Stasis__FileLock *k, int fd, const char *path,
		     struct stasis_error *err)
{
	char words[180], holder[64];

	lock_find_holder(c->s, fd, k, holder, sizeof(holder));
	return stasis_fail(err, STASIS_E_BUSY, "%s is held by %s",
			   lock_words(k, path, words, sizeof(words)), holder);
}

static const char *path_of(const struct load_desc *l)
{
	const Stasis__FileId *f = description_file(l->d);

	return l->path ? l->path : f ? f->path : l->kind->name;
}

/* What is in the way; with -F it is left at that. */
static int complain(struct fd_load *c, const struct load_desc *l, const Stasis__FileLock *k, int fd,
		    int error, struct stasis_error *err)
{
	struct stasis_error why;
	char words[180];

	(void)lock_words(k, path_of(l), words, sizeof(words));
	errno = error;
	if (error != EAGAIN)
		(void)stasis_fail_errno(&why, STASIS_E_IO, "%s", words);
	else if (k->type == STASIS__LOCK_TYPE__LOCK_LEASE)
		(void)stasis_fail(&why, STASIS_E_BUSY, "%s: the file is open elsewhere", words);
	else
		(void)fail_held(c, k, fd, path_of(l), &why);
	if (c->s->is_forced) {
		s_warn(c->s, "%s(%d): %s; it goes on without", l->proc->comm, l->proc->pid, why.text);
		return 0;
	}
	if (err)
		*err = why;
	return -1;
}

/* 1: given up for -F. */
static int take(struct fd_load *c, const struct load_desc *l, const Stasis__FileLock *k, int fd,
		struct stasis_error *err)
{
	while (try_lock(fd, k) < 0) {
		int why = errno;

		if (why != EINTR && (why != EAGAIN || !may_retry(c)))
			return complain(c, l, k, fd, why, err) < 0 ? -1 : 1;
	}
	return 0;
}

/* Of what the user gave instead of a file, only another file. */
static bool wants_locks(const struct load_desc *l, int fd)
{
	struct stat st;

	if (!l->is_used || l->is_null || l->kind == &kind_unsupported)
		return false;
	return !l->path || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
}

/* ---- in the master ---- */

int locks_take(struct fd_load *c, const struct load_desc *l, struct stasis_error *err)
{
	for (size_t i = 0; wants_locks(l, l->fd) && i < l->d->n_locks; i++)
		if (l->d->locks[i]->type != STASIS__LOCK_TYPE__LOCK_LEASE &&
		    take(c, l, l->d->locks[i], l->fd, err) < 0)
			return -1;
	return 0;
}

int locks_try_posix(struct fd_load *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_procs; i++) {
		struct load_proc *p = &c->procs[i];

		for (size_t n = 0; n < p->nr_locks; n++) {
			struct load_lock *lock = &p->locks[n];
			int got = 1;

			if (wants_locks(lock->desc, lock->desc->fd))
				got = take(c, lock->desc, lock->k, lock->desc->fd, err);
			if (got < 0)
				return stasis_fail_prefix(err, "%s(%d) fd %u", p->comm, p->pid,
							  lock->k->fd);
			lock->is_dropped = got;
		}
	}
	return 0;
}

/* Where there are no locks (some network file systems) nobody has one. */
int locks_keep_others_out(struct fd_load *c, int fd, const char *path, struct stasis_error *err)
{
	static const Stasis__LockType both[] = {STASIS__LOCK_TYPE__LOCK_FLOCK,
						STASIS__LOCK_TYPE__LOCK_OFD};

	for (size_t i = 0; i < 2; i++) {
		Stasis__FileLock k;

		stasis__file_lock__init(&k);
		k.type = both[i];
		k.is_exclusive = true;
		while (try_lock(fd, &k) < 0 && errno == EAGAIN)
			if (!may_retry(c))
				return fail_held(c, &k, fd, path, err);
	}
	return 0;
}

/* The kernel makes who takes a lease the owner of the descriptor, unless it has one. */
void locks_forget_owner(const struct load_desc *l)
{
	const struct f_owner_ex nobody = {.type = F_OWNER_PID};

	for (size_t i = 0; i < l->d->n_locks; i++)
		if (l->d->locks[i]->type == STASIS__LOCK_TYPE__LOCK_LEASE)
			(void)fcntl(l->fd, F_SETOWN_EX, &nobody); /* a descriptor of ours: cannot fail */
}

/* ---- in a process ---- */

int locks_take_lease(struct fd_load *c, const struct load_proc *p, const struct load_fd *f,
		     struct stasis_error *err)
{
	const struct load_desc *l = f->desc;

	if (l->proc != p || l->first_fd != f->fd || !wants_locks(l, f->fd))
		return 0;
	for (size_t i = 0; i < l->d->n_locks; i++)
		if (l->d->locks[i]->type == STASIS__LOCK_TYPE__LOCK_LEASE &&
		    take(c, l, l->d->locks[i], f->fd, err) < 0)
			return -1;
	return 0;
}

size_t fd_load_next_lock(struct fd_load *c, pid_t pid, size_t from, struct fd_lock *ret)
{
	const struct load_proc *p = load_find_proc(c, pid);

	for (size_t i = from; p && i < p->nr_locks; i++) {
		const struct load_lock *l = &p->locks[i];

		if (l->is_dropped)
			continue;
		*ret = (struct fd_lock){
			.index = l->index, .fd = (int)l->k->fd, .range = lock_range(l->k)};
		return i + 1;
	}
	return 0;
}
