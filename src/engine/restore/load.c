/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens the image files of a tree and makes sure that they belong together. */
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>

/* The folder of `name` as a descriptor, and the last component. */
static int open_folder(int dirfd, const char *name, const char **ret_base, struct stasis_error *err)
{
	const char *slash = strrchr(name, '/');
	scoped_free char *folder = slash ? strndup(name, (size_t)(slash - name + 1)) : strdup(".");
	int fd;

	if (!folder)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	*ret_base = slash ? slash + 1 : name;
	fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "'%s'", folder) : fd;
}

static const Stasis__ImageInfo *info_of(struct image *img, struct stasis_error *err)
{
	const Stasis__ImageInfo *info =
		image_record(img, IMAGE_TAG_INFO, 0, &stasis__image_info__descriptor, err);

	if (info && info->dump_id.len != 16)
		return stasis_fail_null(err, STASIS_E_CORRUPT, "image '%s' has no dump id",
					image_name(img));
	return info;
}

static int check_place(const Stasis__Thread *th, struct stasis_error *err)
{
	const Stasis__Place *place = th->place;

	if (!place || (place->cwd && place->root && strlen(place->cwd) < PATH_MAX &&
		       strlen(place->root) < PATH_MAX))
		return 0;
	return stasis_fail(err, STASIS_E_CORRUPT, "thread %u has no place", th->tid);
}

static size_t nr_inner(const struct restore_proc *p)
{
	size_t nr = p->process->namespaces ? p->process->namespaces->n_inner_pids : 0;

	return nr > TREE_MAX_INNER ? 0 : nr; /* said by ns_load_plan() */
}

/* The first thread is the process's own, unless that has ended. */
static int check_leader(const struct restore_proc *p, struct stasis_error *err)
{
	const Stasis__Thread *ended = p->process->leader;

	if (ended && (ended->tid != p->process->pid || !ended->creds))
		return stasis_fail(err, STASIS_E_CORRUPT, "the ended thread is not the leader");
	if (!ended && p->threads[0]->tid != p->process->pid)
		return stasis_fail(err, STASIS_E_CORRUPT, "the first thread is not the leader");
	return 0;
}

static int load_threads(struct restore_proc *p, struct stasis_error *err)
{
	size_t nr = image_nr_records(p->image, IMAGE_TAG_THREAD);

	if (!nr || nr > RESTORE_MAX_THREADS)
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu threads", nr);
	p->threads = calloc(nr, sizeof(*p->threads));
	if (!p->threads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", nr);
	p->nr_threads = nr;
	for (size_t i = 0; i < nr; i++) {
		size_t len;

		p->threads[i] = image_record(p->image, IMAGE_TAG_THREAD, i,
					     &stasis__thread__descriptor, err);
		if (!p->threads[i])
			return -1;
		if (check_place(p->threads[i], err) < 0)
			return -1;
		if (!p->threads[i]->creds)
			return stasis_fail(err, STASIS_E_CORRUPT, "thread %zu has no ids", i);
		if (!p->threads[i]->tid || p->threads[i]->tid > RESTORE_MAX_PID ||
		    p->threads[i]->n_inner_tids != nr_inner(p))
			return stasis_fail(err, STASIS_E_CORRUPT, "thread id %u", p->threads[i]->tid);
		if (!image_note(p->image, "CORE", NT_PRSTATUS, i, &len) ||
		    len != sizeof(struct elf_prstatus) ||
		    !image_note(p->image, "LINUX", NT_X86_XSTATE, i, &len))
			return stasis_fail(err, STASIS_E_CORRUPT, "thread %u has no registers",
					   p->threads[i]->tid);
	}
	return check_leader(p, err);
}

struct arch_regs restore_regs(const struct restore_proc *p, size_t k)
{
	struct elf_prstatus st;
	struct arch_regs regs;
	size_t len;

	memcpy(&st, image_note(p->image, "CORE", NT_PRSTATUS, k, &len), sizeof(st));
	memcpy(&regs.u, &st.pr_reg, sizeof(regs.u));
	return regs;
}

static int load_records(struct restore_proc *p, struct stasis_error *err)
{
	p->process = image_record(p->image, IMAGE_TAG_PROCESS, 0, &stasis__process__descriptor,
				  err);
	if (!p->process)
		return -1;
	if (!p->process->pid || p->process->pid > RESTORE_MAX_PID ||
	    p->process->pgid > RESTORE_MAX_PID || p->process->sid > RESTORE_MAX_PID)
		return stasis_fail(err, STASIS_E_CORRUPT, "process id %u", p->process->pid);
	if (p->process->exit_signal >= NSIG)
		return stasis_fail(err, STASIS_E_CORRUPT, "exit signal %u", p->process->exit_signal);
	if (p->process->state == STASIS__PROCESS_STATE__PROCESS_ZOMBIE)
		return 0;
	p->fdtable = image_record(p->image, IMAGE_TAG_FDTABLE, 0, &stasis__fd_table__descriptor,
				  err);
	if (!p->fdtable)
		return -1;
	if (p->process->stand_in)
		return stand_in_check(p, err);
	p->mm = image_record(p->image, IMAGE_TAG_MM, 0, &stasis__mm__descriptor, err);
	return p->mm ? load_threads(p, err) : -1;
}

static int load_proc(struct restore_proc *p, struct stasis_error *err)
{
	if (load_records(p, err) < 0)
		return stasis_fail_prefix(err, "image '%s'", image_name(p->image));
	return 0;
}

static bool is_skipped(const struct restore *r, uint32_t pid)
{
	for (size_t i = 0; i < r->opts->nr_skip_pids; i++)
		if (r->opts->skip_pids[i] == (pid_t)pid)
			return true;
	return false;
}

static struct restore_proc *find_proc(struct restore *r, uint32_t pid)
{
	for (size_t i = r->nr; i-- > 0;) /* parents are near the end, pre-order */
		if (r->procs[i].process->pid == pid)
			return &r->procs[i];
	return NULL;
}

/* A member belongs to the tree being restarted when its parent does. */
static int add_member(struct restore *r, const Stasis__ImageInfo *root_info,
		      const Stasis__Member *m, struct stasis_error *err)
{
	struct restore_proc *parent = find_proc(r, m->ppid), *p = &r->procs[r->nr];
	const Stasis__ImageInfo *info;

	if (!parent || is_skipped(r, m->pid))
		return 0;
	if (!parent->mm)
		return stasis_fail(err, STASIS_E_CORRUPT, "process %u, which has no memory, has a child",
				   m->ppid);
	if (image_open(r->dirfd, m->name, &p->image, err) < 0)
		return -1;
	p->index = r->nr;
	p->parent = parent->index;
	r->nr++; /* from here on restore_done() closes it */
	info = info_of(p->image, err);
	if (!info)
		return -1;
	if (memcmp(info->dump_id.data, root_info->dump_id.data, 16) != 0 || info->pid != m->pid)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "image '%s' is not of the same checkpoint as '%s'", m->name,
				   image_name(r->procs[0].image));
	if (load_proc(p, err) < 0)
		return -1;
	if (p->process->pid != m->pid || p->process->ppid != m->ppid)
		return stasis_fail(err, STASIS_E_CORRUPT, "image '%s' is of another process", m->name);
	return 0;
}

