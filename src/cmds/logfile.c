/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The format of log files. Its colons bound a path on the left by the first and on the right by the
 * last of the line, so that paths with colons need no care; the user may edit the file, so every
 * line is checked.
 */
#include "cmds/logfile.h"

#include "cmds/show.h"
#include "lib/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct logfile {
	int dirfd;
	char *path;  /* final name */
	char *draft; /* name while it is written; NULL after commit */
	FILE *file;
};

/* ---- writing */

static void logfile_free(struct logfile *log)
{
	if (log->file)
		(void)fclose(log->file);
	if (log->draft)
		(void)unlinkat(log->dirfd, log->draft, 0); /* best effort: nothing depends on it */
	free(log->draft);
	free(log->path);
	free(log);
}

void logfile_discardp(struct logfile **log)
{
	if (*log)
		logfile_free(*log);
}

struct logfile *logfile_create(int dirfd, const char *path, struct stasis_error *err)
{
	scoped(logfile_discardp) struct logfile *log = calloc(1, sizeof(*log));
	int fd;

	if (!log)
		return stasis_fail_null(err, STASIS_E_NOMEM, "out of memory");
	log->dirfd = dirfd;
	log->path = strdup(path);
	if (!log->path || asprintf(&log->draft, "%s.%d.tmp", path, (int)getpid()) < 0) {
		log->draft = NULL;
		return stasis_fail_null(err, STASIS_E_NOMEM, "out of memory");
	}
	fd = openat(dirfd, log->draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	log->file = fd < 0 ? NULL : fdopen(fd, "we");
	if (!log->file) {
		stasis_fail_errno(err, STASIS_E_IO, "unable to open logfile %s", path);
		if (fd < 0) { /* then the name is not ours to remove */
			free(log->draft);
			log->draft = NULL;
		} else {
			(void)close(fd);
		}
		return NULL;
	}
	return ptr_take(&log);
}

static void put_escaped(FILE *out, const char *text, bool is_name)
{
	for (const char *c = text; *c; c++) {
		bool is_plain = (unsigned char)*c >= ' ' && *c != '\\' && *c != 0177;

		/* a name that begins as the path of a descriptor line does */
		if (is_name && c == text && *c == ':')
			is_plain = false;
		if (is_plain)
			fputc(*c, out);
		else
			fprintf(out, "\\%03o", (unsigned char)*c);
	}
}

static const char *fd_word(enum stasis_fd_action action)
{
	switch (action) {
	case STASIS_FD_COPY:
		return "copy";
	case STASIS_FD_IGNORE:
		return "ignore";
	default:
		return "path";
	}
}

static const char *process_word(const struct selection_proc *chosen)
{
	return chosen->is_skipped ? "ignore" : "checkpoint";
}

static void put_process(FILE *out, const struct stasis_proc_info *p,
			const struct selection_proc *chosen)
{
	fprintf(out, "%d ", p->pid);
	put_escaped(out, p->name, true);
	fprintf(out, " %s\n", process_word(chosen));
	for (size_t i = 0; !chosen->is_skipped && i < p->nr_fds; i++) {
		fprintf(out, "%d :", p->fds[i].fd);
		put_escaped(out, p->fds[i].path ? p->fds[i].path : "", false);
		fprintf(out, ": %s\n", fd_word(chosen->fds[i].action));
	}
}

int logfile_commit(struct logfile *log, const struct selection *sel, struct stasis_error *err)
{
	FILE *out = ptr_take(&log->file);
	bool is_written;

	for (size_t i = 0; i < sel->info->nr_procs; i++)
		put_process(out, &sel->info->procs[i], &sel->procs[i]);
	is_written = fflush(out) == 0 && !ferror(out) && fsync(fileno(out)) == 0;
	if (!is_written) {
		stasis_fail_errno(err, STASIS_E_IO, "logfile write failed");
		(void)fclose(out); /* the first failure counts */
		return -1;
	}
	if (fclose(out) != 0)
		return stasis_fail_errno(err, STASIS_E_IO, "unable to close logfile %s", log->path);
	if (renameat(log->dirfd, log->draft, log->dirfd, log->path) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "logfile write failed");
	free(ptr_take(&log->draft));
	return 0;
}

/* ---- reading */

/* More than any tree needs; a longer line is no log file. */
#define MAX_ENTRIES 1000000
#define MAX_LINE    65536

struct fd_entry {
	int fd;
	enum stasis_fd_action action;
	char *path;
};

struct proc_entry {
	pid_t pid;
	char *name;
	bool is_skipped;
	bool is_used; /* a process of the tree took it */
	struct fd_entry *fds;
	size_t nr_fds;
};

struct entries {
	struct proc_entry *procs;
	size_t nr_procs;
	size_t nr; /* lines of both sorts */
};

static void entries_done(struct entries *e)
{
	for (size_t i = 0; i < e->nr_procs; i++) {
		for (size_t j = 0; j < e->procs[i].nr_fds; j++)
			free(e->procs[i].fds[j].path);
		free(e->procs[i].fds);
		free(e->procs[i].name);
	}
	free(e->procs);
}

/* Undo put_escaped() in place; false when a backslash does not begin \ooo. */
static bool unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		int value = 0;

