/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often a batch job was restarted from the same checkpoint and ended at once: a small file beside the
 * checkpoints, as the next try may be on another node. stasisd hears of each, and holds the job when there were too
 * many.
 */
#include "cmds/shepherd_priv.h"

#include "api/client.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ANSWER_MS = 30000, /* it may have to ask slurmctld */
	HELD_S = 60,	   /* until slurmd ends us, once the job is held */
};

static void name_file(const char *folder, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s/.tries", folder);
}

/* 0 when there is no such file, or it is of another checkpoint. */
static unsigned read_tries(const char *path, unsigned generation)
{
	scoped_file FILE *f = fopen(path, "re");
	unsigned gen, tries;

	return f && fscanf(f, "%9u %9u", &gen, &tries) == 2 && gen == generation ? tries : 0;
}

/* A folder that cannot be written to: then nobody counts. */
static void write_tries(const char *path, unsigned generation, unsigned tries)
{
	scoped_file FILE *f = fopen(path, "we");

	if (f)
		fprintf(f, "%u %u\n", generation, tries);
}

void shepherd_forget_tries(const char *folder)
{
	char path[4096];

	name_file(folder, path, sizeof(path));
	(void)unlink(path);
}

/* 0, CODE_DISABLED when the job is held now; what else goes wrong is no reason not to restart. */
static int report(unsigned generation, unsigned tries, const char *why, char *ret, size_t size)
{
	const char *job = getenv("SLURM_JOB_ID"), *message;
	struct wire_msg m = {.len = 0}, answer;
	int code;

	if (!job || wire_put(&m, "op", "restarting", NULL) < 0 || wire_put(&m, "job", job, NULL) < 0 ||
	    wire_put_number(&m, "step", STEP_BATCH_SCRIPT, NULL) < 0 ||
	    wire_put_number(&m, "generation", generation, NULL) < 0 ||
	    wire_put_number(&m, "tries", tries, NULL) < 0)
		return 0;
	if (why)
		(void)wire_put(&m, "why", why, NULL); /* not with control characters in it */
	code = client_ask_local(&m, ANSWER_MS, &answer, NULL);
	if (code != CODE_DISABLED)
		return 0;
	message = wire_get(&answer, "message");
	(void)snprintf(ret, size, "%s", message ? message : "the job is held");
	return code;
}

void shepherd_count_try(const char *folder, unsigned generation)
{
	char path[4096], message[512];
	unsigned tries;

	name_file(folder, path, sizeof(path));
	tries = read_tries(path, generation) + 1;
	write_tries(path, generation, tries);
	if (report(generation, tries, NULL, message, sizeof(message)) != CODE_DISABLED)
		return;
	shepherd_forget_tries(folder); /* who releases it wants new ones */
	cmd_message("%s", message);
	(void)sleep(HELD_S);
	_exit(1);
}

void shepherd_report_fallback(unsigned generation, const char *why)
{
	char message[512];

	(void)report(generation, 0, why, message, sizeof(message));
}
