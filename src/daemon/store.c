/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders and names of images, and the one rename() that makes a checkpoint of many nodes be or not be. */
#include "daemon/store.h"

#include "daemon/whole.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

enum { DRAFT_MAX_AGE_S = 86400 };

int store_name(const char *image_dir, uint32_t job, uint32_t step, struct store *ret,
	       struct stasis_error *err)
{
	int n;

	if (*image_dir != '/')
		return stasis_fail(err, STASIS_E_USAGE, "image directory '%.100s' is not an absolute path",
				   image_dir);
	if (step_is_job(step))
		n = snprintf(ret->folder, sizeof(ret->folder), "%s/%u", image_dir, job);
	else
		n = snprintf(ret->folder, sizeof(ret->folder), "%s/%u.%u", image_dir, job, step);
	if (n < 0 || (size_t)n >= sizeof(ret->folder))
		return stasis_fail(err, STASIS_E_USAGE, "image directory is too long a path");
	return 0;
}

/* mkdir -p; what is there may be anything that leads to a folder. */
static int make_path(const char *path, struct stasis_error *err)
{
	scoped_free char *copy = strdup(path);

	if (!copy)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	for (char *p = copy + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return stasis_fail_errno(err, STASIS_E_IO, "make '%.150s'", copy);
		*p = c;
		if (c == '\0')
			return 0;
	}
}

static int open_folder(const struct store *s, struct stasis_error *err)
{
	int fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s'", s->folder);
	return fd;
}

/* The newest checkpoint with a lower number than `before`; 0 when there is none. */
static unsigned newest_before(int folder_fd, unsigned before)
{
	scoped_dir DIR *dir = NULL;
	const struct dirent *e;
	unsigned newest = 0;
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd >= 0 ? fdopendir(fd) : NULL;
	while (dir && (e = readdir(dir)))
		if (generation_of(e->d_name) > newest && generation_of(e->d_name) < before)
			newest = generation_of(e->d_name);
	return newest;
}