		if (*from != '\\') {
			*to = *from++;
			continue;
		}
		for (int i = 1; i <= 3; i++) {
			if (from[i] < '0' || from[i] > '7')
				return false;
			value = value * 8 + (from[i] - '0');
		}
		if (value == 0 || value > 0377)
			return false;
		*to = (char)value;
		from += 4;
	}
	*to = '\0';
	return true;
}

/* Make room for one more element behind an array that grows one by one. */
static void *grow(void *array, size_t nr, size_t size)
{
	if (nr & (nr - 1)) /* room is always a power of two */
		return array;
	return reallocarray(array, nr ? nr * 2 : 1, size);
}

static bool add_fd(struct proc_entry *p, int fd, const char *path, const char *word)
{
	struct fd_entry *fds = grow(p->fds, p->nr_fds, sizeof(*fds));
	struct fd_entry *f;

	if (!fds)
		return false;
	p->fds = fds;
	f = &fds[p->nr_fds];
	f->fd = fd;
	if (strcmp(word, "path") == 0)
		f->action = STASIS_FD_KEEP;
	else if (strcmp(word, "copy") == 0)
		f->action = STASIS_FD_COPY;
	else if (strcmp(word, "ignore") == 0)
		f->action = STASIS_FD_IGNORE;
	else
		return false;
	f->path = strdup(path);
	if (!f->path)
		return false;
	p->nr_fds++;
	return true;
}

static bool add_process(struct entries *e, int pid, const char *name, const char *word)
{
	struct proc_entry *procs = grow(e->procs, e->nr_procs, sizeof(*procs));
	bool is_skipped = strcmp(word, "ignore") == 0;
	struct proc_entry *p;

	if (!procs)
		return false;
	e->procs = procs;
	if (!is_skipped && strcmp(word, "checkpoint") != 0)
		return false;
	p = &procs[e->nr_procs];
	*p = (struct proc_entry){.pid = pid, .name = strdup(name), .is_skipped = is_skipped};
	if (!p->name)
		return false;
	e->nr_procs++;
	return true;
}

/* "NUMBER :PATH: WORD" or "NUMBER NAME WORD"; the line is taken apart in place. */
static bool parse_line(struct entries *e, char *line)
{
	char *rest = strchr(line, ' ');
	char *word = strrchr(line, ' ');
	bool is_fd;
	int number;

	if (!rest || word == rest)
		return false;
	*rest++ = '\0';
	*word++ = '\0';
	if (!cmd_parse_int(line, &number))
		return false;
	is_fd = rest[0] == ':';
	if (is_fd) {
		size_t len = strlen(++rest);

		if (!len || rest[len - 1] != ':' || !e->nr_procs)
			return false;
		rest[len - 1] = '\0';
	}
	if (!unescape(rest))
		return false;
	if (is_fd)
		return add_fd(&e->procs[e->nr_procs - 1], number, rest, word);
	return add_process(e, number, rest, word);
}

static int read_entries(FILE *in, const char *path, struct entries *e, struct stasis_error *err)
{
	scoped_free char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, in)) > 0) {
		e->nr++;
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (e->nr > MAX_ENTRIES || len > MAX_LINE || strlen(line) != (size_t)len ||
		    !parse_line(e, line))
			return stasis_fail(err, STASIS_E_IO,
					   "logfile read failed: %s line %zu is no entry", path,
					   e->nr);
	}
	if (ferror(in))
		return stasis_fail_errno(err, STASIS_E_IO, "logfile read failed");
	if (!e->nr_procs)
		return stasis_fail(err, STASIS_E_IO, "logfile read failed: %s is empty", path);
	return 0;
}

