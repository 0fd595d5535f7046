/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files that mappings need: are they there, and still what they were? Each is looked at once,
 * however many mappings and processes name it.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One file as all its mappings together describe it. */
struct wanted_file {
	const Stasis__Vma *v; /* the one that needs most */
	pid_t pid;	      /* of a process that maps it */
	size_t next;	      /* with the same device and inode, or NONE */
	bool is_code;	      /* mapped privately and executable somewhere */
};

struct wanted {
	size_t nr, cap;
	struct wanted_file *v;
	struct index index;
};

static void wanted_done(struct wanted *w)
{
	free(w->v);
	index_done(&w->index);
}

static bool is_same_file(const Stasis__FileId *a, const Stasis__FileId *b)
{
	return strcmp(a->path, b->path) == 0 && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

static struct wanted_file *find(struct wanted *w, const Stasis__Vma *v, struct stasis_error *err)
{
	size_t *head = index_get(&w->index, v->file->dev, v->file->ino, w->nr + 1);
	struct wanted_file *f;

	if (!head)
		return stasis_fail_null(err, STASIS_E_NOMEM, "table of files");
	for (size_t i = *head - 1; i < w->nr; i = w->v[i].next)
		if (is_same_file(w->v[i].v->file, v->file))
			return &w->v[i];
	if (table_grow((void **)&w->v, &w->cap, w->nr, sizeof(*w->v), err) < 0)
		return NULL;
	f = &w->v[w->nr];
	f->v = v;
	f->is_code = false;
	f->next = *head - 1 < w->nr ? *head - 1 : NONE;
	*head = ++w->nr;
	return f;
}

static int want(struct wanted *w, pid_t pid, const Stasis__Vma *v, struct stasis_error *err)
{
	struct wanted_file *f = find(w, v, err);

	if (!f)
		return -1;
	f->pid = pid;
	if ((v->file_flags & O_ACCMODE) == O_RDWR)
		f->v = v;
	if (v->kind == STASIS__VMA_KIND__VMA_FILE_PRIVATE && (v->prot & PROT_EXEC))
		f->is_code = true;
	return 0;
}

/* Not to block on, and not to become the terminal of: a path may lead to anything by now. */
int load_open_file(const Stasis__Vma *v, struct stasis_error *err)
{
	bool is_rdwr = (v->file_flags & O_ACCMODE) == O_RDWR;
	scoped_fd int fd = open(v->file->path, (is_rdwr ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY |
						       O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "mapped file '%s'%s", v->file->path,
					 is_rdwr ? " (for writing)" : "");
	if (fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "mapped file '%s'", v->file->path);
	if (!S_ISREG(st.st_mode) && !(S_ISCHR(st.st_mode) && S_ISCHR(v->file->mode)))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "mapped file '%s' is not a regular file any more", v->file->path);
	return fd_take(&fd);
}

static bool has_changed(const Stasis__FileId *id, const struct stat *st)
{
	int64_t mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec;

	return S_ISREG(st->st_mode) && ((uint64_t)st->st_size != id->size || mtime_ns != id->mtime_ns);
}

static int check_file(struct mem_load *m, const struct wanted_file *f, struct stasis_error *err)
{
	const Stasis__FileId *id = f->v->file;
	scoped_fd int fd = load_open_file(f->v, err);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "mapped file '%s'", id->path);
	if (!has_changed(id, &st))
		return 0;
	if (f->is_code && !m->s->is_forced)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "program or library '%s' changed since the checkpoint (%lld bytes, "
				   "not %llu, or another time of modification); bring the old one back, "
				   "or use -F to run with this one",
				   id->path, (long long)st.st_size, (unsigned long long)id->size);
	if (!m->quiet_files)
		s_warn(m->s, "file '%s' changed since the checkpoint", id->path);
	return 0;
}

static int collect(struct mem_load *m, struct wanted *w, struct stasis_error *err)
{
	for (size_t p = 0; p < m->nr_procs; p++) {
		const struct load_proc *lp = &m->procs[p];

		for (size_t i = 0; i < lp->nr_vmas; i++)
			if (lp->vmas[i].is_staged && lp->vmas[i].v->file && !lp->vmas[i].v->object &&
			    lp->vmas[i].v->kind != STASIS__VMA_KIND__VMA_ANON_PRIVATE &&
			    want(w, lp->p->pid, lp->vmas[i].v, err) < 0)
				return -1;
	}
	return 0;
}

int load_check_files(struct mem_load *m, struct stasis_error *err)
{
	scoped(wanted_done) struct wanted w = { 0 };

	if (collect(m, &w, err) < 0)
		return -1;
	for (size_t i = 0; i < w.nr; i++)
		/* else it is made again when it is gone, and compared byte by byte when not */
		if (!load_has_shm(m, w.v[i].v->file->path) &&
		    (session_enter(m->s, w.v[i].pid, err) < 0 || check_file(m, &w.v[i], err) < 0))
			return -1;
	return session_enter(m->s, 0, err);
}
