/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a tmpfs that goes away with the tree, as a pax archive: libarchive knows owners, times,
 * extended attributes, holes, devices and links. It is loaded when there is such a tmpfs, and not
 * before: it brings a dozen libraries along, which would take longer to load than a small process to
 * save, and every restarted process would have to get rid of them.
 */
#include "ns/ns_priv.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off */
#define CALLS(X)                                                                                  \
	X(archive_entry_filetype) X(archive_entry_free) X(archive_entry_linkify)                  \
	X(archive_entry_linkresolver_free) X(archive_entry_linkresolver_new)                      \
	X(archive_entry_linkresolver_set_strategy) X(archive_entry_new)                           \
	X(archive_entry_pathname) X(archive_entry_size) X(archive_error_string)                   \
	X(archive_format) X(archive_read_data_block) X(archive_read_disk_descend)                 \
	X(archive_read_disk_new) X(archive_read_disk_open) X(archive_read_disk_set_behavior)      \
	X(archive_read_disk_set_symlink_physical) X(archive_read_extract2) X(archive_read_free)   \
	X(archive_read_new) X(archive_read_next_header2) X(archive_read_open_fd)                  \
	X(archive_read_support_format_tar) X(archive_write_close) X(archive_write_data)           \
	X(archive_write_disk_new) X(archive_write_disk_set_options) X(archive_write_free)         \
	X(archive_write_header) X(archive_write_new) X(archive_write_open_fd)                     \
	X(archive_write_set_format_pax)
/* clang-format on */

/* The library: each of its functions that is used here, by its own name. */
struct ns_archive {
	void *handle;
#define FIELD(name) __typeof__(name) *name;
	CALLS(FIELD)
#undef FIELD
};

/* What one run of it holds. */
struct work {
	const struct ns_archive *lib;
	struct archive *from, *to;
	struct archive_entry *entry;
	struct archive_entry_linkresolver *links;
};

static void work_done(struct work *w)
{
	if (w->links)
		w->lib->archive_entry_linkresolver_free(w->links);
	w->lib->archive_entry_free(w->entry); /* NULL is fine, for all of them */
	(void)w->lib->archive_write_free(w->to);
	(void)w->lib->archive_read_free(w->from);
}

void ns_archive_close(struct ns_archive *lib)
{
	if (lib && lib->handle)
		(void)dlclose(lib->handle);
	free(lib);
}

static void ns_archive_closep(struct ns_archive **lib)
{
	ns_archive_close(*lib);
}

int ns_archive_open(struct ns_archive **lib, struct stasis_error *err)
{
	scoped(ns_archive_closep) struct ns_archive *l = NULL;
	bool is_complete = true;

	if (*lib)
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	l->handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the files of a tmpfs need libarchive; install the package "
				   "libarchive13 (%.100s)",
				   dlerror());
#define LOOK_UP(name)                                                                             \
	*(void **)&l->name = dlsym(l->handle, #name);                                             \
	is_complete = is_complete && l->name;
	CALLS(LOOK_UP)
#undef LOOK_UP
	if (!is_complete)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "libarchive.so.13 is not usable");
	*lib = ptr_take(&l);
	return 0;
}

static int archive_fail(const struct work *w, struct archive *a, const char *what,
			struct stasis_error *err)
{
	const char *why = w->lib->archive_error_string(a);

	return stasis_fail(err, STASIS_E_IO, "%s: %s", what, why ? why : "no memory");
}

static int entry_fail(const struct work *w, struct archive *a, struct stasis_error *err)
{
	return archive_fail(w, a, w->lib->archive_entry_pathname(w->entry), err);
}

/* Data comes in blocks with their places, so holes stay holes. */
static int copy_data(const struct work *w, struct stasis_error *err)
{
	const void *block;
	int64_t at = 0, offset;
	size_t len;
	int got;

	while ((got = w->lib->archive_read_data_block(w->from, &block, &len, &offset)) ==
	       ARCHIVE_OK) {
		static const char zeros[4096];

		for (; at < offset; at += (int64_t)sizeof(zeros))
			if (w->lib->archive_write_data(w->to, zeros,
						       (size_t)(offset - at) < sizeof(zeros)
							       ? (size_t)(offset - at)
							       : sizeof(zeros)) < 0)
				return entry_fail(w, w->to, err);
		if (w->lib->archive_write_data(w->to, block, len) < 0)
			return entry_fail(w, w->to, err);
		at = offset + (int64_t)len;
	}
	return got == ARCHIVE_EOF ? 0 : entry_fail(w, w->from, err);
}

