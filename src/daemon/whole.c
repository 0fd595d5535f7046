/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A look into images that a user may have written himself: not with root's rights. */
#include "daemon/whole.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <stasis/stasis.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_image(const char *name)
{
	const char *end = strstr(name, ".ckpt");

	return *name != '.' && end && !end[5];
}

/* A script's steps are in folders beside its image; there is nothing below those. */
static bool is_step(const char *name)
{
	return strncmp(name, "step.", 5) == 0;
}

static bool check(int folder_fd, const char *name, int depth)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	scoped_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	bool has_image = false;

	while (dir && (e = readdir(dir))) {
		struct stasis_tree_info *info;

		if (depth > 0 && is_step(e->d_name) && !check(fd, e->d_name, depth - 1))
			return false;
		if (!is_image(e->d_name))
			continue;
		if (stasis_image_inspect(fd, e->d_name, &info, NULL) < 0)
			return false;
		stasis_tree_info_free(info);
		has_image = true;
	}
	return has_image;
}

/* The ids of file access become all ids. */
static bool become_user(void)
{
	uid_t uid = (uid_t)setfsuid((uid_t)-1);
	gid_t gid = (gid_t)setfsgid((gid_t)-1);

	return setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

bool whole_check(int folder_fd, const char *name)
{
	pid_t pid = fork();
	int status = 1;

	if (pid == 0)
		_exit(become_user() && check(folder_fd, name, 1) ? 0 : 1);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && status == 0;
}
