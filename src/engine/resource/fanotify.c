/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fanotify(7): marks of files, mounts and file systems. A group that decides over what others do
 * (permission events) is refused, since they would all wait for it; one with unread events is, since these
 * can neither be copied nor be made again.
 */
#include "resource/watch.h"

#include "lib/proc.h"

#include <limits.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

/* Newer than the C library's headers may be; <linux/fanotify.h>. */
enum {
	OPT_MARK_FILESYSTEM = 0x100, /* Linux 4.20 */
	OPT_MARK_EVICTABLE = 0x200,  /* Linux 5.19 */
	OPT_MARK_IGNORE = 0x400,     /* Linux 6.0 */
	OPT_INIT_CLASSES = 0x0c,     /* classes that get permission events */
	OPT_INIT_BITS = 0x7fff,
	PERMISSION_BITS = 0x70000 | 0x100000,
	LOOKS = FAN_ACCESS | FAN_OPEN | FAN_CLOSE_NOWRITE,
	MAX_MARKS = 1 << 20,
	MOUNTINFO_MAX_BYTES = 16 << 20,
};

#define MARK_FLAGS (FAN_MARK_IGNORED_SURV_MODIFY | OPT_MARK_EVICTABLE | OPT_MARK_IGNORE)
/* what fanotify_mark() takes as mask; the kernel adds bits of its own */
#define MASK_BITS (0x01ffffffu | FAN_EVENT_ON_CHILD | 0x10000000u | FAN_ONDIR)

static bool fanotify_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[fanotify]");
}

static int fanotify_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			 Stasis__Description *ret, struct stasis_error *err)
{
	const char *line = watch_line(p->fdinfo, NULL, "fanotify flags:");
	Stasis__Fanotify *r = fd_save_alloc(c, sizeof(*r));
	int waiting;

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a fanotify group");
	stasis__fanotify__init(r);
	if (!line || sscanf(line, "fanotify flags:%x event-flags:%x", &r->flags, &r->event_flags) != 2)
		return stasis_fail(err, STASIS_E_INTERNAL,
				   "fdinfo of a fanotify group does not look like proc(5) says");
	if (r->flags & OPT_INIT_CLASSES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "fanotify group that decides over what others do is not supported; "
				   "close it before the checkpoint");
	if (p->local_fd < 0 || ioctl(p->local_fd, FIONREAD, &waiting) < 0)
		return stasis_fail(err, STASIS_E_DENIED, "fanotify group cannot be looked at");
	ret->kind_case = STASIS__DESCRIPTION__KIND_FANOTIFY; /* also when forced */
	ret->fanotify = r;
	if (waiting)
		return stasis_fail(err, session_passing(s),
				   "fanotify group with unread events; wait until the program has read "
				   "them, or -F to lose them");
	return 0;
}

/* ---- marks ---- */

/* Where a mount is, by its id or, when that is 0, one of a file system: "36 35 98:0 / /mnt ..." */
static char *find_mount(struct fd_save *c, const char *mounts, int mnt_id, dev_t dev)
{
	for (const char *line = mounts; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		char point[PATH_MAX];
		unsigned maj, min;
		int id;

		if (sscanf(line, "%d %*d %u:%u %*s %4095s", &id, &maj, &min, point) != 4 ||
		    (mnt_id ? id != mnt_id : makedev(maj, min) != dev))
			continue;
		proc_unescape(point);
		return fd_save_strdup(c, point);
	}
	return NULL;
}

struct marks {
	size_t nr, nr_inodes;
	Stasis__FanotifyMark *recs;
	struct watched *files; /* of each; path already set for mounts and file systems */
	struct watched *inodes; /* those of files, for the search */
	size_t *inode_at;
};

/* "fanotify ino:.. sdev:.. mflags:.. mask:.. ignored_mask:.. fhandle...", "fanotify mnt_id:.. mflags:..",
 * "fanotify sdev:.. mflags:.." */