static int load_root(struct restore *r, const char *base, struct stasis_error *err)
{
	struct restore_proc *root = &r->procs[0];

	if (image_open(r->dirfd, base, &root->image, err) < 0)
		return -1;
	r->nr = 1;
	return load_proc(root, err);
}

static size_t count_threads(const struct restore *r)
{
	size_t nr = 0;

	for (size_t i = 0; i < r->nr; i++)
		nr += r->procs[i].nr_threads;
	return nr;
}

int restore_load(struct restore *r, struct stasis_error *err)
{
	const Stasis__ImageInfo *info;
	struct restore_proc *all;
	const char *base = NULL;

	r->dirfd = open_folder(r->opts->dirfd, r->opts->name, &base, err);
	if (r->dirfd < 0)
		return -1;
	r->procs = calloc(1, sizeof(*r->procs));
	if (!r->procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the tree");
	if (load_root(r, base, err) < 0)
		return -1;
	info = info_of(r->procs[0].image, err);
	if (!info)
		return -1;
	if (info->n_members > RESTORE_MAX_PROCS || info->pid != r->procs[0].process->pid)
		return stasis_fail(err, STASIS_E_CORRUPT, "image '%s': %zu processes", base,
				   info->n_members);
	all = realloc(r->procs, (info->n_members + 1) * sizeof(*all));
	if (!all)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the tree");
	memset(all + 1, 0, info->n_members * sizeof(*all));
	r->procs = all;
	for (size_t i = 0; i < info->n_members; i++)
		if (info->members[i]->pid != info->pid &&
		    add_member(r, info, info->members[i], err) < 0)
			return -1;
	r->nr_threads = count_threads(r);
	for (size_t i = 0; i < r->nr; i++)
		r->nr_stand_ins += r->procs[i].process->stand_in != NULL;
	return 0;
}

void restore_done(struct restore *r)
{
	fd_load_free(r->fds);
	mem_load_free(r->mem);
	ipc_load_free(r->ipc);
	ns_load_free(r->ns);
	free(r->moved);
	free(r->ipc_procs);
	ns_cgroups_free(r->cgroups);
	free(r->ns_procs);
	free(r->fd_procs);
	free(r->mem_procs);
	for (size_t i = 0; i < r->nr; i++) {
		image_close(r->procs[i].image);
		free(r->procs[i].threads);
	}
	free(r->procs);
	shared_destroy(r);
	if (r->dirfd >= 0)
		(void)close(r->dirfd);
	if (r->status_fd >= 0)
		(void)close(r->status_fd);
}
