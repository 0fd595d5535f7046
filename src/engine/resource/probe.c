/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks at descriptors of a stopped task from outside. What every descriptor costs is one file of
 * /proc/PID/fdinfo; what lies behind it is looked at once per description, and a duplicate is held
 * only while one description is saved, so that our own limit of open files does not matter.
 */
#include "resource/resource_priv.h"

#include "lib/proc.h"

#include <pthread.h>
#include <string.h>
#include <sys/statfs.h>

enum {
	FDINFO_MAX_BYTES = 4096, /* what comes later (epoll members) nobody here reads, unless it is locks */
	FDINFO_WHOLE_BYTES = 16 << 20,
	THREAD_MIN = 256, /* descriptors from which a second thread pays */
};

static const char *line_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, key, len) && p[len] == ':')
			return p + len + 1;
	return NULL;
}

/* proc(5), fdinfo: "pos:\t0\nflags:\t0100002\nmnt_id:\t15\nino:\t77\n" and what the kind adds. */
static int parse_fdinfo(struct fd_entry *e, const char *text, struct stasis_error *err)
{
	const char *pos = line_value(text, "pos"), *flags = line_value(text, "flags");
	const char *mnt = line_value(text, "mnt_id"), *ino = line_value(text, "ino");

	if (!pos || !flags || !mnt || !ino)
		return stasis_fail(err, STASIS_E_INTERNAL,
				   "fdinfo does not look like proc(5) says");
	e->pos = strtoull(pos, NULL, 10);
	e->flags = (uint32_t)strtoul(flags, NULL, 8);
	e->mnt_id = strtoull(mnt, NULL, 10);
	e->ino = strtoull(ino, NULL, 10);
	e->is_cloexec = e->flags & FDINFO_CLOEXEC;
	e->flags &= ~FDINFO_CLOEXEC;
	return 0;
}

/* A part of one task's descriptors, for one thread. */
struct list_job {
	int dirfd; /* /proc/PID/fdinfo */
	struct fd_entry *entries;
	size_t nr;
	struct arena *arena;
	int result;
	struct stasis_error err;
};

/* With many locks, which are listed first of all. */
static int read_long_fdinfo(const struct list_job *job, struct fd_entry *e, const char *name,
			    struct stasis_error *err)
{
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(job->dirfd, name, FDINFO_WHOLE_BYTES, &text, &len, err) < 0 ||
	    parse_fdinfo(e, text, err) < 0)
		return stasis_fail_prefix(err, "fd %d of %s(%d)", e->fd, e->task->comm,
					  e->task->pid);
	e->fdinfo = arena_memdup(job->arena, text, len + 1);
	return e->fdinfo ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
}

/* A descriptor that is not there any more, as can be in a task that is not stopped, gets no text. */
static int read_fdinfo(const struct list_job *job, struct fd_entry *e, struct stasis_error *err)
{
	char name[16], text[FDINFO_MAX_BYTES];
	scoped_fd int fd = -1;
	ssize_t n;

	(void)snprintf(name, sizeof(name), "%d", e->fd);
	fd = openat(job->dirfd, name, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "can't get info for fd %d of %s(%d)",
					 e->fd, e->task->comm, e->task->pid);
	text[n] = '\0';
	if ((size_t)n == sizeof(text) - 1 && strstr(text, "\nlock:"))
		return read_long_fdinfo(job, e, name, err);
	if (parse_fdinfo(e, text, err) < 0)
		return stasis_fail_prefix(err, "fd %d of %s(%d)", e->fd, e->task->comm,
					  e->task->pid);
	e->fdinfo = arena_memdup(job->arena, text, (size_t)n + 1);
	if (!e->fdinfo)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	return 0;
}

static void *run_job(void *arg)
{
	struct list_job *job = arg;

	for (size_t i = 0; i < job->nr && job->result == 0; i++)
		job->result = read_fdinfo(job, &job->entries[i], &job->err);
	return NULL;
}

/* Long lists in two threads: most of the time is the kernel's, in /proc. */
static int read_all(struct fd_list *l, int dirfd, struct stasis_error *err)
{
	size_t half = l->nr < THREAD_MIN ? l->nr : l->nr / 2;
	struct list_job jobs[2] = {
		{.dirfd = dirfd, .entries = l->entries, .nr = half, .arena = &l->arenas[0]},
		{.dirfd = dirfd, .entries = l->entries + half, .nr = l->nr - half, .arena = &l->arenas[1]},
	};
	pthread_t thread;
	bool has_thread = jobs[1].nr && pthread_create(&thread, NULL, run_job, &jobs[1]) == 0;

	(void)run_job(&jobs[0]);
	if (has_thread)
		(void)pthread_join(thread, NULL); /* cannot fail for a thread of ours */
	else
		(void)run_job(&jobs[1]);
	for (int i = 0; i < 2; i++) {
		if (jobs[i].result < 0 && err)
			*err = jobs[i].err;
		if (jobs[i].result < 0)
			return -1;
	}
	return 0;
}

