/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restart: the CONVEX front end of stasis_restore(). This file orders the steps: check the file,
 * let the user choose, restore, then follow the restarted root or leave it.
 */
#include "cmds/restart_priv.h"
#include "cmds/show.h"
#include "lib/scoped.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The user left the dialogue: nothing was restarted, and a script must be able to tell. */
#define EXIT_QUIT 1

static void tree_info_freep(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

/* Must come before this process opens anything itself. */
static void warn_inherited_fds(const struct cmd_log *log)
{
	scoped_dir DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int fd;

	while (dir && (entry = readdir(dir))) {
		if (cmd_parse_int(entry->d_name, &fd) && fd > STDERR_FILENO && fd != dirfd(dir))
			cmd_warn(log, "warning: inherited open file descriptor %d", fd);
	}
}

/* The folder of a checkpoint file first: its message says which part of the path is wrong. */
static int check_folder(const char *file, struct stasis_error *err)
{
	const char *slash = strrchr(file, '/');
	scoped_free char *dir = NULL;
	struct stat st;
	int rc;

	if (!slash)
		return 0;
	dir = strndup(file, slash == file ? 1 : (size_t)(slash - file));
	if (!dir)
		return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	rc = stat(dir, &st);
	if (rc < 0 && errno != ENOTDIR)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", file);
	if (rc < 0 || !S_ISDIR(st.st_mode))
		return stasis_fail(err, STASIS_E_GONE, "%s: not a directory", dir);
	return 0;
}

/* The library checks all of it; this tells a wrong argument from a damaged image. */
static int check_file(const char *file, struct stasis_error *err)
{
	scoped_fd int fd = -1;
	unsigned char ident[EI_NIDENT];

	if (check_folder(file, err) < 0)
		return -1;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s: open failed", file);
	if (pread(fd, ident, sizeof(ident), 0) != (ssize_t)sizeof(ident) ||
	    memcmp(ident, ELFMAG, SELFMAG) != 0)
		return stasis_fail(err, STASIS_E_CORRUPT, "%s: not checkpoint file format", file);
	return 0;
}

static unsigned restore_flags(const struct restart_opts *o)
{
	return (o->is_forced ? STASIS_RESTORE_FORCE : 0u) |
	       (o->is_copying_back ? STASIS_RESTORE_COPY_BACK : 0u) |
	       (o->keeps_monotonic ? STASIS_RESTORE_KEEP_MONOTONIC : 0u) |
	       (o->is_rolling_back ? STASIS_RESTORE_ROLLBACK_FILES : 0u) |
	       (o->is_stopped ? STASIS_RESTORE_STOPPED : 0u) |
	       (o->ignores_changes ? STASIS_RESTORE_QUIET_FILES : 0u) |
	       (o->is_traced ? STASIS_RESTORE_TRACED : 0u);
}

static void fill_restore_opts(struct restart_opts *o, struct stasis_restore_opts *ret)
{
	*ret = (struct stasis_restore_opts){
		.dirfd = AT_FDCWD,
		.name = o->file,
		.flags = restore_flags(o),
		.cgroup = o->cgroup,
		.cgroup_path = o->cgroup_path,
		.signal_root = o->signal_root,
		.signal_all = o->signal_all,
		.log = cmd_log_line,
		.log_arg = &o->log,
		.log_level = cmd_log_level(&o->log),
	};
}

static int restore(const struct restart_opts *o, const struct stasis_restore_opts *restore_opts)
{
	struct stasis_restored restored;
	struct stasis_error err;

	if (o->is_waiting)
		restart_hold_signals();
	fflush(NULL); /* else children could write our buffers a second time */
	if (stasis_restore(restore_opts, &restored, &err) < 0)
		return cmd_report(&err);
	if (o->log.is_verbose)
		cmd_message("%s: restarted %zu process%s, root pid %d", o->file, restored.nr_procs,
			    restored.nr_procs == 1 ? "" : "es", restored.root);
	if (o->is_waiting)
		return restart_follow(&restored, NULL);
	scoped_close_fd(&restored.status_fd); /* tells that nobody waits */
	printf("%d\n", restored.root);
	return 0;
}

/* The way through with a look at the image: -i and -v. */
static int run_with_choices(const struct restart_opts *o, struct stasis_restore_opts *restore_opts)
{
	scoped(tree_info_freep) struct stasis_tree_info *info = NULL;
	scoped(selection_freep) struct selection *sel = NULL;
	struct stasis_error err;

	if (stasis_image_inspect(AT_FDCWD, o->file, &info, &err) < 0)
		return cmd_report(&err);
	sel = selection_create(info, false, &err);
	if (!sel)
		return cmd_report(&err);
	if (!o->is_interactive)
		show_tree(stderr, info); /* stdout belongs to the restarted program */
	else if (restart_interactive(sel) == DIALOG_QUIT)
		return EXIT_QUIT;
	if (selection_finish(sel, &err) < 0)
		return cmd_report(&err);
	restore_opts->choices = sel->choices;
	restore_opts->nr_choices = sel->nr_choices;
	restore_opts->skip_pids = sel->skip_pids;
	restore_opts->nr_skip_pids = sel->nr_skip_pids;
	return restore(o, restore_opts);
}

static int run(struct restart_opts *o)
{
	struct stasis_restore_opts restore_opts;
	struct stasis_error err;

	warn_inherited_fds(&o->log);
	if (check_file(o->file, &err) < 0)
		return cmd_report(&err);
	fill_restore_opts(o, &restore_opts);
	if (o->is_interactive || o->log.is_verbose)
		return run_with_choices(o, &restore_opts);
	return restore(o, &restore_opts);
}

int main(int argc, char **argv)
{
	struct restart_opts opts;
	int status;

	cmd_init(argv);
	status = restart_opts_parse(argc, argv, &opts);
	if (status >= 0)
		return status;
	return cmd_finish(run(&opts));
}
