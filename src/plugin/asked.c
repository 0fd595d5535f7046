/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks for our options where sbatch will: its variables, "#SBATCH" lines, the command line; the later one
 * wins. */
#include "plugin/asked.h"

#include "wire/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COMMAND = 65536, MAX_LINE = 4096 };

static void take_events(struct asked *a, const char *list)
{
	unsigned events;

	if (list && events_parse(list, &events))
		a->events = events;
}

/* One word, and the one behind it, which may be its value. */
static void take_word(struct asked *a, const char *word, const char *next)
{
	if (strncmp(word, "--checkpoint", 12) != 0)
		return;
	a->has_any = true;
	if (strcmp(word, "--checkpoint-on") == 0)
		take_events(a, next);
	else if (strncmp(word, "--checkpoint-on=", 16) == 0)
		take_events(a, word + 16);
}

static void take_line(struct asked *a, char *line)
{
	char *rest, *word = strtok_r(line, " \t\r\n", &rest);

	while (word) {
		char *next = strtok_r(NULL, " \t\r\n", &rest);

		take_word(a, word, next);
		word = next;
	}
}

/* The comments at the beginning of a script; false when it is none. */
static bool take_script(struct asked *a, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[MAX_LINE];
	bool is_script = f && fgets(line, sizeof(line), f) && strncmp(line, "#!", 2) == 0;

	while (is_script && fgets(line, sizeof(line), f) && (*line == '#' || *line == '\n'))
		if (strncmp(line, "#SBATCH", 7) == 0)
			take_line(a, line + 7);
	if (f)
		(void)fclose(f);
	return is_script;
}

static void take_command_line(struct asked *a, const char *text, size_t len)
{
	for (const char *p = text; p < text + len; p += strlen(p) + 1)
		take_word(a, p, p + strlen(p) + 1);
}

static void find_script(struct asked *a, const char *text, size_t len)
{
	/* the first word is sbatch itself */
	for (const char *p = text + strlen(text) + 1; p < text + len; p += strlen(p) + 1)
		if (*p != '-' && take_script(a, p))
			return;
}

void asked_find(struct asked *ret)
{
	char *text = calloc(1, MAX_COMMAND + 2); /* ends with an empty word */
	FILE *f = fopen("/proc/self/cmdline", "re");
	size_t len = f && text ? fread(text, 1, MAX_COMMAND, f) : 0;

	*ret = (struct asked){.has_any = getenv("SBATCH_CHECKPOINT") || getenv("SBATCH_CHECKPOINT_DIR") ||
					 getenv("SBATCH_CHECKPOINT_ON")};
	take_events(ret, getenv("SBATCH_CHECKPOINT_ON"));
	if (len) {
		find_script(ret, text, len);
		take_command_line(ret, text, len);
	}
	if (f)
		(void)fclose(f);
	free(text);
}
