/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inotify(7). Watches get their numbers back, and come last, so that nothing the restart does to files
 * is seen. Events that wait cannot be looked at without being taken: they stay with a program that goes
 * on (the checkpoint waits a moment for it to take them), and one that is restarted is told that some were lost, by IN_Q_OVERFLOW, as inotify(7) has it.
 */
#include "resource/watch.h"

#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define INOTIFY_SETNEXTWD _IOW('I', 0, int32_t) /* <linux/inotify.h>, Linux 4.18 */

enum {
	MAX_WATCHES = 1 << 22,
	MAX_QUEUE = 1 << 22, /* events, of fs.inotify.max_queued_events */
	LOOKS = IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE, /* what a reader of folders does */
};

/* What inotify_add_watch() takes and the kernel keeps; with nothing else, IN_UNMOUNT is never asked for
 * in vain. */
#define KEPT_BITS (IN_ALL_EVENTS | IN_UNMOUNT | IN_EXCL_UNLINK | IN_ONESHOT)

static bool inotify_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:inotify") || !strcmp(p->link, "anon_inode:[inotify]");
}

static int inotify_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Inotify *r = fd_save_alloc(c, sizeof(*r));
	int waiting;

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an inotify instance");
	stasis__inotify__init(r);
	if (p->local_fd < 0 || ioctl(p->local_fd, FIONREAD, &waiting) < 0)
		return stasis_fail(err, STASIS_E_DENIED, "inotify instance cannot be looked at");
	r->has_events = waiting > 0;
	if (r->has_events && s->is_patient)
		return stasis_fail(err, STASIS_E_BUSY, "inotify instance with unread events");
	if (r->has_events)
		s_warn(s,
		       "%s(%d) fd %d: events that wait in an inotify instance are not saved; after a "
		       "restart it reports that some were lost (IN_Q_OVERFLOW)",
		       p->task->comm, p->task->pid, p->fd);
	ret->kind_case = STASIS__DESCRIPTION__KIND_INOTIFY; /* also when forced */
	ret->inotify = r;
	return 0;
}

/* One line of fdinfo with what it leads to. */
struct watch {
	int wd;
	uint32_t mask;
};

/* "inotify wd:2 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 ..." */
static int parse(const char *line, struct watch *w, struct watched *file)
{
	const char *mask = strstr(line, " mask:");

	if (!mask || sscanf(line, "inotify wd:%x", (unsigned *)&w->wd) != 1 || w->wd < 1 ||
	    sscanf(mask, " mask:%x", &w->mask) != 1 || watch_parse(line, file) < 0)
		return -1;
	w->mask &= KEPT_BITS;
	file->minds_looks = w->mask & LOOKS;
	return 0;
}

static int compare_watches(const void *a, const void *b)
{
	const Stasis__InotifyWatch *x = *(Stasis__InotifyWatch *const *)a;
	const Stasis__InotifyWatch *y = *(Stasis__InotifyWatch *const *)b;

	return x->wd < y->wd ? -1 : x->wd > y->wd;
}

static int add(struct fd_save *c, struct fd_desc *d, const struct watch *w, const struct watched *file,
	       struct stasis_error *err)
{
	Stasis__Inotify *r = d->rec.inotify;
	Stasis__InotifyWatch *rec = fd_save_alloc(c, sizeof(*rec));

	if (!rec)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an inotify instance");
	stasis__inotify_watch__init(rec);
	rec->wd = (uint32_t)w->wd;
	rec->mask = w->mask;
	rec->target = watch_record(c, d, file);
	if (!rec->target)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an inotify instance");
	r->watches[r->n_watches++] = rec;
	return 0;
}