static int parse_mark(struct fd_save *c, const char *line, const char *mounts, struct marks *m)
{
	const char *rest = strstr(line, " mflags:");
	Stasis__FanotifyMark *r = &m->recs[m->nr];
	struct watched *file = &m->files[m->nr];
	unsigned id = 0, dev = 0;

	stasis__fanotify_mark__init(r);
	if (!rest || sscanf(rest, " mflags:%x mask:%x ignored_mask:%x", &r->flags, &r->mask,
			    &r->ignored) != 3)
		return -1;
	r->flags &= MARK_FLAGS;
	r->mask &= MASK_BITS;
	r->ignored &= MASK_BITS;
	if (sscanf(line, "fanotify mnt_id:%x", &id) == 1) {
		r->type = FAN_MARK_MOUNT;
		file->path = find_mount(c, mounts, (int)id, 0);
	} else if (sscanf(line, "fanotify sdev:%x", &dev) == 1) {
		r->type = OPT_MARK_FILESYSTEM;
		file->path = find_mount(c, mounts, 0, watch_device(dev));
	} else if (watch_parse(line, file) == 0) {
		file->minds_looks = r->mask & LOOKS;
		m->inodes[m->nr_inodes] = *file;
		m->inode_at[m->nr_inodes++] = m->nr;
	} else {
		return -1;
	}
	m->nr++;
	return 0;
}

static int parse_marks(struct fd_save *c, const char *text, const char *mounts, struct marks *m,
		       struct stasis_error *err)
{
	size_t nr = 1;

	for (const char *line = NULL; (line = watch_line(text, line, "fanotify "));)
		nr++;
	m->recs = fd_save_alloc(c, nr * sizeof(*m->recs));
	m->files = fd_save_alloc(c, nr * sizeof(*m->files));
	m->inodes = fd_save_alloc(c, nr * sizeof(*m->inodes));
	m->inode_at = fd_save_alloc(c, nr * sizeof(*m->inode_at));
	if (!m->recs || !m->files || !m->inodes || !m->inode_at)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a fanotify group");
	for (const char *line = NULL; (line = watch_line(text, line, "fanotify "));)
		if (strncmp(line, "fanotify flags:", 15) != 0 && parse_mark(c, line, mounts, m) < 0)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "fanotify group with a mark of an unknown sort; remove it "
					   "(FAN_MARK_REMOVE)");
	return 0;
}

/* All that are found are saved, also when one is not: -F leaves out no more than it must. */
static int add_marks(struct fd_save *c, struct fd_desc *d, struct marks *m, struct stasis_error *err)
{
	Stasis__Fanotify *r = d->rec.fanotify;
	size_t nr_lost = 0;

	r->marks = fd_save_alloc(c, (m->nr + 1) * sizeof(*r->marks));
	if (!r->marks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a fanotify group");
	for (size_t i = 0; i < m->nr; i++) {
		if (!m->files[i].path && !m->files[i].desc) {
			nr_lost++;
			continue;
		}
		m->recs[i].target = watch_record(c, d, &m->files[i]);
		if (!m->recs[i].target)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for a fanotify group");
		r->marks[r->n_marks++] = &m->recs[i];
	}
	if (!nr_lost)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "fanotify group: no path found for %zu of its marks; checkpoint as root, or "
			   "remove them (FAN_MARK_REMOVE), or -F to leave them out",
			   nr_lost);
}

static int fanotify_settle(struct session *s, struct fd_save *c, struct fd_desc *d,
			   struct stasis_error *err)
{
	scoped_free char *text = NULL, *mounts = NULL;
	struct marks m = {.nr = 0};
	size_t len;

	(void)s;
	if (entry_read_fdinfo(d->first, &text, err) < 0 ||
	    io_read_file_at(d->first->task->procfd, "mountinfo", MOUNTINFO_MAX_BYTES, &mounts, &len,
			    err) < 0 ||
	    parse_marks(c, text, mounts, &m, err) < 0)
		return -1;
	if (m.nr_inodes && watch_find(c, d, m.inodes, m.nr_inodes, err) < 0)
		return -1;
	for (size_t i = 0; i < m.nr_inodes; i++)
		m.files[m.inode_at[i]] = m.inodes[i];
	return add_marks(c, d, &m, err);
}

