/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decides whether a restart can succeed before anything is changed. */
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { QUICK_TRIES = 20, QUICK_TRY_NS = 10000000, DEFAULT_PID_RETRY_S = 10, VERIFY_THREADS = 2 };

static int compare_ids(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* Every process and thread id of the tree, ascending. */
static int32_t *all_ids(const struct restore *r, size_t *ret_nr, struct stasis_error *err)
{
	int32_t *ids = calloc(r->nr_threads + r->nr, sizeof(*ids));
	size_t nr = 0;

	if (!ids)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for the list of pids");
	for (size_t i = 0; i < r->nr; i++) {
		const struct restore_proc *p = &r->procs[i];

		if (!p->nr_threads || p->process->leader)
			ids[nr++] = (int32_t)p->process->pid;
		for (size_t k = 0; k < p->nr_threads; k++)
			ids[nr++] = (int32_t)p->threads[k]->tid;
	}
	qsort(ids, nr, sizeof(*ids), compare_ids);
	*ret_nr = nr;
	return ids;
}

static int check_ids_differ(const struct restore *r, struct stasis_error *err)
{
	size_t nr;
	scoped_free int32_t *ids = all_ids(r, &nr, err);

	if (!ids)
		return -1;
	for (size_t i = 1; i < nr; i++)
		if (ids[i] == ids[i - 1])
			return stasis_fail(err, STASIS_E_CORRUPT, "two threads have the id %d",
					   ids[i]);
	return 0;
}

static int check_cpu(struct restore *r, struct stasis_error *err)
{
	const Stasis__ImageInfo *info = image_record(r->procs[0].image, IMAGE_TAG_INFO, 0,
						     &stasis__image_info__descriptor, err);
	struct stasis_error cpu_err;

	if (!info)
		return -1;
	if (info->page_size != (uint32_t)r->s->caps.page_size)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the image has pages of %u bytes, this host %ld",
				   info->page_size, r->s->caps.page_size);
	if (arch_cpu_check(info->cpuid, info->n_cpuid, info->xcr0, &cpu_err) == 0)
		return 0;
	if (!r->s->is_forced) {
		if (err)
			*err = cpu_err;
		return stasis_fail_prefix(err, "image '%s': contains instructions unsupported by "
					       "this machine's architecture",
					  image_name(r->procs[0].image));
	}
	s_warn(r->s, "%s", cpu_err.text);
	return 0;
}

/* An ordinary user's tree runs with his ids, whatever they were: the guide's warnings. */
static void warn_of_other_ids(struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		const Stasis__Creds *c;

		if (!r->procs[i].nr_threads)
			continue;
		c = r->procs[i].threads[0]->creds;
		if (c->ruid != getuid())
			s_warn(r->s, "current uid %u differs from checkpoint file uid %u", getuid(),
			       c->ruid);
		if (c->rgid != getgid())
			s_warn(r->s, "current gid %u differs from checkpoint file gid %u", getgid(),
			       c->rgid);
		if (c->ruid != getuid() || c->rgid != getgid())
			return;
	}
}

/*
 * Ids in an image are believed when root restarts an image that root wrote. What another user owns he
 * may have altered: then the tree gets that user's own ids and no privilege.
 */
static int check_trust(struct restore *r, struct stasis_error *err)
{
	struct stat st;

	r->is_trusted = true;
	r->owner_uid = geteuid();
	r->owner_gid = getegid();
	if (geteuid() != 0) {
		warn_of_other_ids(r);
		return 0;
	}
	for (size_t i = 0; i < r->nr; i++) {
		if (fstat(image_fd(r->procs[i].image), &st) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "'%s'",
						 image_name(r->procs[i].image));
		if (st.st_mode & (S_IWGRP | S_IWOTH))
			return stasis_fail(err, STASIS_E_DENIED,
					   "image '%s' could have been altered by others (mode "
					   "%04o); root does not restart it",
					   image_name(r->procs[i].image), st.st_mode & 07777);
		if (st.st_uid == 0)
			continue;
		if (!r->is_trusted && st.st_uid != r->owner_uid)
			return stasis_fail(err, STASIS_E_DENIED,
					   "the image files belong to different users");
		r->is_trusted = false;
		r->owner_uid = st.st_uid;
		r->owner_gid = st.st_gid;
	}
	if (!r->is_trusted)
		s_warn(r->s, "the image is not root's: the processes run with the ids of uid %u",
		       r->owner_uid);
	return 0;
}

int restore_check(struct restore *r, struct stasis_error *err)
{
	if (check_ids_differ(r, err) < 0 || check_cpu(r, err) < 0 || check_trust(r, err) < 0)
		return -1;
	if (seccomp_check(r, err) < 0 || clocks_check(r, err) < 0 || stand_in_check_all(r, err) < 0)
		return -1;
	for (size_t i = 0; i < r->nr; i++)
		/* what is left out is checked when it is loaded, still before anything runs */
		if (image_verify_early(r->procs[i].image, VERIFY_THREADS, err) < 0)
			return -1;
	return 0;
}

/* Is any task using the id? kill() sees thread group leaders; other threads are in /proc. A process
 * group or session that outlives its leader occupies the number as well. */
static bool is_busy(int32_t id)
{
	char path[32];

	if (kill(id, 0) == 0 || errno == EPERM)
		return true;
	(void)snprintf(path, sizeof(path), "/proc/%d", id);
	return access(path, F_OK) == 0;
}

static int32_t first_busy(const int32_t *ids, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (is_busy(ids[i]))
			return ids[i];
	return 0;
}

int restore_wait_for_pids(struct restore *r, struct stasis_error *err)
{
	unsigned tries = r->opts->pid_retry_s ? r->opts->pid_retry_s : DEFAULT_PID_RETRY_S;
	const struct timespec second = {.tv_sec = 1}, moment = {.tv_nsec = QUICK_TRY_NS};
	size_t nr;
	scoped_free int32_t *ids = all_ids(r, &nr, err);
	int32_t busy;

	if (!ids)
		return -1;
	/* the process that was killed a moment ago may be just going */
	for (unsigned i = 0; (busy = first_busy(ids, nr)) && i < QUICK_TRIES; i++)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	for (unsigned i = 0; busy && i < tries && !r->s->is_forced; i++) {
		if (i == 0)
			s_warn(r->s, "pid %d is in use, waiting for it", busy);
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &second, NULL);
		busy = first_busy(ids, nr);
	}
	if (!busy)
		return 0;
	return stasis_fail(err, STASIS_E_BUSY,
			   "pid %d is in use; end that process, or use -F to restart in a pid "
			   "namespace of its own",
			   busy);
}
