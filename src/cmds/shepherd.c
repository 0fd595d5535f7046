/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stasis-shepherd: what a task of Slurm becomes when it is restarted. It stays slurmstepd's child, restores the
 * tree below itself, with its own 0, 1 and 2 in the place of those that led to the old slurmstepd, passes
 * signals on, and ends as the root ends. It has the job user's rights and no others.
 *
 * A batch script that wants to be warned has one from the start: shepherd_run.c.
 *
 * The newest checkpoint is taken; when that one is damaged or incomplete, the one before.
 */
#include "cmds/shepherd_priv.h"
#include "cmds/shepherd_steps.h"
#include "lib/scoped.h"
#include "wire/codes.h"
#include "wire/shepherd.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TRIES = 1000 };

struct shepherd {
	const char *folder, *image, *script;
	struct cmd_log log;
	bool is_final; /* the last failure: an older checkpoint is no way out */
};

static void tree_info_freep(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

/* The newest one that is older than `before`; 0 when there is none. */
static unsigned newest_before(const char *folder, unsigned before)
{
	scoped_dir DIR *dir = opendir(folder);
	const struct dirent *e;
	unsigned newest = 0;

	while (dir && (e = readdir(dir))) {
		unsigned n = generation_of(e->d_name);

		if (n < before && n > newest)
			newest = n;
	}
	return newest;
}

/* Slurm copies the script of a batch job to a place of its own on each node; a shell has that file open. */
static bool is_script(const struct stasis_fd_info *fd)
{
	const char *slash = fd->path ? strrchr(fd->path, '/') : NULL;

	return fd->is_regular && slash && strcmp(slash, "/slurm_script") == 0;
}

static size_t choose_script(const struct shepherd *s, const struct stasis_tree_info *info,
			    struct stasis_fd_choice *choices, size_t room)
{
	size_t nr = 0;

	for (size_t i = 0; s->script && i < info->nr_procs; i++)
		for (size_t k = 0; k < info->procs[i].nr_fds && nr < room; k++)
			if (is_script(&info->procs[i].fds[k]))
				choices[nr++] = (struct stasis_fd_choice){
					.pid = info->procs[i].pid,
					.fd = info->procs[i].fds[k].fd,
					.action = STASIS_FD_MODIFY,
					.path = s->script,
				};
	return nr;
}

static int restore_from(struct shepherd *s, const char *path, struct stasis_restored *ret,
			struct stasis_error *err)
{
	scoped(tree_info_freep) struct stasis_tree_info *info = NULL;
	scoped(step_plan_done) struct step_plan steps = {.nr = 0};
	struct stasis_fd_choice choices[256];
	struct stasis_restore_opts opts = {
		.dirfd = AT_FDCWD,
		.name = path,
		.flags = STASIS_RESTORE_ROLLBACK_FILES | STASIS_RESTORE_QUIET_FILES,
		.choices = choices,
		.log = cmd_log_line,
		.log_arg = &s->log,
		.log_level = cmd_log_level(&s->log),
	};

	if (stasis_image_inspect(AT_FDCWD, path, &info, err) < 0 ||
	    step_plan_make(path, info, &steps, err) < 0)
		return -1;
	opts.stand_ins = steps.list;
	opts.nr_stand_ins = steps.nr;
	opts.nr_choices = choose_script(s, info, choices, sizeof(choices) / sizeof(choices[0]));
	fflush(NULL); /* else children could write our buffers a second time */
	return stasis_restore(&opts, ret, err);
}

/* Whether each image of a checkpoint is whole, as far as its tables tell; all tasks of a step come to the same
 * answer. */
static int check_all(const char *path, struct stasis_error *err)
{
	scoped_dir DIR *dir = opendir(path);
	const struct dirent *e;

	if (!dir)
		return stasis_fail_errno(err, STASIS_E_IO, "%.200s", path);
	while ((e = readdir(dir))) {
		scoped(tree_info_freep) struct stasis_tree_info *info = NULL;
		const char *end = strstr(e->d_name, ".ckpt");

		if (end && !end[5] && stasis_image_inspect(dirfd(dir), e->d_name, &info, err) < 0)
			return -1;
	}
	return 0;
}

/* One of several tasks must not go back alone. */
static bool is_alone(const struct shepherd *s)
{
	const char *nr = getenv("SLURM_STEP_NUM_TASKS");

	return s->script || !nr || strcmp(nr, "1") == 0;
}

static int try_one(struct shepherd *s, unsigned generation, struct stasis_restored *ret,
		   struct stasis_error *err)
{
	char folder[4000], path[4096];

	(void)snprintf(folder, sizeof(folder), "%s/gen.%u", s->folder, generation);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, s->image);
	s->is_final = false;
	if (!is_alone(s) && check_all(folder, err) < 0)
		return -1;
	s->is_final = !is_alone(s);
	if (restore_from(s, path, ret, err) == 0)
		return 0;
	s->is_final |= err->cls != STASIS_E_CORRUPT && access(path, R_OK) == 0;
	if (s->is_final && err->cls == STASIS_E_CORRUPT)
		cmd_message("this is found too late for one of several tasks to take an older checkpoint: "
			    "see --restart-dir=%s/gen.N", s->folder);
	return -1;
}

/* A folder of checkpoints, or one checkpoint. */
static int restore_newest(struct shepherd *s, struct stasis_restored *ret, struct stasis_error *err)
{
	unsigned n = newest_before(s->folder, -1u);
	char path[4096];

	if (!n) {
		(void)snprintf(path, sizeof(path), "%s/%s", s->folder, s->image);
		return restore_from(s, path, ret, err);
	}
	if (s->script)
		shepherd_count_try(s->folder, n);
	for (int tries = 0; n && tries < MAX_TRIES; tries++, n = newest_before(s->folder, n)) {
		struct stasis_error why = *err;

		if (try_one(s, n, ret, err) == 0) {
			if (!tries)
				return 0;
			/* the output has gone back to what it was then: what was said before is not in it */
			cmd_message("restarted from the older checkpoint %s/gen.%u/%s: %s", s->folder, n,
				    s->image, why.text);
			if (s->script)
				shepherd_report_fallback(n, why.text);
			return 0;
		}
		if (s->is_final)
			return -1;
		cmd_message("gen.%u: %s", n, err->text);
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct shepherd s = {.log = {.is_quiet = true}};
	struct stasis_restored restored;
	struct stasis_error err = {.cls = STASIS_E_OK};
	const char *script = getenv(SHEPHERD_RUN);

	cmd_init(argv);
	if (script)
		return shepherd_run(script, argv);
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "Usage: stasis-shepherd FOLDER IMAGE [SCRIPT]\n"
				"For Slurm's tasks; see restart(1) for everything else.\n");
		return CMD_EXIT_USAGE;
	}
	s.folder = argv[1];
	s.image = argv[2];
	s.script = argv[3];
	shepherd_hold_signals();
	if (restore_newest(&s, &restored, &err) < 0)
		return cmd_report(&err);
	return shepherd_follow(&restored, s.script, s.script ? s.folder : NULL);
}