/* All that are found are saved, also when one is not: -F leaves out no more than it must. */
static int add_found(struct fd_save *c, struct fd_desc *d, const struct watch *list,
		     const struct watched *files, size_t nr, struct stasis_error *err)
{
	Stasis__Inotify *r = d->rec.inotify;
	const struct watched *lost = NULL;
	int lost_wd = 0;

	r->watches = fd_save_alloc(c, (nr + 1) * sizeof(*r->watches));
	if (!r->watches)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an inotify instance");
	for (size_t i = 0; i < nr; i++) {
		if (!files[i].path && !files[i].desc) {
			lost = &files[i];
			lost_wd = list[i].wd;
		} else if (add(c, d, &list[i], &files[i], err) < 0) {
			return -1;
		}
	}
	qsort(r->watches, r->n_watches, sizeof(*r->watches), compare_watches);
	if (!lost)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "inotify instance: no path found for the file of watch %d (inode %llu); "
			   "checkpoint as root, or remove it (inotify_rm_watch), or -F to leave it out",
			   lost_wd, (unsigned long long)lost->ino);
}

static size_t count_lines(const char *text)
{
	size_t nr = 0;

	for (const char *line = NULL; (line = watch_line(text, line, "inotify "));)
		nr++;
	return nr;
}

static int inotify_settle(struct session *s, struct fd_save *c, struct fd_desc *d,
			  struct stasis_error *err)
{
	scoped_free struct watched *files = NULL;
	scoped_free struct watch *list = NULL;
	scoped_free char *text = NULL;
	const char *line = NULL;
	size_t nr;

	(void)s;
	if (entry_read_fdinfo(d->first, &text, err) < 0)
		return -1;
	nr = count_lines(text);
	files = calloc(nr + 1, sizeof(*files));
	list = calloc(nr + 1, sizeof(*list));
	if (!files || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an inotify instance");
	for (size_t i = 0; i < nr; i++) {
		line = watch_line(text, line, "inotify ");
		if (parse(line, &list[i], &files[i]) < 0)
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "fdinfo of an inotify instance does not look like proc(5) "
					   "says");
	}
	if (nr && watch_find(c, d, files, nr, err) < 0)
		return -1;
	return add_found(c, d, list, files, nr, err);
}

/* ---- restart ---- */

static int inotify_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__Inotify *r = d->inotify;
	uint32_t last = 0;

	(void)s;
	if (r->n_watches > MAX_WATCHES)
		return stasis_fail(err, STASIS_E_CORRUPT, "inotify instance with %zu watches",
				   r->n_watches);
	for (size_t i = 0; i < r->n_watches; i++) {
		const Stasis__InotifyWatch *w = r->watches[i];

		if (w->wd <= last || w->wd > INT32_MAX || !(w->mask & (IN_ALL_EVENTS | IN_UNMOUNT)) ||
		    w->mask & ~(uint32_t)KEPT_BITS)
			return stasis_fail(err, STASIS_E_CORRUPT, "watch %u with mask 0x%x", w->wd,
					   w->mask);
		if (watch_check(c, d, w->target, err) < 0)
			return -1;
		last = w->wd;
	}
	return 0;
}

static int inotify_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	int fd = inotify_init1(IN_CLOEXEC);

	(void)s;
	(void)c;
	(void)d;
	if (fd < 0 && errno == EMFILE)
		return stasis_fail_errno(err, STASIS_E_IO,
					 "inotify instance (raise fs.inotify.max_user_instances)");
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "inotify_init1") : fd;
}

/* ---- a queue that ran over ---- */

struct scratch {
	int fd[2];
	char path[2][40];
	int wd[2];
};

static void scratch_done(struct scratch *f)
{
	scoped_close_fd(&f->fd[0]);
	scoped_close_fd(&f->fd[1]);
}

static int scratch_make(struct scratch *f, int fd, struct stasis_error *err)
{
	for (int i = 0; i < 2; i++) {
		f->fd[i] = memfd_create("stasis-watch", MFD_CLOEXEC);
		(void)snprintf(f->path[i], sizeof(f->path[i]), "/proc/self/fd/%d", f->fd[i]);
		f->wd[i] = f->fd[i] < 0 ? -1 : inotify_add_watch(fd, f->path[i], IN_ATTRIB);
		if (f->wd[i] < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "watch a file of our own");
	}
	return 0;
}

static int read_limit(size_t *ret, struct stasis_error *err)
{
	scoped_file FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	if (!f || fscanf(f, "%zu", ret) != 1 || *ret > MAX_QUEUE)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "inotify instance with events: fs.inotify.max_queued_events is not "
				   "readable or above %d; lower it", MAX_QUEUE);
	return 0;
}