int probe_list(struct task *t, struct fd_list *ret, struct stasis_error *err)
{
	scoped_free int *numbers = NULL;
	scoped_fd int dirfd = -1;
	size_t nr, kept = 0;

	if (proc_list_numbers(t->procfd, "fdinfo", &numbers, &nr, err) < 0)
		return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
	ret->entries = calloc(nr + 1, sizeof(*ret->entries));
	if (!ret->entries)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	ret->nr = nr;
	dirfd = openat(t->procfd, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s(%d): open fdinfo", t->comm, t->pid);
	for (size_t i = 0; i < nr; i++)
		ret->entries[i] = (struct fd_entry){.task = t, .fd = numbers[i], .local_fd = -1};
	if (read_all(ret, dirfd, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++)
		if (ret->entries[i].fdinfo)
			ret->entries[kept++] = ret->entries[i];
	ret->nr = kept;
	return 0;
}

/* The kind of file system behind a descriptor; most descriptors share a few. */
static uint32_t find_magic(struct fd_save *c, const char *path, dev_t dev)
{
	struct statfs sf;

	if (c->last_magic && c->last_dev == dev)
		return c->last_magic;
	if (statfs(path, &sf) < 0)
		return 0;
	c->last_dev = dev;
	c->last_magic = (uint32_t)sf.f_type;
	return c->last_magic;
}

/*
 * What lies behind the descriptor: looked at through our duplicate, whose few numbers the kernel's
 * name cache knows, else (a task that we may only look at) through the task's own link.
 */
static int look(struct fd_save *c, struct fd_desc *d, struct fd_probe *p, struct stasis_error *err)
{
	char path[64];
	ssize_t n;

	if (p->local_fd >= 0)
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p->local_fd);
	else
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", task_live_tid(p->task), p->fd);
	n = readlink(path, p->link, sizeof(p->link) - 1);
	if (n < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read link '%s'", path);
	p->link[n] = '\0';
	d->link = arena_strdup(&c->arena, p->link);
	if (!d->link)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	if ((p->local_fd >= 0 ? fstat(p->local_fd, &d->st) : stat(path, &d->st)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fstat");
	if (S_ISREG(d->st.st_mode) || S_ISDIR(d->st.st_mode) || S_ISLNK(d->st.st_mode))
		d->fs_magic = find_magic(c, path, d->st.st_dev);
	return 0;
}

int entry_get_fd(const struct fd_entry *e, struct stasis_error *err)
{
	int fd;

	if (e->local_fd < 0)
		return task_get_fd(e->task, e->fd, err);
	fd = fcntl(e->local_fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "duplicate a descriptor") : fd;
}

int entry_read_fdinfo(const struct fd_entry *e, char **ret, struct stasis_error *err)
{
	bool is_ours = e->fd < 0;
	char name[48];
	size_t len;

	(void)snprintf(name, sizeof(name), "%sfdinfo/%d", is_ours ? "/proc/self/" : "",
		       is_ours ? e->local_fd : e->fd);
	return io_read_file_at(is_ours ? AT_FDCWD : e->task->procfd, name, FDINFO_WHOLE_BYTES, ret,
			       &len, err);
}

/* What fdinfo says of a descriptor of ours. */
int probe_local(struct fd_save *c, struct fd_entry *e, struct stasis_error *err)
{
	scoped_fd int dirfd = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fd_entry as_ours = {.task = e->task, .fd = e->local_fd};
	const struct list_job job = {.dirfd = dirfd, .arena = &c->arena};

	if (dirfd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self/fdinfo'");
	if (read_fdinfo(&job, &as_ours, err) < 0)
		return -1;
	if (!as_ours.fdinfo)
		return stasis_fail(err, STASIS_E_INTERNAL, "descriptor %d is gone", e->local_fd);
	as_ours.fd = e->fd;
	as_ours.local_fd = e->local_fd;
	*e = as_ours;
	return 0;
}

static void fill(struct fd_probe *p, struct fd_desc *d)
{
	const struct fd_entry *e = d->first;

	p->task = e->task;
	p->fd = e->fd;
	p->desc = d;
	p->flags = e->flags;
	p->is_cloexec = e->is_cloexec;
	p->is_path = e->flags & O_PATH;
	p->pos = e->pos;
	p->mnt_id = e->mnt_id;
	p->fdinfo = e->fdinfo;
	p->local_fd = -1;
}

int probe_open(struct fd_save *c, struct fd_desc *d, struct fd_probe **ret,
	       struct stasis_error *err)
{
	struct fd_probe *p = c->probe;

	fill(p, d);
	if (d->first->local_fd >= 0 || p->task->pidfd >= 0)
		p->local_fd = entry_get_fd(d->first, NULL);
	if (p->local_fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return stasis_fail_errno(err, STASIS_E_IO, "duplicate the descriptor");
	*ret = p;
	if (!d->link && look(c, d, p, err) < 0)
		return -1;
	(void)snprintf(p->link, sizeof(p->link), "%s", d->link);
	p->st = d->st;
	p->fs_magic = d->fs_magic;
	return 0;
}

void probe_close(struct fd_probe *p)
{
	scoped_close_fd(&p->local_fd);
	p->local_fd = -1;
}

void probe_closep(struct fd_probe **p)
{
	if (*p)
		probe_close(*p);
}
