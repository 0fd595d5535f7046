/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that are watched, as fdinfo names them and as records do. The search for their paths is in
 * watch_find.c.
 */
#include "resource/watch.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { MINOR_BITS = 20 }; /* of a dev_t inside the kernel, which fdinfo shows */

static int parse_handle(const char *line, struct watched *ret)
{
	const char *at = strstr(line, " fhandle-bytes:"), *hex;
	unsigned len;

	if (!at || at > strchrnul(line, '\n'))
		return 0; /* a file system without handles */
	hex = strstr(at, "f_handle:");
	if (!hex || sscanf(at, " fhandle-bytes:%x fhandle-type:%x", &len,
			   (unsigned *)&ret->handle_type) != 2 ||
	    len > WATCH_HANDLE_BYTES)
		return -1;
	hex += strlen("f_handle:");
	for (unsigned i = 0; i < len; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &ret->handle[i]) != 1)
			return -1;
	ret->handle_len = len;
	return 0;
}

dev_t watch_device(unsigned sdev)
{
	return makedev(sdev >> MINOR_BITS, sdev & ((1u << MINOR_BITS) - 1));
}

int watch_parse(const char *line, struct watched *ret)
{
	const char *at = strstr(line, " ino:");
	unsigned dev;

	memset(ret, 0, sizeof(*ret));
	if (!at || sscanf(at, " ino:%" SCNx64 " sdev:%x", &ret->ino, &dev) != 2)
		return -1;
	ret->dev = watch_device(dev);
	return parse_handle(line, ret);
}

const char *watch_line(const char *text, const char *from, const char *key)
{
	const char *line = from ? strchr(from, '\n') : text;
	size_t len = strlen(key);

	for (; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len))
			return line;
	}
	return NULL;
}

Stasis__WatchedFile *watch_record(struct fd_save *c, struct fd_desc *d, const struct watched *w)
{
	Stasis__WatchedFile *r = fd_save_alloc(c, sizeof(*r));
	struct stat st;

	if (!r)
		return NULL;
	stasis__watched_file__init(r);
	if (!w->path) {
		r->desc = fd_save_refer(c, d, w->desc);
		return r->desc ? r : NULL;
	}
	r->file = fd_save_alloc(c, sizeof(*r->file));
	if (!r->file)
		return NULL;
	if (task_stat_path(d->first->task, w->path, AT_SYMLINK_NOFOLLOW, &st) < 0)
		memset(&st, 0, sizeof(st)); /* gone since it was found: the restart will see */
	file_id_fill(r->file, &st, w->path);
	return r;
}

/* ---- restart ---- */

int watch_check(struct fd_load *c, const Stasis__Description *d, const Stasis__WatchedFile *f,
		struct stasis_error *err)
{
	bool is_referred = false;

	if (!f || !f->file == !f->desc)
		return stasis_fail(err, STASIS_E_CORRUPT, "watch of no file");
	if (f->file)
		return file_id_check(f->file, err);
	for (size_t i = 0; i < d->n_refers; i++)
		is_referred |= d->refers[i] == f->desc;
	if (!is_referred || !load_find_desc(c, f->desc))
		return stasis_fail(err, STASIS_E_CORRUPT, "watch of a description that is not there");
	return 0;
}

bool watch_target(struct fd_load *c, const Stasis__WatchedFile *f, char *buf)
{
	const struct load_desc *l;
	struct stat st;

	if (f->file) {
		(void)snprintf(buf, PATH_MAX, "%s", f->file->path);
		return file_id_find(f->file, true, &st, NULL) == 0;
	}
	l = load_find_desc(c, f->desc);
	(void)snprintf(buf, PATH_MAX, "/proc/self/fd/%d", l->fd);
	return load_is_kept(l);
}