int store_begin(struct store *s, struct stasis_error *err)
{
	scoped_fd int fd = -1;
	uint64_t id;

	if (make_path(s->folder, err) < 0)
		return -1;
	fd = open_folder(s, err);
	if (fd < 0)
		return -1;
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return stasis_fail_errno(err, STASIS_E_IO, "random bytes");
	(void)snprintf(s->draft, sizeof(s->draft), ".draft-%016llx", (unsigned long long)id);
	(void)snprintf(s->aborted, sizeof(s->aborted), ".aborted-%016llx", (unsigned long long)id);
	(void)snprintf(s->final, sizeof(s->final), "gen.%u", newest_before(fd, -1u) + 1);
	if (mkdirat(fd, s->draft, 0700) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make a folder in '%.150s'", s->folder);
	return 0;
}

int store_make_sub(const struct store *s, const char *sub, struct stasis_error *err)
{
	scoped_fd int draft = store_open_draft(s, err);

	if (draft < 0)
		return -1;
	if (mkdirat(draft, sub, 0700) < 0 || fsync(draft) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make a folder in '%.150s'", s->folder);
	return 0;
}

static bool is_sub(const char *sub)
{
	unsigned step;
	int end = 0;

	return !*sub || (sscanf(sub, "step.%10u%n", &step, &end) == 1 && !sub[end]);
}

int store_join(const char *folder, const char *draft, const char *final, const char *sub,
	       struct store *ret, struct stasis_error *err)
{
	unsigned long long id;
	int end = 0;

	if (*folder != '/' || strlen(folder) >= sizeof(ret->folder) || !generation_of(final) ||
	    strlen(final) >= sizeof(ret->final) || !is_sub(sub) || strlen(sub) >= sizeof(ret->sub) ||
	    sscanf(draft, ".draft-%16llx%n", &id, &end) != 1 || draft[end])
		return stasis_fail(err, STASIS_E_USAGE, "'%.60s' is no draft of a checkpoint", draft);
	(void)strcpy(ret->folder, folder); /* all of them fit, see above */
	(void)strcpy(ret->final, final);
	(void)strcpy(ret->sub, sub);
	(void)snprintf(ret->draft, sizeof(ret->draft), ".draft-%016llx", id);
	(void)snprintf(ret->aborted, sizeof(ret->aborted), ".aborted-%016llx", id);
	return 0;
}

int store_open_draft(const struct store *s, struct stasis_error *err)
{
	scoped_fd int folder = open_folder(s, err);
	int fd;

	if (folder < 0)
		return -1;
	fd = openat(folder, s->draft, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && *s->sub) {
		int sub = openat(fd, s->sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		scoped_close_fd(&fd);
		fd = sub;
	}
	if (fd < 0 && errno == ENOENT)
		return stasis_fail(err, STASIS_E_GONE,
				   "'%.150s' is not the same folder on all nodes, or the checkpoint was "
				   "given up", s->folder);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the draft in '%.150s'", s->folder);
	return fd;
}

int store_commit(const struct store *s, struct stasis_error *err)
{
	scoped_fd int fd = open_folder(s, err);

	if (fd < 0)
		return -1;
	if (renameat2(fd, s->draft, fd, s->final, RENAME_NOREPLACE) < 0 &&
	    (errno != EINVAL || renameat(fd, s->draft, fd, s->final) < 0))
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s': commit", s->folder);
	(void)fsync(fd); /* the rename is the decision; the disk learns of it soon in any case */
	return 0;
}

enum store_outcome store_abort(const struct store *s)
{
	scoped_fd int fd = open_folder(s, NULL);
	struct stat st;

	if (fd < 0 || renameat(fd, s->draft, fd, s->aborted) == 0)
		return STORE_ABORTED;
	if (fstatat(fd, s->aborted, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return STORE_ABORTED;
	return fstatat(fd, s->final, &st, AT_SYMLINK_NOFOLLOW) == 0 ? STORE_COMMITTED : STORE_ABORTED;
}

bool store_is_decided(const struct store *s)
{
	scoped_fd int fd = open_folder(s, NULL);
	struct stat st;

	return fd >= 0 && fstatat(fd, s->draft, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* A folder of plain files, and, for that many levels below, of such folders. */
static void remove_folder(int folder, const char *name, int levels)
{
	int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	scoped_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		/* what stays keeps the folder */
		if (unlinkat(fd, e->d_name, 0) < 0 && levels)
			remove_folder(fd, e->d_name, levels - 1);
	}
	(void)unlinkat(folder, name, AT_REMOVEDIR);
}

void store_remove_aborted(const struct store *s)
{
	scoped_fd int fd = open_folder(s, NULL);

	if (fd >= 0)
		remove_folder(fd, s->aborted, 1);
}

static bool is_stale(int folder, const char *name, time_t age_s)
{
	struct stat st;

	if (strncmp(name, ".draft-", 7) != 0 && strncmp(name, ".aborted-", 9) != 0)
		return false;
	return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + age_s <= time(NULL);
}

/* The oldest checkpoint that is to stay: with it there are `keep` that are whole. 0: there are not so many. */
static unsigned oldest_to_keep(int folder, unsigned keep)
{
	unsigned n = -1u, nr_whole = 0;
	char name[32];

	while ((n = newest_before(folder, n))) {
		(void)snprintf(name, sizeof(name), "gen.%u", n);
		nr_whole += whole_check(folder, name);
		if (nr_whole == keep)
			return n;
	}
	return 0;
}

/* Checkpoints before that one, and drafts of that age. */
static void remove_before(int folder, unsigned oldest, time_t draft_age_s)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		unsigned n = generation_of(e->d_name);

		if ((n && n < oldest) || is_stale(folder, e->d_name, draft_age_s))
			remove_folder(folder, e->d_name, 1);
	}
}

void store_prune(const struct store *s, unsigned keep)
{
	scoped_fd int fd = open_folder(s, NULL);

	if (fd >= 0)
		remove_before(fd, oldest_to_keep(fd, keep), DRAFT_MAX_AGE_S);
}

/* Of a link that a job would follow. */
static void remove_link(const char *own_dir, uint32_t job, const char *folder)
{
	char link[PATH_MAX + 16], to[PATH_MAX];
	ssize_t len;

	(void)snprintf(link, sizeof(link), "%.*s/%u.restart", PATH_MAX - 24, own_dir, job);
	len = readlink(link, to, sizeof(to) - 1);
	if (len < 0)
		return;
	to[len] = '\0';
	if (strcmp(to, folder) == 0)
		(void)unlink(link);
}

int store_remove_all(const char *generation, const char *own_dir, uint32_t job, struct stasis_error *err)
{
	struct store s = {.sub = ""};
	const char *slash = strrchr(generation, '/');
	scoped_fd int fd = -1;

	if (!slash || slash == generation || !generation_of(slash + 1))
		return stasis_fail(err, STASIS_E_USAGE, "'%.150s' is no checkpoint", generation);
	(void)snprintf(s.folder, sizeof(s.folder), "%.*s", (int)(slash - generation), generation);
	fd = open_folder(&s, err);
	if (fd < 0)
		return -1;
	remove_before(fd, -1u, 0);
	if (rmdir(s.folder) < 0 && errno != ENOTEMPTY && errno != EEXIST) /* a file of the user's may be there */
		return stasis_fail_errno(err, STASIS_E_IO, "remove '%.150s'", s.folder);
	remove_link(own_dir, job, s.folder);
	return 0;
}

int store_point(const struct store *s, const char *own_dir, uint32_t job, struct stasis_error *err)
{
	char own[PATH_MAX], link[PATH_MAX + 16], draft[PATH_MAX + 32];

	(void)snprintf(own, sizeof(own), "%.*s/%u", PATH_MAX - 16, own_dir, job);
	(void)snprintf(link, sizeof(link), "%s.restart", own);
	(void)snprintf(draft, sizeof(draft), "%s.new", link);
	if (strcmp(own, s->folder) == 0)
		return unlink(link) == 0 || errno == ENOENT
			       ? 0 : stasis_fail_errno(err, STASIS_E_IO, "remove '%.150s'", link);
	if (make_path(own_dir, err) < 0)
		return -1;
	(void)unlink(draft);
	if (symlink(s->folder, draft) < 0 || rename(draft, link) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make '%.150s'", link);
	return 0;
}
