/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plugin for Slurm: options of sbatch, srun and salloc; what stasisd is to know of a task, in the task's
 * environment; and the restart of a task, which is to run another program in its place: stasis-shepherd.
 *
 * Trouble of ours never fails a job that did not ask for us: every hook returns 0, but for a wrong option where
 * the user can see the message.
 */
#include <stdint.h>
#include <sys/types.h>

#include <slurm/spank.h>

#include "plugin/asked.h"
#include "plugin/interval.h"
#include "wire/codes.h"
#include "wire/events.h"
#include "wire/shepherd.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((__visibility__("default")))

/* SPANK_PLUGIN() of spank.h, with the visibility that it needs here */
EXPORT extern const char plugin_name[], plugin_type[];
EXPORT extern const unsigned int plugin_version, spank_plugin_version;
SPANK_PLUGIN(stasis, 1);

enum { OPT_CHECKPOINT = 1, OPT_CHECKPOINT_DIR, OPT_RESTART_DIR, OPT_CHECKPOINT_ON, OPT_CHECKPOINT_KEEP };

/* Slurm warns a batch job this long before its end, or up to a minute earlier; what stasisd does then is its
 * own decision (limit-margin of stasis.yaml). */
#define WARNING "B:" EVENT_SIGNAL_NAME "@60"

/* The one writable state: SPANK gives hooks no argument of ours. */
static struct {
	char interval[32];
	char on[64];  /* --checkpoint-on */
	char nr[8];   /* --checkpoint-keep */
	char dir[PATH_MAX], restart_dir[PATH_MAX];
	char directory[PATH_MAX]; /* directory= of plugstack.conf, as in stasis.yaml */
	char shepherd[PATH_MAX];
} self;

static int keep(char *field, size_t size, const char *value)
{
	if (!value || strlen(value) >= size)
		return -1;
	(void)strcpy(field, value); /* fits, see above */
	return 0;
}

/* 1 to 1000. */
static int is_count(const char *text)
{
	size_t len = strspn(text, "0123456789");
	long n = len && len <= 4 && !text[len] ? strtol(text, NULL, 10) : 0;

	return n >= 1 && n <= 1000;
}

/* Called twice in some contexts. The remote side has what the client accepted. */
static int take_option(int val, const char *arg, int remote)
{
	unsigned events;
	int rc = -1;

	if (val == OPT_CHECKPOINT && arg && interval_is_valid(arg))
		rc = keep(self.interval, sizeof(self.interval), arg);
	if (val == OPT_CHECKPOINT_ON && arg && events_parse(arg, &events))
		rc = keep(self.on, sizeof(self.on), arg);
	if (val == OPT_CHECKPOINT_KEEP && arg && is_count(arg))
		rc = keep(self.nr, sizeof(self.nr), arg);
	if (val == OPT_CHECKPOINT_DIR)
		rc = keep(self.dir, sizeof(self.dir), arg);
	if (val == OPT_RESTART_DIR)
		rc = keep(self.restart_dir, sizeof(self.restart_dir), arg);
	if (rc == 0 || remote)
		return 0;
	slurm_error("Invalid --%s specification", val == OPT_CHECKPOINT	      ? "checkpoint"
						  : val == OPT_CHECKPOINT_DIR ? "checkpoint-dir"
						  : val == OPT_CHECKPOINT_ON  ? "checkpoint-on"
						  : val == OPT_CHECKPOINT_KEEP ? "checkpoint-keep"
									      : "restart-dir");
	return -1;
}

static struct spank_option options[] = {
	{(char *)(uintptr_t)"checkpoint", (char *)(uintptr_t)"TIME",
	 (char *)(uintptr_t)"make a checkpoint of the job every TIME (minutes, m:s, h:m:s, d-h, ...)", 1,
	 OPT_CHECKPOINT, take_option},
	{(char *)(uintptr_t)"checkpoint-dir", (char *)(uintptr_t)"DIR",
	 (char *)(uintptr_t)"folder for checkpoints", 1, OPT_CHECKPOINT_DIR, take_option},
	{(char *)(uintptr_t)"restart-dir", (char *)(uintptr_t)"DIR",
	 (char *)(uintptr_t)"restart from the checkpoint in DIR; \"none\": never restart", 1,
	 OPT_RESTART_DIR, take_option},
	{(char *)(uintptr_t)"checkpoint-on", (char *)(uintptr_t)"LIST",
	 (char *)(uintptr_t)"checkpoint and requeue the job before it is ended: preempt,limit,drain", 1,
	 OPT_CHECKPOINT_ON, take_option},
	{(char *)(uintptr_t)"checkpoint-keep", (char *)(uintptr_t)"N",
	 (char *)(uintptr_t)"keep the newest N checkpoints", 1, OPT_CHECKPOINT_KEEP, take_option},
};

