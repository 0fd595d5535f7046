/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a tmpfs that goes away with the tree, as a pax archive: libarchive knows owners, times,
 * extended attributes, holes, devices and links.
 */
#include "ns/ns_priv.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int archive_fail(struct archive *a, const char *what, struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_IO, "%s: %s", what,
			   archive_error_string(a) ? archive_error_string(a) : "no memory");
}

static void read_freep(struct archive **a)
{
	(void)archive_read_free(*a); /* NULL is fine */
}

static void write_freep(struct archive **a)
{
	(void)archive_write_free(*a);
}

static void entry_freep(struct archive_entry **e)
{
	archive_entry_free(*e);
}

static void links_freep(struct archive_entry_linkresolver **l)
{
	if (*l)
		archive_entry_linkresolver_free(*l);
}

/* Data comes in blocks with their places, so holes stay holes. */
static int copy_data(struct archive *from, struct archive *to, struct archive_entry *entry,
		     struct stasis_error *err)
{
	const void *block;
	int64_t at = 0, offset;
	size_t len;
	int got;

	while ((got = archive_read_data_block(from, &block, &len, &offset)) == ARCHIVE_OK) {
		static const char zeros[4096];

		for (; at < offset; at += (int64_t)sizeof(zeros))
			if (archive_write_data(to, zeros, (size_t)(offset - at) < sizeof(zeros)
								  ? (size_t)(offset - at)
								  : sizeof(zeros)) < 0)
				return archive_fail(to, archive_entry_pathname(entry), err);
		if (archive_write_data(to, block, len) < 0)
			return archive_fail(to, archive_entry_pathname(entry), err);
		at = offset + (int64_t)len;
	}
	return got == ARCHIVE_EOF ? 0 : archive_fail(from, archive_entry_pathname(entry), err);
}

static int copy_entries(struct archive *from, struct archive *to, struct stasis_error *err)
{
	scoped(entry_freep) struct archive_entry *entry = archive_entry_new();
	scoped(links_freep) struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	struct archive_entry *deferred = NULL; /* other formats' matter: tar links to what was there */
	int got;

	if (!entry || !links)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	archive_entry_linkresolver_set_strategy(links, archive_format(to));
	while ((got = archive_read_next_header2(from, entry)) == ARCHIVE_OK) {
		(void)archive_read_disk_descend(from);
		/* a socket is made anew by whoever had bound it */
		if (archive_entry_filetype(entry) == AE_IFSOCK)
			continue;
		archive_entry_linkify(links, &entry, &deferred);
		if (archive_write_header(to, entry) != ARCHIVE_OK)
			return archive_fail(to, archive_entry_pathname(entry), err);
		if (archive_entry_size(entry) > 0 && copy_data(from, to, entry, err) < 0)
			return -1;
	}
	return got == ARCHIVE_EOF ? 0 : archive_fail(from, "read the files of a tmpfs", err);
}

int ns_archive_write(int dirfd, int to_fd, struct stasis_error *err)
{
	scoped(read_freep) struct archive *from = archive_read_disk_new();
	scoped(write_freep) struct archive *to = archive_write_new();

	if (!from || !to)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	if (fchdir(dirfd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "enter a tmpfs");
	(void)archive_read_disk_set_behavior(from, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
	(void)archive_read_disk_set_symlink_physical(from);
	if (archive_write_set_format_pax(to) != ARCHIVE_OK ||
	    archive_write_open_fd(to, to_fd) != ARCHIVE_OK)
		return archive_fail(to, "save the files of a tmpfs", err);
	if (archive_read_disk_open(from, ".") != ARCHIVE_OK)
		return archive_fail(from, "read the files of a tmpfs", err);
	if (copy_entries(from, to, err) < 0)
		return -1;
	if (archive_write_close(to) != ARCHIVE_OK)
		return archive_fail(to, "save the files of a tmpfs", err);
	return 0;
}

/* The archive is from an image that is trusted, but nothing needs it to lead outside. */
int ns_archive_extract(int from_fd, int dirfd, struct stasis_error *err)
{
	const int flags = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
			  ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SPARSE |
			  ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
			  ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
	scoped(read_freep) struct archive *from = archive_read_new();
	scoped(write_freep) struct archive *to = archive_write_disk_new();
	scoped(entry_freep) struct archive_entry *entry = archive_entry_new();
	int got;

	if (!from || !to || !entry)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for files");
	if (fchdir(dirfd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "enter a tmpfs");
	(void)archive_write_disk_set_options(to, flags);
	if (archive_read_support_format_tar(from) != ARCHIVE_OK ||
	    archive_read_open_fd(from, from_fd, 1 << 16) != ARCHIVE_OK)
		return archive_fail(from, "files of a tmpfs", err);
	while ((got = archive_read_next_header2(from, entry)) == ARCHIVE_OK)
		if (archive_read_extract2(from, entry, to) != ARCHIVE_OK)
			return archive_fail(from, archive_entry_pathname(entry), err);
	return got == ARCHIVE_EOF ? 0 : archive_fail(from, "files of a tmpfs", err);
}
