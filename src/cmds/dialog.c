/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk of the CONVEX guide's interactive modes. The current item is a process or one of its
 * descriptors; an answer to it moves on to the next item. A process that is ignored takes its
 * descriptors out of the walk.
 */
#include "cmds/dialog.h"

#include "cmds/common.h"
#include "cmds/show.h"
#include "lib/scoped.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ON_PROCESS SIZE_MAX /* value of cursor.fd while the process itself is the item */

struct cursor {
	size_t proc;
	size_t fd;
};

struct dialog {
	const struct dialog_style *style;
	struct selection *sel;
	struct cursor at;
	bool is_echoing;
};

enum step {
	STEP_AGAIN, /* prompt for the same item */
	STEP_MOVED, /* the cursor was set */
	STEP_PROCEED,
	STEP_QUIT,
	STEP_UNKNOWN,
};

static const struct stasis_proc_info *current_process(const struct dialog *d)
{
	return &d->sel->info->procs[d->at.proc];
}

static void show_prompt(const struct dialog *d)
{
	const struct stasis_proc_info *p = current_process(d);

	if (d->at.fd == ON_PROCESS) {
		show_process(stdout, p);
		printf(" [%s]:", d->style->process_hint);
	} else {
		show_fd(stdout, &p->fds[d->at.fd]);
		printf(" [%s]:", d->style->fd_hint(&p->fds[d->at.fd]));
	}
	fflush(stdout);
}

/* Read a line of any length without its newline and outer blanks; false at end of input. */
static bool read_answer(const struct dialog *d, char **line, size_t *size)
{
	ssize_t len = getline(line, size, stdin);
	size_t blanks;

	if (len < 0) {
		putchar('\n');
		return false;
	}
	while (len && strchr(" \t\r\n", (*line)[len - 1]))
		(*line)[--len] = '\0';
	blanks = strspn(*line, " \t");
	memmove(*line, *line + blanks, (size_t)len - blanks + 1);
	if (d->is_echoing) {
		show_text(stdout, *line);
		putchar('\n');
	}
	return true;
}

static void go_to_process(struct dialog *d, size_t proc)
{
	d->at = (struct cursor){.proc = proc, .fd = ON_PROCESS};
}

/* From a process to its first descriptor, from the last one to the next process. */
static void go_to_next_item(struct dialog *d)
{
	size_t next = d->at.fd == ON_PROCESS ? 0 : d->at.fd + 1;

	if (next < current_process(d)->nr_fds)
		d->at.fd = next;
	else
		go_to_process(d, d->at.proc + 1);
}

/* G [pid]: without a pid, the next process; from the last one that is the first. */
static enum step go_to_pid(struct dialog *d, const char *argument)
{
	const struct stasis_tree_info *info = d->sel->info;
	int pid;

	if (!*argument) {
		go_to_process(d, (d->at.proc + 1) % info->nr_procs);
		return STEP_MOVED;
	}
	if (!cmd_parse_int(argument, &pid))
		return STEP_UNKNOWN;
	for (size_t i = 0; i < info->nr_procs; i++) {
		if (info->procs[i].pid == pid) {
			go_to_process(d, i);
			return STEP_MOVED;
		}
	}
	printf("No process %d in the hierarchy.\n", pid);
	return STEP_AGAIN;
}

static enum step print_tree(const struct dialog *d)
{
	putchar('\n');
	show_tree(stdout, d->sel->info);
	putchar('\n');
	return STEP_AGAIN;
}

/* Commands for both sorts of item. */
static enum step do_common(struct dialog *d, char letter, const char *argument)
{
	if (letter == 'G')
		return go_to_pid(d, argument);
	if (*argument)
		return STEP_UNKNOWN;
	if (letter == 'Q')
		return STEP_QUIT;
	if (letter == d->style->proceed)
		return STEP_PROCEED;
	if (letter == 'P')
		return print_tree(d);
	return STEP_UNKNOWN;
}

