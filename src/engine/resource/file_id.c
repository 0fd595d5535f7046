/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a file is named in an image, how it is found again, and with which flags it is opened again:
 * what all kinds with a path have in common. A file is never created or cut here.
 */
#include "resource/resource_priv.h"

#include <ctype.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>

static const char deleted_suffix[] = " (deleted)";

/* Flags that open() gives meaning to and that a description keeps. O_CREAT, O_EXCL, O_TRUNC and
 * O_TMPFILE did their work at the first open; O_ASYNC comes with F_SETFL. */
uint32_t file_open_flags(uint32_t flags)
{
	const uint32_t kept = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT |
			      O_NOATIME | O_DIRECTORY | O_NOFOLLOW | O_PATH;

	/* O_TMPFILE contains O_DIRECTORY, for kernels that do not know it: the file is none */
	if ((flags & O_TMPFILE) == O_TMPFILE)
		flags &= ~(uint32_t)O_TMPFILE;
	return (flags & kept) | O_NOCTTY | O_CLOEXEC;
}

/* Size, times and position mean nothing for what the kernel writes at each read. */
bool file_is_generated(uint32_t fs_magic)
{
	switch (fs_magic) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case SECURITYFS_MAGIC:
		return true;
	default:
		return false;
	}
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_deleted_suffix(const char *link)
{
	size_t len = strlen(link), end = sizeof(deleted_suffix) - 1;

	return len > end && !strcmp(link + len - end, deleted_suffix);
}

enum path_state file_path_state(const struct fd_probe *p)
{
	int flags = S_ISLNK(p->st.st_mode) ? AT_SYMLINK_NOFOLLOW : 0;
	struct stat st;

	if (p->link[0] == '/' && task_stat_path(p->task, p->link, flags, &st) == 0 &&
	    is_same(&st, &p->st))
		return PATH_SAME; /* also when its name really ends in " (deleted)" */
	if (p->fs_magic == PROC_SUPER_MAGIC && p->link[0] == '/' && task_sees(p->task, p->link, &p->st))
		return PATH_SAME; /* each pid namespace has a /proc of its own */
	if (!p->st.st_nlink || has_deleted_suffix(p->link))
		return PATH_DELETED;
	return PATH_OTHER;
}

void file_id_fill(Stasis__FileId *ret, const struct stat *st, char *path)
{
	stasis__file_id__init(ret);
	ret->path = path;
	ret->dev = st->st_dev;
	ret->ino = st->st_ino;
	ret->size = (uint64_t)st->st_size;
	ret->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	ret->mode = st->st_mode;
	ret->uid = st->st_uid;
	ret->gid = st->st_gid;
}

Stasis__FileId *file_id_make(struct fd_save *c, const struct fd_probe *p)
{
	Stasis__FileId *f = fd_save_alloc(c, sizeof(*f));
	char *path = fd_save_strdup(c, p->link);

	if (!f || !path)
		return NULL;
	file_id_fill(f, &p->st, path);
	return f;
}

/* A file or folder of /proc/PID. */
static bool is_of_process(const struct fd_probe *p)
{
	return p->fs_magic == PROC_SUPER_MAGIC && !strncmp(p->link, "/proc/", 6) &&
	       isdigit((unsigned char)p->link[6]);
}

int file_id_save(struct fd_save *c, const struct fd_probe *p, bool allow_deleted,
		 Stasis__FileId **ret, struct stasis_error *err)
{
	enum path_state state = file_path_state(p);
	Stasis__FileId *f = file_id_make(c, p);

	if (is_of_process(p))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.120s' tells of a process and is not supported yet; close it "
				   "before the checkpoint",
				   p->link);
	if (!f)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	if (state == PATH_OTHER)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.120s' leads to another file here (another mount namespace, or "
				   "mounted over); make it reachable by its path",
				   p->link);
	if (state == PATH_DELETED && !allow_deleted)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.120s' has no path any more; close it before the checkpoint",
				   p->link);
	f->deleted = state == PATH_DELETED;
	if (f->deleted && has_deleted_suffix(f->path))
		f->path[strlen(f->path) - (sizeof(deleted_suffix) - 1)] = '\0';
	*ret = f;
	return 0;
}

/* ---- restart ---- */

int file_id_check(const Stasis__FileId *f, struct stasis_error *err)
{
	if (!f)
		return stasis_fail(err, STASIS_E_CORRUPT, "record names no file");
	if (f->path[0] != '/' && !f->deleted)
		return stasis_fail(err, STASIS_E_CORRUPT, "path '%.100s' is not absolute", f->path);
	return 0;
}

int file_id_find(const Stasis__FileId *f, bool nofollow, struct stat *ret,
		 struct stasis_error *err)
{
	if (fstatat(AT_FDCWD, f->path, ret, nofollow ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", f->path);
	if ((ret->st_mode & S_IFMT) != (f->mode & S_IFMT))
		return stasis_fail(err, STASIS_E_GONE,
				   "'%.150s' is now of another file type (mode 0%o, was 0%o)",
				   f->path, ret->st_mode, f->mode);
	return 0;
}

int file_check_access(const char *path, uint32_t flags, struct stasis_error *err)
{
	static const int wanted[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};

	if (flags & O_PATH)
		return 0;
	if (faccessat(AT_FDCWD, path, wanted[flags & O_ACCMODE], AT_EACCESS) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s' for %s", path,
					 wanted[flags & O_ACCMODE] == R_OK ? "reading" : "writing");
	return 0;
}

/* O_NONBLOCK: whatever took the path's place since it was checked must not block us; the caller sets
 * the flag right afterwards. */
int file_reopen(const char *path, const Stasis__Description *d, struct stasis_error *err)
{
	uint32_t flags = file_open_flags(d->flags);
	int fd = open(path, (int)(flags | (flags & O_PATH ? 0 : O_NONBLOCK)));

	if (fd < 0 && errno == EPERM && (flags & O_NOATIME)) /* only for the file's owner */
		fd = open(path, (int)((flags & ~(uint32_t)O_NOATIME) | O_NONBLOCK));
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s'", path);
	return fd;
}

int file_seek(int fd, uint64_t pos, const char *path, struct stasis_error *err)
{
	if (!pos || lseek(fd, (off_t)pos, SEEK_SET) >= 0)
		return 0;
	return stasis_fail_errno(err, STASIS_E_IO, "lseek '%.150s'", path);
}

int fd_reopen(int fd, uint32_t flags)
{
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (int)(flags & ~(uint32_t)O_NOFOLLOW));
}

/* The guide: descriptors of unlinked folders point to unlinked ones in /tmp after a restart. */
int file_open_unlinked(mode_t type, const Stasis__Description *d, struct stasis_error *err)
{
	char dir[] = "/tmp/restartdirXXXXXX", name[sizeof(dir) + 8];
	int fd;

	if (!mkdtemp(dir))
		return stasis_fail_errno(err, STASIS_E_IO, "mkdir '%s'", dir);
	if (S_ISDIR(type)) {
		fd = file_reopen(dir, d, err);
	} else {
		(void)snprintf(name, sizeof(name), "%s/fifo", dir);
		fd = mkfifo(name, 0600) < 0 ? -1 : open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			(void)stasis_fail_errno(err, STASIS_E_IO, "fifo open '%s'", name);
		(void)unlink(name); /* it may not have been made */
	}
	(void)rmdir(dir); /* an empty folder that stays in /tmp harms nobody */
	return fd;
}
