/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which folder and file name -d and -f mean together, and that nothing there is in the way. */
#include "cmds/chkpnt_priv.h"

#include "lib/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Split "dir/name"; *ret_dir is malloc()ed, or NULL without a slash. The name points into path. */
static int split_path(const char *path, char **ret_dir, const char **ret_name,
		      struct stasis_error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *dir = NULL;

	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return stasis_fail(err, STASIS_E_USAGE, "checkpoint file path \"%s\" names no file",
				   path);
	if (slash) {
		dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
		if (!dir)
			return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	}
	*ret_dir = dir;
	*ret_name = name;
	return 0;
}

static bool is_same_dir(const char *a, const char *b)
{
	scoped_free char *real_a = realpath(a, NULL);
	scoped_free char *real_b = realpath(b, NULL);

	return real_a && real_b && strcmp(real_a, real_b) == 0;
}

/* The directory of -d, of -f, or of both when they agree. */
static int choose_dir(const struct chkpnt_opts *opts, char *file_dir, char **ret,
		      struct stasis_error *err)
{
	char *dir;

	if (opts->dir && file_dir && !is_same_dir(opts->dir, file_dir))
		return stasis_fail(err, STASIS_E_USAGE,
				   "checkpoint directory \"%s\" conflicts with checkpoint file "
				   "path \"%s\"",
				   opts->dir, opts->file);
	dir = strdup(opts->dir ? opts->dir : file_dir ? file_dir : ".");
	if (!dir)
		return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	*ret = dir;
	return 0;
}

static int check_length(const struct chkpnt_place *place, struct stasis_error *err)
{
	size_t name_len = place->name ? strlen(place->name) : 0;

	if (strlen(place->dir) + 1 + name_len > PATH_MAX - 1)
		return stasis_fail(err, STASIS_E_USAGE, "checkpoint file path exceeds max of %d",
				   PATH_MAX - 1);
	if (name_len > NAME_MAX)
		return stasis_fail(err, STASIS_E_USAGE, "checkpoint file name exceeds max of %d",
				   NAME_MAX);
	return 0;
}

/* Early, so that nobody answers a long dialogue in vain; the library refuses again, without a race.
 */
static int check_no_file(const struct chkpnt_opts *opts, const struct chkpnt_place *place,
			 struct stasis_error *err)
{
	struct stat st;

	if (opts->is_forced || opts->is_check_only || !place->name ||
	    fstatat(place->dirfd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (opts->dir)
		return stasis_fail(err, STASIS_E_BUSY, "%s/%s: file exists", place->dir,
				   place->name);
	return stasis_fail(err, STASIS_E_BUSY, "%s: file exists", opts->file);
}

static int fill_place(const struct chkpnt_opts *opts, struct chkpnt_place *place,
		      struct stasis_error *err)
{
	scoped_free char *file_dir = NULL;
	struct stat st;

	if (opts->dir && stat(opts->dir, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", opts->dir);
	if (opts->file && split_path(opts->file, &file_dir, &place->name, err) < 0)
		return -1;
	if (choose_dir(opts, file_dir, &place->dir, err) < 0)
		return -1;
	if (check_length(place, err) < 0)
		return -1;
	place->dirfd = open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place->dirfd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", place->dir);
	return check_no_file(opts, place, err);
}

int chkpnt_place_open(const struct chkpnt_opts *opts, struct chkpnt_place *ret,
		      struct stasis_error *err)
{
	struct chkpnt_place place = {.dirfd = -1};

	if (fill_place(opts, &place, err) < 0) {
		chkpnt_place_close(&place);
		return -1;
	}
	*ret = place;
	return 0;
}

void chkpnt_place_close(struct chkpnt_place *place)
{
	scoped_close_fd(&place->dirfd);
	free(place->dir);
}