/* Take exactly that many events, none of which has a name. */
static int drop_events(int fd, size_t nr, struct stasis_error *err)
{
	struct inotify_event events[256];

	while (nr) {
		size_t want = nr < 256 ? nr : 256;
		ssize_t n = read(fd, events, want * sizeof(events[0]));

		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read events of our own");
		nr -= (size_t)n / sizeof(events[0]);
	}
	return 0;
}

/*
 * The kernel's own way: events until no more fit. Two files in turn, since an event that is like the
 * last one is not queued again. While the queue is full and has its IN_Q_OVERFLOW, the end of their
 * watches (IN_IGNORED) goes unnoticed. Then everything before the IN_Q_OVERFLOW is taken out.
 */
static int make_overflow(int fd, struct stasis_error *err)
{
	scoped(scratch_done) struct scratch f = {.fd = {-1, -1}};
	size_t max;

	if (read_limit(&max, err) < 0 || scratch_make(&f, fd, err) < 0)
		return -1;
	for (size_t i = 0; i <= max; i++)
		if (fchmod(f.fd[i % 2], 0700) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "change a file of our own");
	if (inotify_rm_watch(fd, f.wd[0]) < 0 || inotify_rm_watch(fd, f.wd[1]) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "inotify_rm_watch");
	return drop_events(fd, max, err);
}

/* ---- watches ---- */

/* 0, or -1 with errno. */
static int add_at(int fd, uint32_t wd, const char *path, uint32_t mask)
{
	int got = ioctl(fd, INOTIFY_SETNEXTWD, (long)wd) < 0 ? -1 : inotify_add_watch(fd, path, mask);

	if (got >= 0 && got != (int)wd)
		errno = EBUSY;
	return got == (int)wd ? 0 : -1;
}

/* Where there is nothing any more: the program is told as if it had been deleted now. */
static int add_gone(int fd, const Stasis__InotifyWatch *w, struct stasis_error *err)
{
	scoped_fd int file = memfd_create("stasis-gone", MFD_CLOEXEC);
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (file < 0 || add_at(fd, w->wd, path, (w->mask & IN_DELETE_SELF) | IN_UNMOUNT) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "watch %u of an inotify instance", w->wd);
	return 0;
}

static int add_watch(struct session *s, struct fd_load *c, int fd, const Stasis__InotifyWatch *w,
		     struct stasis_error *err)
{
	const struct load_desc *l = c->current;
	uint32_t how = w->target->file ? IN_DONT_FOLLOW : 0;
	char path[PATH_MAX];

	errno = ENOENT;
	if (watch_target(c, w->target, path) &&
	    add_at(fd, w->wd, path, w->mask | how | IN_MASK_CREATE) == 0)
		return 0;
	if (errno == ENOSPC)
		return stasis_fail_errno(err, STASIS_E_IO,
					 "watch '%.150s' (raise fs.inotify.max_user_watches)", path);
	/* EEXIST: two names that now lead to one file */
	s_warn(s, "%s(%d) fd %d: '%.150s' cannot be watched any more (%s); the program is told that it "
	       "was deleted", l->proc->comm, l->proc->pid, l->first_fd, path, strerror(errno));
	return add_gone(fd, w, err);
}

static int inotify_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__Inotify *r = d->inotify;
	int fd = c->current->fd;

	if (r->has_events && make_overflow(fd, err) < 0)
		return -1;
	if (session_enter(s, c->current->proc->pid, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_watches; i++)
		if (add_watch(s, c, fd, r->watches[i], err) < 0)
			return -1;
	return session_enter(s, 0, err);
}

const struct resource_kind kind_inotify = {
	.name = "inotify",
	.tag = STASIS__DESCRIPTION__KIND_INOTIFY,
	.match = inotify_match,
	.save = inotify_save,
	.settle = inotify_settle,
	.verify = inotify_verify,
	.load = inotify_load,
	.finish = inotify_finish,
	.is_finished_last = true,
};