static enum step do_process(struct dialog *d, char letter, const char *argument)
{
	struct selection_proc *chosen = &d->sel->procs[d->at.proc];

	if (letter == d->style->accept && !*argument) {
		chosen->is_skipped = false;
		go_to_next_item(d);
		return STEP_MOVED;
	}
	if (letter == 'i' && !*argument) {
		chosen->is_skipped = true;
		go_to_process(d, d->at.proc + 1);
		return STEP_MOVED;
	}
	if (letter == 'p' && !*argument) {
		show_process_fds(stdout, current_process(d));
		putchar('\n');
		return STEP_AGAIN;
	}
	if (letter == '?' && !*argument) {
		fputs(d->style->process_help, stdout);
		return STEP_AGAIN;
	}
	return do_common(d, letter, argument);
}

/* A path is kept absolute: the restart may change its folder before it opens the file. */
static char *absolute_path(const char *path)
{
	scoped_free char *cwd = NULL;
	char *full;

	if (path[0] == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&full, "%s/%s", cwd, path) < 0)
		return NULL;
	return full;
}

static enum step modify_fd(struct dialog *d, const char *path)
{
	char *full;

	if (!*path) {
		printf("The pathname is missing.\n");
		return STEP_AGAIN;
	}
	full = absolute_path(path);
	if (!full || access(full, F_OK) < 0) {
		show_text(stdout, path);
		printf(": %s\n", strerror(errno));
		free(full);
		return STEP_AGAIN;
	}
	selection_set(d->sel, d->at.proc, d->at.fd, STASIS_FD_MODIFY, full);
	go_to_next_item(d);
	return STEP_MOVED;
}

static enum step do_fd(struct dialog *d, char letter, const char *argument)
{
	const struct stasis_fd_info *f = &current_process(d)->fds[d->at.fd];
	enum stasis_fd_action action;

	if (letter == '?' && !*argument) {
		d->style->fd_help(f);
		return STEP_AGAIN;
	}
	if (!d->style->fd_command(f, letter, &action))
		return do_common(d, letter, argument);
	if (action == STASIS_FD_MODIFY)
		return modify_fd(d, argument);
	if (*argument)
		return STEP_UNKNOWN;
	selection_set(d->sel, d->at.proc, d->at.fd, action, NULL);
	go_to_next_item(d);
	return STEP_MOVED;
}

/* An answer is one letter; what follows the letter, blanks or not, is its argument. */
static enum step do_answer(struct dialog *d, const char *line)
{
	const char *argument;

	if (!*line)
		return STEP_UNKNOWN;
	argument = line + 1 + strspn(line + 1, " \t");
	if (d->at.fd == ON_PROCESS)
		return do_process(d, line[0], argument);
	return do_fd(d, line[0], argument);
}

static enum dialog_end walk(struct dialog *d)
{
	scoped_free char *line = NULL;
	size_t size = 0;

	while (d->at.proc < d->sel->info->nr_procs) {
		show_prompt(d);
		if (!read_answer(d, &line, &size))
			return DIALOG_QUIT;
		switch (do_answer(d, line)) {
		case STEP_QUIT:
			return DIALOG_QUIT;
		case STEP_PROCEED:
			return DIALOG_PROCEED;
		case STEP_UNKNOWN:
			printf("Type '?' for help.\n");
			break;
		case STEP_AGAIN:
		case STEP_MOVED:
			break;
		}
	}
	return DIALOG_PROCEED;
}

enum dialog_end dialog_run(const struct dialog_style *style, struct selection *sel)
{
	struct dialog d = {.style = style, .sel = sel, .is_echoing = !isatty(STDIN_FILENO)};
	enum dialog_end end;

	go_to_process(&d, 0);
	(void)setvbuf(stdin, NULL, _IONBF, 0); /* see the header: reads exactly the answers */
	puts(style->banner);
	end = walk(&d);
	fflush(stdout);
	return end;
}