static void take_arguments(int ac, char **av)
{
	(void)keep(self.shepherd, sizeof(self.shepherd), PKGLIBEXECDIR "/stasis-shepherd");
	for (int i = 0; i < ac; i++) {
		if (strncmp(av[i], "directory=", 10) == 0)
			(void)keep(self.directory, sizeof(self.directory), av[i] + 10);
		else if (strncmp(av[i], "shepherd=", 9) == 0)
			(void)keep(self.shepherd, sizeof(self.shepherd), av[i] + 9);
		else
			slurm_error("stasis: unknown argument '%s' in plugstack.conf", av[i]);
	}
}

/* Defaults of sbatch for a job that asks for us; its own options go before them. */
static void set_defaults(void)
{
	struct asked asked;

	asked_find(&asked);
	/* output of a job that is restarted goes on, it does not begin anew */
	if (asked.has_any)
		(void)setenv("SBATCH_OPEN_MODE", "append", 0);
	if (asked.events)
		(void)setenv("SBATCH_REQUEUE", "1", 0);
	if (asked.events & (EVENT_PREEMPT | EVENT_LIMIT))
		(void)setenv("SBATCH_SIGNAL", WARNING, 0);
}

EXPORT int slurm_spank_init(spank_t sp, int ac, char **av)
{
	take_arguments(ac, av);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (spank_option_register(sp, &options[i]) != ESPANK_SUCCESS)
			slurm_error("stasis: cannot register --%s", options[i].name);
	if (spank_context() == S_CTX_ALLOCATOR)
		set_defaults();
	return 0;
}

/* ---- on the node, as the user ---- */

/* An option, else the variable of the client or of the job it is in. */
static void from_environment(spank_t sp, char *field, size_t size, const char *a, const char *b)
{
	if (!*field && spank_getenv(sp, a, field, (int)size) != ESPANK_SUCCESS &&
	    spank_getenv(sp, b, field, (int)size) != ESPANK_SUCCESS)
		*field = '\0';
}

/* Absolute, as the working directory may change. */
static void make_absolute(char *path, size_t size)
{
	char full[PATH_MAX], cwd[PATH_MAX];

	if (!*path || *path == '/' || !getcwd(cwd, sizeof(cwd)))
		return;
	if ((size_t)snprintf(full, sizeof(full), "%s/%s", cwd, path) < sizeof(full))
		(void)keep(path, size, full);
}

/* What stasisd finds in the environment of a task, and an srun in the script hands on. */
static void set_environment(spank_t sp)
{
	if (*self.interval)
		(void)spank_setenv(sp, "SLURM_CHECKPOINT", self.interval, 1);
	if (*self.on)
		(void)spank_setenv(sp, "SLURM_CHECKPOINT_ON", self.on, 1);
	if (*self.nr)
		(void)spank_setenv(sp, "SLURM_CHECKPOINT_KEEP", self.nr, 1);
	if (*self.dir)
		(void)spank_setenv(sp, "SLURM_CHECKPOINT_IMAGE_DIR", self.dir, 1);
	(void)spank_unsetenv(sp, "SLURM_RESTART_DIR"); /* for this task alone */
}

static int is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A batch job that was requeued: where stasisd left its checkpoint. JOB.restart leads elsewhere when a request
 * had a folder of its own. */
static int find_requeued(uint32_t job, char *ret, size_t size)
{
	char base[PATH_MAX] = "";

	if (*self.dir)
		(void)keep(base, sizeof(base), self.dir);
	else if (*self.directory)
		(void)keep(base, sizeof(base), self.directory);
	else if (!getcwd(base, sizeof(base)))
		return 0;
	if ((size_t)snprintf(ret, size, "%s/%u.restart", base, job) < size && is_folder(ret))
		return 1;
	return (size_t)snprintf(ret, size, "%s/%u", base, job) < size && is_folder(ret);
}

