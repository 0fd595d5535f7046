/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX message queues of an IPC namespace of the tree's own: one that no process has open would be gone without
 * a word, so it is an obstacle.
 */
#include "ipc/ipc_priv.h"

#include "lib/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>

struct found {
	const struct tree *tree;
	char name[32];
};

static bool is_open_in(const struct tree *tree, const struct stat *queue)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->state != TASK_ZOMBIE && proc_has_open(t->procfd, queue))
			return true;
	return false;
}

/* A mount of our own shows the queues of the namespace we are in, whether the tree has one or not. */
static int look(void *arg, struct stasis_error *err)
{
	struct found *f = arg;
	scoped_dir DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("mqueue", "/tmp", "mqueue", MS_NOSUID, NULL) < 0)
		return errno == ENODEV ? 0 /* a kernel without them */
				       : stasis_fail_errno(err, STASIS_E_IO, "look for message queues");
	dir = opendir("/tmp");
	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_open_in(f->tree, &st))
			(void)snprintf(f->name, sizeof(f->name), "%.30s", entry->d_name);
	return 0;
}

int ipc_check_queues(struct ipc_save *i, const struct ipc_space *sp, struct stasis_error *err)
{
	struct found *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char text[240];
	int result;

	if (f == MAP_FAILED)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for message queues");
	f->tree = i->tree;
	result = ns_run_inside(sp->first, "ipc", look, f, err);
	if (result == 0 && f->name[0]) {
		(void)snprintf(text, sizeof(text),
			       "has the POSIX message queue '/%s' in an IPC namespace of its own, which is not "
			       "supported yet; remove it (mq_unlink) before the checkpoint",
			       f->name);
		i->obstacle(i->obstacle_arg, sp->first, text);
	}
	(void)munmap(f, sizeof(*f));
	return result;
}