static int copy_entries(struct work *w, struct stasis_error *err)
{
	struct archive_entry *deferred = NULL; /* other formats' matter: tar links to what was there */
	int got;

	w->lib->archive_entry_linkresolver_set_strategy(w->links, w->lib->archive_format(w->to));
	while ((got = w->lib->archive_read_next_header2(w->from, w->entry)) == ARCHIVE_OK) {
		(void)w->lib->archive_read_disk_descend(w->from);
		/* a socket is made anew by whoever had bound it */
		if (w->lib->archive_entry_filetype(w->entry) == AE_IFSOCK)
			continue;
		w->lib->archive_entry_linkify(w->links, &w->entry, &deferred);
		if (w->lib->archive_write_header(w->to, w->entry) != ARCHIVE_OK)
			return entry_fail(w, w->to, err);
		if (w->lib->archive_entry_size(w->entry) > 0 && copy_data(w, err) < 0)
			return -1;
	}
	return got == ARCHIVE_EOF ? 0 : archive_fail(w, w->from, "read the files of a tmpfs", err);
}

int ns_archive_write(const struct ns_archive *lib, int dirfd, int to_fd, struct stasis_error *err)
{
	scoped(work_done) struct work w = {
		.lib = lib,
		.from = lib->archive_read_disk_new(),
		.to = lib->archive_write_new(),
		.entry = lib->archive_entry_new(),
		.links = lib->archive_entry_linkresolver_new(),
	};

	if (!w.from || !w.to || !w.entry || !w.links)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	if (fchdir(dirfd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "enter a tmpfs");
	(void)lib->archive_read_disk_set_behavior(w.from, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
	(void)lib->archive_read_disk_set_symlink_physical(w.from);
	if (lib->archive_write_set_format_pax(w.to) != ARCHIVE_OK ||
	    lib->archive_write_open_fd(w.to, to_fd) != ARCHIVE_OK)
		return archive_fail(&w, w.to, "save the files of a tmpfs", err);
	if (lib->archive_read_disk_open(w.from, ".") != ARCHIVE_OK)
		return archive_fail(&w, w.from, "read the files of a tmpfs", err);
	if (copy_entries(&w, err) < 0)
		return -1;
	if (lib->archive_write_close(w.to) != ARCHIVE_OK)
		return archive_fail(&w, w.to, "save the files of a tmpfs", err);
	return 0;
}

/* The archive is from an image that is trusted, but nothing needs it to lead outside. */
int ns_archive_extract(const struct ns_archive *lib, int from_fd, int dirfd, struct stasis_error *err)
{
	const int flags = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
			  ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SPARSE |
			  ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
			  ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
	scoped(work_done) struct work w = {
		.lib = lib,
		.from = lib->archive_read_new(),
		.to = lib->archive_write_disk_new(),
		.entry = lib->archive_entry_new(),
	};
	int got;

	if (!w.from || !w.to || !w.entry)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	if (fchdir(dirfd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "enter a tmpfs");
	(void)lib->archive_write_disk_set_options(w.to, flags);
	if (lib->archive_read_support_format_tar(w.from) != ARCHIVE_OK ||
	    lib->archive_read_open_fd(w.from, from_fd, 1 << 16) != ARCHIVE_OK)
		return archive_fail(&w, w.from, "files of a tmpfs", err);
	while ((got = lib->archive_read_next_header2(w.from, w.entry)) == ARCHIVE_OK)
		if (lib->archive_read_extract2(w.from, w.entry, w.to) != ARCHIVE_OK)
			return entry_fail(&w, w.from, err);
	return got == ARCHIVE_EOF ? 0 : archive_fail(&w, w.from, "files of a tmpfs", err);
}
