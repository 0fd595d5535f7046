/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of Unix sockets. The name is what bind() was given; the socket file it made is an inode, which
 * may since have been deleted, moved, or hidden, and whose folder the kernel does not tell when the
 * name was relative: SIOCUNIXFILE (Linux 4.15, CAP_NET_ADMIN) leads to the file, else the name is tried.
 */
#include "resource/unix.h"

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static size_t name_len(const ProtobufCBinaryData *name)
{
	return strnlen((const char *)name->data, name->len);
}

const char *unix_name_text(const ProtobufCBinaryData *name, char *buf, size_t len)
{
	if (!name->len) {
		(void)snprintf(buf, len, "(no name)");
	} else if (name->data[0]) {
		(void)snprintf(buf, len, "%.*s", (int)name_len(name), (const char *)name->data);
	} else {
		(void)snprintf(buf, len, "@%.*s", (int)name->len - 1, (const char *)name->data + 1);
		for (char *p = buf; *p; p++)
			if (*p < ' ')
				*p = '.';
	}
	return buf;
}

/* The folder that the process takes for "/" or for ".". */
static int process_folder(const struct task *t, bool is_absolute, char *buf, size_t len)
{
	ssize_t n = readlinkat(t->procfd, is_absolute ? "root" : "cwd", buf, len - 1);

	if (n < 0)
		return -1;
	buf[n] = '\0';
	return 0;
}

static bool is_there(const char *path, const struct unix_info *info, struct stat *ret)
{
	return lstat(path, ret) == 0 && S_ISSOCK(ret->st_mode) &&
	       (uint32_t)ret->st_ino == info->file_ino;
}

static int fill(struct fd_save *c, Stasis__UnixSocket *r, const struct stat *st, const char *path,
		const char *folder, struct stasis_error *err)
{
	char *copy = fd_save_strdup(c, path), *folder_copy = fd_save_strdup(c, folder);

	r->file = fd_save_alloc(c, sizeof(*r->file));
	if (!copy || !folder_copy || !r->file)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's name");
	file_id_fill(r->file, st, copy);
	r->folder = folder_copy;
	return 0;
}

/* Where the kernel says the file is; *ret_path is empty when it has been deleted. */
static int ask_kernel(int fd, char *ret_path, size_t len, struct stat *ret)
{
	scoped_fd int file = ioctl(fd, SIOCUNIXFILE);
	char link[40];
	ssize_t n;

	if (file < 0 || fstat(file, ret) < 0)
		return -1;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	n = readlink(link, ret_path, len - 1);
	if (n < 0)
		return -1;
	ret_path[ret->st_nlink ? n : 0] = '\0';
	return 0;
}

/* The part of path before the name; false when path does not end in it. */
static bool take_folder(char *folder, size_t len, const char *path, const char *name)
{
	size_t path_len = strlen(path), end = strlen(name);

	if (path_len <= end || path_len - end >= len || strcmp(path + path_len - end, name) != 0)
		return false;
	if (name[0] != '/' && path[path_len - end - 1] != '/')
		return false;
	(void)snprintf(folder, len, "%.*s", (int)(path_len - end), path);
	return true;
}

/* The folder that t takes for "/" or for ".", or one above it (a process that was started in a folder
 * and went into one below). */
static bool try_folders(const struct task *t, const struct unix_info *info, const char *name,
			char *folder, size_t len, char *path, size_t path_len, struct stat *ret)
{
	char *slash;

	if (process_folder(t, name[0] == '/', folder, len) < 0)
		return false;
	for (;;) {
		(void)snprintf(path, path_len, "%s/%s", strcmp(folder, "/") ? folder : "", name);
		if (is_there(path, info, ret))
			return true;
		slash = strrchr(folder, '/');
		if (name[0] == '/' || !slash || !folder[1])
			return false;
		slash[slash == folder] = '\0';
	}
}

/*
 * A living file is bound again as it was: by its name from the folder that the process had then, its
 * own root when the name is absolute, its working directory (then, which may be another one now) when
 * it is relative.
 */
static int save_living(struct fd_save *c, const struct fd_probe *p, const struct unix_info *info,
		       const char *name, Stasis__UnixSocket *r, bool *ret_found,
		       struct stasis_error *err)
{
	char folder[4200], path[4400], where[4200];
	struct stat st;
	struct task *t;
	size_t i;

	*ret_found = true;
	if (name[0] == '/' && is_there(name, info, &st))
		return fill(c, r, &st, name, "", err);
	if (ask_kernel(p->local_fd, where, sizeof(where), &st) == 0) {
		*ret_found = *where;
		if (!*where)
			return 0;
		if (take_folder(folder, sizeof(folder), where, name) && is_there(where, info, &st))
			return fill(c, r, &st, where, folder, err);
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "socket file '%.80s' was moved to '%.80s'; bind it under its own "
				   "name",
				   name, where);
	}
	tree_for_each(p->task->tree, i, t)
		if (try_folders(t, info, name, folder, sizeof(folder), path, sizeof(path), &st))
			return fill(c, r, &st, path, folder, err);
	*ret_found = false;
	if (name[0] != '/')
		s_warn(c->s, "%s(%d) fd %d: file of socket '%s' is not found (its name is relative): "
			     "taken as deleted",
		       p->task->comm, p->task->pid, p->fd, name);
	return 0;
}

/* The name stays the socket's, but leads nowhere, or to another file. */
static int save_deleted(struct fd_save *c, const struct unix_info *info, const char *name,
			Stasis__UnixSocket *r, struct stasis_error *err)
{
	struct stat st = {.st_ino = info->file_ino, .st_mode = S_IFSOCK | 0755};

	if (fill(c, r, &st, name, "", err) < 0)
		return -1;
	r->file->deleted = true;
	return 0;
}

int unix_name_save(struct fd_save *c, const struct fd_probe *p, const struct unix_info *info,
		   Stasis__UnixSocket *r, struct stasis_error *err)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	char name[UNIX_NAME_MAX + 1] = "";
	bool found;

	if (getsockname(p->local_fd, (struct sockaddr *)&a, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getsockname");
	r->name.len = len > sizeof(sa_family_t) ? len - sizeof(sa_family_t) : 0;
	if (r->name.len > UNIX_NAME_MAX) /* one that fills sun_path gets a NUL behind it */
		r->name.len = UNIX_NAME_MAX;
	r->name.data = arena_memdup(&c->arena, a.sun_path, r->name.len);
	if (!r->name.data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's name");
	/* an accepted socket has the listener's name, and no file of its own */
	if (!r->name.len || !r->name.data[0] || !info->has_file)
		return 0;
	memcpy(name, r->name.data, name_len(&r->name));
	if (save_living(c, p, info, name, r, &found, err) < 0 || found)
		return found ? 0 : -1;
	return save_deleted(c, info, name, r, err);
}