/* ---- restart ---- */

static int check_mark(struct fd_load *c, const Stasis__Description *d, const Stasis__FanotifyMark *m,
		      struct stasis_error *err)
{
	bool is_type_known = !m->type || m->type == FAN_MARK_MOUNT || m->type == OPT_MARK_FILESYSTEM;

	if (!is_type_known || m->flags & ~(uint32_t)MARK_FLAGS || m->mask & ~MASK_BITS ||
	    m->ignored & ~MASK_BITS || (m->mask | m->ignored) & PERMISSION_BITS)
		return stasis_fail(err, STASIS_E_CORRUPT, "fanotify mark of type 0x%x, mask 0x%x",
				   m->type, m->mask);
	return watch_check(c, d, m->target, err);
}

static int fanotify_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			 struct stasis_error *err)
{
	int fd = fanotify_init((d->fanotify->flags & OPT_INIT_BITS) | FAN_CLOEXEC,
			       d->fanotify->event_flags);

	(void)s;
	(void)c;
	if (fd < 0 && errno == EPERM)
		return stasis_fail_errno(err, STASIS_E_DENIED, "fanotify group (needs CAP_SYS_ADMIN)");
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "fanotify_init") : fd;
}

static int fanotify_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			   struct stasis_error *err)
{
	const Stasis__Fanotify *r = d->fanotify;
	scoped_fd int fd = -1;

	if (r->flags & (~(uint32_t)OPT_INIT_BITS | OPT_INIT_CLASSES) || r->n_marks > MAX_MARKS)
		return stasis_fail(err, STASIS_E_CORRUPT, "fanotify group with flags 0x%x and %zu marks",
				   r->flags, r->n_marks);
	for (size_t i = 0; i < r->n_marks; i++)
		if (check_mark(c, d, r->marks[i], err) < 0)
			return -1;
	fd = fanotify_load(s, c, d, err);
	return fd < 0 ? -1 : 0;
}

static int add_mark(int fd, const Stasis__FanotifyMark *m, const char *path)
{
	unsigned type = m->type | (m->target->file ? FAN_MARK_DONT_FOLLOW : 0);
	unsigned ignore = m->flags & OPT_MARK_IGNORE ? OPT_MARK_IGNORE : FAN_MARK_IGNORED_MASK;

	if (m->mask && fanotify_mark(fd, FAN_MARK_ADD | type | (m->flags & OPT_MARK_EVICTABLE), m->mask,
				     AT_FDCWD, path) < 0)
		return -1;
	if (!m->ignored)
		return 0;
	return fanotify_mark(fd, FAN_MARK_ADD | type | ignore | (m->flags & ~(uint32_t)OPT_MARK_IGNORE),
			     m->ignored, AT_FDCWD, path);
}

static int fanotify_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			   struct stasis_error *err)
{
	const struct load_desc *l = c->current;
	char path[PATH_MAX];

	if (session_enter(s, l->proc->pid, err) < 0)
		return -1;
	for (size_t i = 0; i < d->fanotify->n_marks; i++) {
		const Stasis__FanotifyMark *m = d->fanotify->marks[i];

		errno = ENOENT;
		if (watch_target(c, m->target, path) && add_mark(l->fd, m, path) == 0)
			continue;
		s_warn(s, "%s(%d) fd %d: '%.150s' cannot be watched any more by fanotify: %s",
		       l->proc->comm, l->proc->pid, l->first_fd, path, strerror(errno));
	}
	return session_enter(s, 0, err);
}

const struct resource_kind kind_fanotify = {
	.name = "fanotify",
	.tag = STASIS__DESCRIPTION__KIND_FANOTIFY,
	.match = fanotify_match,
	.save = fanotify_save,
	.settle = fanotify_settle,
	.verify = fanotify_verify,
	.load = fanotify_load,
	.finish = fanotify_finish,
	.is_finished_last = true,
};
