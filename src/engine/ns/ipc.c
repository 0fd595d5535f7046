/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * IPC namespaces: made again empty. What lives in one, System V objects and POSIX message queues, belongs to
 * the namespace and would be gone without a word, so it is an obstacle.
 */
#include "ns/ns_priv.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>

/* Each has a headline; the files show the namespace of whoever opens them (proc(5)). */
static const struct {
	const char *path, *what;
} tables[] = {
	{"/proc/sysvipc/shm", "a System V shared memory segment"},
	{"/proc/sysvipc/sem", "a System V semaphore set"},
	{"/proc/sysvipc/msg", "a System V message queue"},
};

/* Found in it, in memory shared with the process that looks; "" for nothing. */
struct found {
	char what[64];
};

static bool has_lines(const char *path)
{
	scoped_file FILE *f = fopen(path, "re");
	char line[512];
	int nr = 0;

	while (f && nr < 2 && fgets(line, sizeof(line), f))
		nr++;
	return nr > 1;
}

/* A mount of our own shows the queues of the namespace we are in, whether the tree has one or not. */
static int look_for_queues(struct found *f, struct stasis_error *err)
{
	scoped_dir DIR *dir = NULL;
	struct dirent *entry;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("mqueue", "/tmp", "mqueue", MS_NOSUID, NULL) < 0)
		return errno == ENODEV ? 0 /* a kernel without them */
				       : stasis_fail_errno(err, STASIS_E_IO, "look for message queues");
	dir = opendir("/tmp");
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)snprintf(f->what, sizeof(f->what), "the POSIX message queue '/%.30s'",
				       entry->d_name);
	return 0;
}

static int look(void *arg, struct stasis_error *err)
{
	struct found *f = arg;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (has_lines(tables[i].path))
			(void)snprintf(f->what, sizeof(f->what), "%s", tables[i].what);
	return f->what[0] ? 0 : look_for_queues(f, err);
}

int ns_save_ipc(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	struct found *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1, 0);
	int result;

	if (f == MAP_FAILED)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
	result = ns_run_inside(e->first, "ipc", look, f, err);
	if (result == 0 && f->what[0])
		ns_save_report(n, e->first,
			       "has %s in an IPC namespace of its own, which is not supported yet; remove "
			       "it (ipcrm, mq_unlink) before the checkpoint",
			       f->what);
	(void)munmap(f, sizeof(*f));
	return result;
}
