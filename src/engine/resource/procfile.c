/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files and folders of /proc that tell of a process of the tree: /proc/PID/status, /proc/self/fd. Each
 * process opens its own when all are there. Processes that shared a description by fork have one each
 * after a restart, with a position each.
 */
#include "resource/resource_priv.h"

#include <ctype.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

static bool procfile_match(const struct fd_probe *p)
{
	return p->fs_magic == PROC_SUPER_MAGIC && !strncmp(p->link, "/proc/", 6) &&
	       isdigit((unsigned char)p->link[6]);
}

/* ---- which process */

/* Is it the /proc that we see, and so are its numbers ours? */
static bool is_our_proc(const struct fd_probe *p)
{
	struct stat st;

	return stat("/proc", &st) == 0 && st.st_dev == p->st.st_dev;
}

pid_t task_number_for(const struct task *holder, const struct task *t)
{
	struct stat a, b;

	if (!holder->nr_inner)
		return t->vpid;
	if (t->nr_inner != holder->nr_inner || fstatat(holder->procfd, "ns/pid", &a, 0) < 0 ||
	    fstatat(t->procfd, "ns/pid", &b, 0) < 0 || a.st_ino != b.st_ino)
		return 0;
	return t->inner_pids[t->nr_inner - 1];
}

static const struct task *find_task(const struct fd_probe *p, pid_t number)
{
	bool is_ours = is_our_proc(p);
	struct task *t;
	size_t i;

	tree_for_each(p->task->tree, i, t)
		if (t->state != TASK_ZOMBIE &&
		    (is_ours ? t->pid : task_number_for(p->task, t)) == number)
			return t;
	return NULL;
}

bool task_sees(const struct task *holder, const char *path, const struct stat *st)
{
	char name[PATH_MAX];
	struct stat got;

	(void)snprintf(name, sizeof(name), "root%s", path);
	return fstatat(holder->procfd, name, &got, AT_SYMLINK_NOFOLLOW) == 0 &&
	       got.st_dev == st->st_dev && got.st_ino == st->st_ino;
}

/* ---- dump */

/* Behind "/proc/NUMBER/"; of the first thread, "task/NUMBER/" is by the number of the restart as well. */
static char *make_name(struct fd_save *c, const char *link, pid_t before, pid_t after)
{
	const char *rest = strchr(link + 6, '/');
	char buf[PATH_MAX];
	int number, len = 0;

	if (!rest)
		return fd_save_strdup(c, "");
	if (sscanf(++rest, "task/%d%n", &number, &len) != 1 || number != before ||
	    (rest[len] && rest[len] != '/'))
		return fd_save_strdup(c, rest);
	(void)snprintf(buf, sizeof(buf), "task/%d%s", after, rest + len);
	return fd_save_strdup(c, buf);
}

static bool is_of_thread(const char *link, pid_t number)
{
	int pid, tid;

	return sscanf(link, "/proc/%d/task/%d", &pid, &tid) == 2 && tid != number;
}

static int procfile_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			 Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__ProcFile *r = fd_save_alloc(c, sizeof(*r));
	pid_t number = (pid_t)strtol(p->link + 6, NULL, 10);
	const struct task *t = find_task(p, number);

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a file");
	stasis__proc_file__init(r);
	if (!t || is_of_thread(p->link, number))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.120s' tells of a %s; close it before the checkpoint", p->link,
				   t ? "thread" : "process outside of the tree, or of a thread");
	if (!task_sees(p->task, p->link, &p->st))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.120s' is another file where the process looks (chroot, or another "
				   "/proc); close it before the checkpoint",
				   p->link);
	r->pid = t->vpid;
	r->number = is_our_proc(p) ? t->vpid : number;
	r->name = make_name(c, p->link, number, r->number);
	r->mode = p->st.st_mode;
	if (!r->name)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a file");
	ret->kind_case = STASIS__DESCRIPTION__KIND_PROCFILE;
	ret->procfile = r;
	return 0;
}

/* ---- restart */

static bool is_plain_name(const char *name)
{
	for (const char *at = name, *slash; at; at = slash ? slash + 1 : NULL) {
		slash = strchr(at, '/');
		if (!strncmp(at, "..", 2) && (!at[2] || at[2] == '/'))
			return false;
	}
	return name[0] != '/' && strlen(name) < NAME_MAX;
}

static int procfile_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			   struct stasis_error *err)
{
	const Stasis__ProcFile *r = d->procfile;

	(void)s;
	if (r->pid < 1 || r->number < 1 || !is_plain_name(r->name) || d->pos > INT64_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "file '%.100s' of process %d", r->name,
				   r->pid);
	if (!load_find_proc(c, r->pid))
		return stasis_fail(err, STASIS_E_GONE,
				   "'/proc/%d/%.100s': that process is not restarted", r->number,
				   r->name);
	return 0;
}

/* Until the processes are there. */
static int procfile_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			 struct stasis_error *err)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC | (int)(d->flags & O_PATH));

	(void)s;
	(void)c;
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "open '/dev/null'") : fd;
}

static int open_it(const Stasis__Description *d, struct stasis_error *err)
{
	/* openat2() takes no flag that means nothing */
	const uint32_t allowed = d->flags & O_PATH ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC : ~0u;
	const struct open_how how = {.flags = file_open_flags(d->flags) & allowed,
				     .resolve = RESOLVE_NO_SYMLINKS};
	scoped_fd int fd = -1;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", d->procfile->number, d->procfile->name);
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s'", path);
	if (!(d->flags & O_PATH) && file_seek(fd, d->pos, path, err) < 0)
		return -1;
	return fd_take(&fd);
}

static int procfile_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid,
			   int fd, struct stasis_error *err)
{
	(void)s;
	(void)d;
	(void)pid;
	return load_attach(c->current, fd, open_it, err);
}

static int procfile_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			   struct stasis_error *err)
{
	(void)s;
	(void)d;
	return load_take_attached(c, err);
}

const struct resource_kind kind_procfile = {
	.name = "procfile",
	.tag = STASIS__DESCRIPTION__KIND_PROCFILE,
	.match = procfile_match,
	.save = procfile_save,
	.verify = procfile_verify,
	.load = procfile_load,
	.attach = procfile_attach,
	.finish = procfile_finish,
};