/* The item of that name is 0 on 22.05, whatever the job's environment says. */
static uint32_t count_restarts(spank_t sp)
{
	uint32_t restarts = 0;
	char text[16];

	if (spank_getenv(sp, "SLURM_RESTART_COUNT", text, sizeof(text)) == ESPANK_SUCCESS)
		restarts = (uint32_t)strtoul(text, NULL, 10);
	if (!restarts)
		(void)spank_get_item(sp, S_SLURM_RESTART_COUNT, &restarts);
	return restarts;
}

/* The folder to restart from and the image in it; 0: start as usual. */
static int find_image(spank_t sp, char *folder, size_t size, char *image, size_t image_size)
{
	uint32_t job = 0, step = 0, task = 0;

	(void)spank_get_item(sp, S_JOB_ID, &job);
	(void)spank_get_item(sp, S_JOB_STEPID, &step);
	(void)spank_get_item(sp, S_TASK_GLOBAL_ID, &task);
	if (strcmp(self.restart_dir, "none") == 0)
		return 0;
	if (step == STEP_BATCH_SCRIPT)
		(void)snprintf(image, image_size, "script.ckpt");
	else
		(void)snprintf(image, image_size, "task.%u.ckpt", task);
	if (*self.restart_dir)
		return keep(folder, size, self.restart_dir) == 0;
	return step == STEP_BATCH_SCRIPT && count_restarts(sp) && find_requeued(job, folder, size);
}

static void become_shepherd(spank_t sp, char *folder, char *image)
{
	uint32_t step = 0;
	char **argv = NULL, **env = NULL;
	int argc = 0;
	char *args[] = {self.shepherd, folder, image, NULL, NULL};

	(void)spank_get_item(sp, S_JOB_STEPID, &step);
	if (spank_get_item(sp, S_JOB_ARGV, &argc, &argv) == ESPANK_SUCCESS && argc > 0 &&
	    step == STEP_BATCH_SCRIPT)
		args[3] = argv[0];
	if (spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
		return;
	execve(self.shepherd, args, env);
	slurm_error("stasis: %s: %s", self.shepherd, strerror(errno));
	_exit(1); /* he asked for a restart: to begin anew instead would cost him his work */
}

/* A batch job that Slurm is to warn: the shepherd is the process that Slurm warns. The program to run is exchanged
 * rather than run here, so that all that slurmstepd still does for a task is done. */
static void get_shepherd(spank_t sp)
{
	uint32_t step = 0;
	unsigned events = 0;
	char **argv = NULL;
	int argc = 0;

	(void)spank_get_item(sp, S_JOB_STEPID, &step);
	if (step != STEP_BATCH_SCRIPT || !events_parse(self.on, &events) ||
	    !(events & (EVENT_PREEMPT | EVENT_LIMIT)) || access(self.shepherd, X_OK) < 0 ||
	    spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1 ||
	    spank_setenv(sp, SHEPHERD_RUN, argv[0], 1) != ESPANK_SUCCESS)
		return;
	argv[0] = self.shepherd;
}

EXPORT int slurm_spank_task_init(spank_t sp, int ac, char **av)
{
	char folder[PATH_MAX], image[32];

	(void)ac;
	(void)av;
	from_environment(sp, self.interval, sizeof(self.interval), "SLURM_CHECKPOINT",
			 "SBATCH_CHECKPOINT");
	from_environment(sp, self.on, sizeof(self.on), "SLURM_CHECKPOINT_ON", "SBATCH_CHECKPOINT_ON");
	from_environment(sp, self.nr, sizeof(self.nr), "SLURM_CHECKPOINT_KEEP", "SBATCH_CHECKPOINT_KEEP");
	from_environment(sp, self.dir, sizeof(self.dir), "SLURM_CHECKPOINT_DIR",
			 "SBATCH_CHECKPOINT_DIR");
	from_environment(sp, self.dir, sizeof(self.dir), "SLURM_CHECKPOINT_IMAGE_DIR",
			 "SLURM_CHECKPOINT_IMAGE_DIR");
	from_environment(sp, self.restart_dir, sizeof(self.restart_dir), "SLURM_RESTART_DIR",
			 "SBATCH_RESTART_DIR");
	make_absolute(self.dir, sizeof(self.dir));
	set_environment(sp);
	if (find_image(sp, folder, sizeof(folder), image, sizeof(image))) {
		make_absolute(folder, sizeof(folder));
		become_shepherd(sp, folder, image);
	}
	get_shepherd(sp);
	return 0;
}