static int open_and_read(int dirfd, const char *path, struct entries *e, struct stasis_error *err)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "re");
	int rc;

	if (!in) {
		stasis_fail_errno(err, STASIS_E_IO, "unable to open logfile %s", path);
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	rc = read_entries(in, path, e, err);
	if (fclose(in) != 0 && rc == 0)
		return stasis_fail_errno(err, STASIS_E_IO, "unable to close logfile %s", path);
	return rc;
}

/* ---- applying */

static bool is_same_process(const struct proc_entry *entry, const struct stasis_proc_info *p)
{
	return entry->pid == p->pid && strcmp(entry->name, p->name) == 0;
}

static struct proc_entry *find_same(struct entries *e, const struct stasis_proc_info *p)
{
	for (size_t i = 0; i < e->nr_procs; i++) {
		if (is_same_process(&e->procs[i], p))
			return &e->procs[i];
	}
	return NULL;
}

static struct proc_entry *find_at_place(struct entries *e, size_t place,
					const struct stasis_proc_info *p)
{
	struct proc_entry *entry = place < e->nr_procs ? &e->procs[place] : NULL;

	return entry && !entry->is_used && strcmp(entry->name, p->name) == 0 ? entry : NULL;
}

static const struct fd_entry *find_fd(const struct proc_entry *entry, int fd)
{
	for (size_t i = 0; i < entry->nr_fds; i++) {
		if (entry->fds[i].fd == fd)
			return &entry->fds[i];
	}
	return NULL;
}

static void apply_process(struct selection *sel, size_t proc, const struct proc_entry *entry,
			  const struct cmd_log *log)
{
	const struct stasis_proc_info *p = &sel->info->procs[proc];

	sel->procs[proc].is_skipped = entry->is_skipped;
	for (size_t i = 0; !entry->is_skipped && i < p->nr_fds; i++) {
		const struct stasis_fd_info *f = &p->fds[i];
		const struct fd_entry *fe = find_fd(entry, f->fd);

		if (!fe)
			cmd_warn(log, "%s(%d) fd %d: not in the logfile, saving it", p->name,
				 p->pid, f->fd);
		else if (fe->action == STASIS_FD_IGNORE && f->path &&
			 strcmp(fe->path, f->path) != 0)
			cmd_warn(log, "%s(%d) fd %d: is now %s, not ignoring it", p->name, p->pid,
				 f->fd, f->path);
		else if (fe->action != STASIS_FD_COPY || f->is_regular)
			selection_set(sel, proc, i, fe->action, NULL);
	}
}

static int apply_entries(struct entries *e, struct selection *sel, const struct cmd_log *log,
			 struct stasis_error *err)
{
	const struct stasis_tree_info *info = sel->info;
	scoped_free struct proc_entry **found =
		calloc(info->nr_procs + 1, sizeof(struct proc_entry *));

	if (!found)
		return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < info->nr_procs; i++) {
		found[i] = find_same(e, &info->procs[i]);
		if (found[i])
			found[i]->is_used = true;
	}
	for (size_t i = 0; i < info->nr_procs; i++) {
		const struct stasis_proc_info *p = &info->procs[i];

		if (!found[i])
			found[i] = find_at_place(e, i, p);
		if (found[i])
			apply_process(sel, i, found[i], log);
		else
			cmd_warn(log, "%s(%d): not in the logfile, checkpointing it", p->name,
				 p->pid);
	}
	return 0;
}

int logfile_apply(int dirfd, const char *path, struct selection *sel, const struct cmd_log *log,
		  struct stasis_error *err)
{
	scoped(entries_done) struct entries e = {0};

	if (open_and_read(dirfd, path, &e, err) < 0)
		return -1;
	return apply_entries(&e, sel, log, err);
}

void logfile_show_actions(const struct selection *sel)
{
	for (size_t i = 0; i < sel->info->nr_procs; i++) {
		const struct stasis_proc_info *p = &sel->info->procs[i];
		const struct selection_proc *chosen = &sel->procs[i];

		show_process(stdout, p);
		printf(" %s\n", process_word(chosen));
		for (size_t j = 0; !chosen->is_skipped && j < p->nr_fds; j++) {
			enum stasis_fd_action action = chosen->fds[j].action;

			show_fd(stdout, &p->fds[j]);
			printf(" %s\n", action == STASIS_FD_KEEP ? "pathname" : fd_word(action));
		}
	}
	fflush(stdout);
}
