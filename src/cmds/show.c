/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every line that shows a process or a descriptor comes from here. A process chooses its own name
 * and the names of its files, so nothing of that reaches a terminal unchecked.
 */
#include "cmds/show.h"

#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

void show_text(FILE *out, const char *text)
{
	size_t left = strlen(text);
	mbstate_t state = {0};

	while (left) {
		wchar_t wc;
		size_t len = mbrtowc(&wc, text, left, &state);
		bool is_whole = len != (size_t)-1 && len != (size_t)-2 && len;

		if (is_whole && iswprint((wint_t)wc)) {
			fwrite(text, 1, len, out);
		} else {
			if (!is_whole) {
				len = 1;
				memset(&state, 0, sizeof(state));
			}
			for (size_t i = 0; i < len; i++)
				fprintf(out, "\\%03o", (unsigned char)text[i]);
		}
		text += len;
		left -= len;
	}
}

static char type_letter(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return '-';
	case S_IFDIR:
		return 'd';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	case S_IFLNK:
		return 'l';
	default:
		return '?'; /* eventfd, epoll and other nameless kernel objects have no type */
	}
}

void show_mode(mode_t mode, char buf[11])
{
	static const char letters[] = "rwxrwxrwx";

	buf[0] = type_letter(mode);
	for (int i = 0; i < 9; i++)
		buf[i + 1] = mode & (0400u >> i) ? letters[i] : '-';
	if (mode & S_ISUID)
		buf[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		buf[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		buf[9] = mode & S_IXOTH ? 't' : 'T';
	buf[10] = '\0';
}

void show_process(FILE *out, const struct stasis_proc_info *p)
{
	show_text(out, p->name);
	fprintf(out, " - pid = %d pgrp = %d ppid = %d", p->pid, p->pgrp, p->ppid);
}

static void show_owner(FILE *out, uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		show_text(out, pw->pw_name);
	else
		fprintf(out, "%u", (unsigned)uid);
}

static void show_time(FILE *out, int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char buf[64];

	/* LC_TIME was never set: month names are the C locale's, as in the figures */
	if (localtime_r(&t, &tm) && strftime(buf, sizeof(buf), "%b %e %H:%M:%S %Y", &tm))
		fputs(buf, out);
	else
		fprintf(out, "%lld", (long long)seconds);
}

void show_fd(FILE *out, const struct stasis_fd_info *f)
{
	char mode[11];

	show_mode(f->mode, mode);
	fprintf(out, "fd %d %s ", f->fd, mode);
	show_owner(out, f->uid);
	fputc(' ', out);
	show_time(out, f->mtime_s);
	if (S_ISCHR(f->mode) || S_ISBLK(f->mode))
		fprintf(out, " %u %u ", major(f->rdev), minor(f->rdev));
	else
		fprintf(out, " %llu/%llu ", (unsigned long long)f->size,
			(unsigned long long)f->pos);
	show_text(out, f->path ? f->path : "?");
}

void show_process_fds(FILE *out, const struct stasis_proc_info *p)
{
	show_process(out, p);
	fputc('\n', out);
	for (size_t i = 0; i < p->nr_fds; i++) {
		show_fd(out, &p->fds[i]);
		fputc('\n', out);
	}
}

void show_tree(FILE *out, const struct stasis_tree_info *info)
{
	for (size_t i = 0; i < info->nr_procs; i++)
		show_process_fds(out, &info->procs[i]);
}

static void show_place(FILE *out, const char *prefix, const struct stasis_proc_info *p)
{
	fputs(prefix, out);
	show_text(out, p->name);
	fprintf(out, "(%d)", p->pid);
}

size_t show_process_obstacles(FILE *out, const char *prefix, const struct stasis_proc_info *p)
{
	for (size_t i = 0; i < p->nr_obstacles; i++) {
		show_place(out, prefix, p);
		fputs(": ", out);
		show_text(out, p->obstacles[i]);
		fputc('\n', out);
	}
	return p->nr_obstacles;
}

size_t show_fd_obstacle(FILE *out, const char *prefix, const struct stasis_proc_info *p,
			const struct stasis_fd_info *f)
{
	if (f->is_supported)
		return 0;
	show_place(out, prefix, p);
	fprintf(out, " fd %d: %s: ", f->fd, f->kind ? f->kind : "unknown");
	show_text(out, f->obstacle ? f->obstacle : "not supported");
	fputc('\n', out);
	return 1;
}
