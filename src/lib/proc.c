/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the text of /proc/PID means (proc(5), kernel Documentation/filesystems/proc.rst). */
#include "lib/proc.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	PROC_STAT_MAX_BYTES = 8192,
	PROC_STATUS_MAX_BYTES = 2 << 20,
	PROC_TIMENS_MAX_BYTES = 4096,
	PROC_NS_PER_S = 1000000000, /* 65,536 groups of up to 11 characters */
	STAT_FIELDS = 52,
};

int proc_open(pid_t pid, struct stasis_error *err)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return stasis_fail(err, STASIS_E_GONE, "%d: No such process", pid);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", path);
	return fd;
}

/*
 * Split the numeric fields behind the command name. The name may hold anything, parentheses too: its
 * end is the last ')' of the line.
 */
static int split_stat(char *text, struct proc_stat *st, uint64_t field[STAT_FIELDS + 1])
{
	char *open_paren = strchr(text, '('), *close_paren = strrchr(text, ')');
	char *p, *end;
	size_t len;

	if (!open_paren || !close_paren || close_paren < open_paren || close_paren[1] != ' ')
		return -1;
	len = (size_t)(close_paren - open_paren - 1);
	if (len >= sizeof(st->comm))
		len = sizeof(st->comm) - 1;
	memcpy(st->comm, open_paren + 1, len);
	st->comm[len] = '\0';
	st->pid = (pid_t)strtol(text, NULL, 10);
	p = close_paren + 2;
	st->state = *p++;
	for (int i = 4; i <= STAT_FIELDS; i++) {
		/* negative numbers wrap and are cast back by the caller */
		field[i] = *p == ' ' && p[1] == '-' ? (uint64_t)strtoll(p, &end, 10)
						    : strtoull(p, &end, 10);
		if (end == p)
			return -1;
		p = end;
	}
	return 0;
}

int proc_read_stat(int procfd, const char *name, struct proc_stat *ret, struct stasis_error *err)
{
	uint64_t f[STAT_FIELDS + 1] = {0};
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(procfd, name, PROC_STAT_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	memset(ret, 0, sizeof(*ret));
	if (split_stat(text, ret, f) < 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "'%s' does not look like proc(5) says",
				   name);
	ret->ppid = (pid_t)f[4];
	ret->pgrp = (pid_t)f[5];
	ret->session = (pid_t)f[6];
	ret->tty_nr = (uint32_t)f[7];
	ret->tpgid = (pid_t)f[8];
	ret->flags = f[9];
	ret->utime_ticks = f[14];
	ret->stime_ticks = f[15];
	ret->cutime_ticks = f[16];
	ret->cstime_ticks = f[17];
	ret->nice = (int64_t)f[19];
	ret->nr_threads = (int64_t)f[20];
	ret->starttime_ticks = f[22];
	ret->start_code = f[26];
	ret->end_code = f[27];
	ret->start_stack = f[28];
	ret->exit_signal = (int)f[38];
	ret->processor = (int)f[39];
	ret->start_data = f[45];
	ret->end_data = f[46];
	ret->start_brk = f[47];
	ret->arg_start = f[48];
	ret->arg_end = f[49];
	ret->env_start = f[50];
	ret->env_end = f[51];
	ret->exit_code = (int)f[52];
	return 0;
}

/* The text of a status file, and where its next key will probably be: they are asked for in their order. */
struct status_text {
	const char *text, *at;
};

static const char *find_key(const char *from, const char *end, const char *key, size_t len)
{
	for (const char *p = from; p && p != end; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (*p == *key && !strncmp(p, key, len) && p[len] == ':')
			return p;
	return NULL;
}

/* The text behind "KEY:\t", or NULL. Keys are at line starts; the name line cannot fake one because
 * the kernel escapes newlines in it. */
static const char *status_value(struct status_text *t, const char *key)
{
	const size_t len = strlen(key);
	const char *p = find_key(t->at, NULL, key, len);

	if (!p)
		p = find_key(t->text, t->at, key, len);
	if (!p)
		return NULL;
	t->at = p;
	p += len + 1;
	return p + strspn(p, " \t");
}

static uint64_t status_number(struct status_text *t, const char *key, int base)
{
	const char *p = status_value(t, key);

	return p ? strtoull(p, NULL, base) : 0;
}

static void status_four(struct status_text *t, const char *key, uint32_t ret[4])
{
	const char *p = status_value(t, key);
	char *end;

	for (int i = 0; p && i < 4; i++) {
		ret[i] = (uint32_t)strtoul(p, &end, 10);
		p = end;
	}
}

static int status_groups(struct status_text *t, struct proc_status *st, struct stasis_error *err)
{
	const char *p = status_value(t, "Groups");
	uint32_t *groups;
	char *end;

	if (!p || *p == '\n')
		return 0;
	/* one group takes two characters at least */
	groups = malloc((strcspn(p, "\n") / 2 + 1) * sizeof(*groups));
	if (!groups)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the group list");
	while (*p != '\n' && *p && st->nr_groups < PROC_MAX_GROUPS) {
		groups[st->nr_groups] = (uint32_t)strtoul(p, &end, 10);
		if (end == p)
			break;
		st->nr_groups++;
		p = end + strspn(end, " \t");
	}
	st->groups = groups;
	return 0;
}

/* A line with a number for each pid namespace from ours inwards; returns how many. */
static uint32_t status_ns_ids(struct status_text *t, const char *key, pid_t ret[PROC_MAX_NS_IDS])
{
	const char *p = status_value(t, key);
	uint32_t nr = 0;
	char *end;

	while (p && *p != '\n' && *p && nr < PROC_MAX_NS_IDS) {
		ret[nr] = (pid_t)strtol(p, &end, 10);
		if (end == p)
			break;
		nr++;
		p = end + strspn(end, " \t");
	}
	return nr;
}

int proc_read_status(int procfd, const char *name, struct proc_status *ret,
		     struct stasis_error *err)
{
	scoped_free char *text = NULL;
	struct status_text t;
	size_t len;

	if (io_read_file_at(procfd, name, PROC_STATUS_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	memset(ret, 0, sizeof(*ret));
	t.text = t.at = text;
	ret->has_umask = status_value(&t, "Umask") != NULL;
	ret->umask = (uint32_t)status_number(&t, "Umask", 8);
	ret->tgid = (pid_t)status_number(&t, "Tgid", 10);
	ret->tracer = (pid_t)status_number(&t, "TracerPid", 10);
	status_four(&t, "Uid", ret->uid);
	status_four(&t, "Gid", ret->gid);
	if (status_groups(&t, ret, err) < 0)
		return -1;
	ret->nr_ns_ids = status_ns_ids(&t, "NSpid", ret->ns_pid);
	(void)status_ns_ids(&t, "NSpgid", ret->ns_pgid);
	(void)status_ns_ids(&t, "NSsid", ret->ns_sid);
	ret->locked_kb = status_number(&t, "VmLck", 10);
	ret->core_dumping = status_number(&t, "CoreDumping", 10) != 0;
	ret->sig_pnd = status_number(&t, "SigPnd", 16);
	ret->shd_pnd = status_number(&t, "ShdPnd", 16);
	ret->sig_blk = status_number(&t, "SigBlk", 16);
	ret->sig_ign = status_number(&t, "SigIgn", 16);
	ret->sig_cgt = status_number(&t, "SigCgt", 16);
	ret->cap_inh = status_number(&t, "CapInh", 16);
	ret->cap_prm = status_number(&t, "CapPrm", 16);
	ret->cap_eff = status_number(&t, "CapEff", 16);
	ret->cap_bnd = status_number(&t, "CapBnd", 16);
	ret->cap_amb = status_number(&t, "CapAmb", 16);
	ret->no_new_privs = status_number(&t, "NoNewPrivs", 10) != 0;
	ret->seccomp = (uint32_t)status_number(&t, "Seccomp", 10);
	ret->nr_seccomp_filters = (uint32_t)status_number(&t, "Seccomp_filters", 10);
	return 0;
}

void proc_status_done(struct proc_status *st)
{
	free(st->groups);
	st->groups = NULL;
	st->nr_groups = 0;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static int append_number(int **list, size_t *nr, size_t *room, const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);
	int *bigger;

	if (end == text || *end || value < 0 || value > INT_MAX)
		return 0;
	if (*nr == *room) {
		bigger = realloc(*list, (*room ? *room * 2 : 64) * sizeof(**list));
		if (!bigger)
			return -1;
		*list = bigger;
		*room = *room ? *room * 2 : 64;
	}
	(*list)[(*nr)++] = (int)value;
	return 0;
}

int proc_list_numbers(int procfd, const char *name, int **ret, size_t *ret_nr,
		      struct stasis_error *err)
{
	scoped_fd int fd = openat(procfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	scoped_free int *list = NULL;
	size_t nr = 0, room = 0;
	struct dirent *entry;

	if (!dir)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", name);
	(void)fd_take(&fd); /* dir owns it */
	while ((entry = readdir(dir)))
		if (append_number(&list, &nr, &room, entry->d_name) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory to list '%s'", name);
	if (nr)
		qsort(list, nr, sizeof(*list), compare_ints);
	*ret = ptr_take(&list);
	*ret_nr = nr;
	return 0;
}

void proc_unescape(char *field)
{
	char *to = field;

	for (; *field; field++, to++) {
		unsigned value;

		if (*field == '\\' && sscanf(field + 1, "%3o", &value) == 1) {
			*to = (char)value;
			field += 3;
		} else {
			*to = *field;
		}
	}
	*to = '\0';
}

char *proc_readlink(int procfd, const char *name, struct stasis_error *err)
{
	char buf[PATH_MAX + 16];
	ssize_t n = readlinkat(procfd, name, buf, sizeof(buf) - 1);
	char *copy;

	if (n < 0) {
		(void)stasis_fail_errno(err, STASIS_E_IO, "read link '%s'", name);
		return NULL;
	}
	buf[n] = '\0';
	copy = strdup(buf);
	if (!copy)
		(void)stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	return copy;
}

bool proc_read_ns(int procfd, const char *name, char ret[PROC_NS_BYTES])
{
	ssize_t n = readlinkat(procfd, name, ret, PROC_NS_BYTES - 1);

	ret[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* A line "monotonic  SECONDS  NANOSECONDS". */
static int64_t timens_line(const char *text, const char *key)
{
	const char *p = strstr(text, key);
	long long s, ns;

	if (!p || sscanf(p + strlen(key), "%lld %lld", &s, &ns) != 2 || s > INT32_MAX ||
	    s < INT32_MIN || ns < 0 || ns >= PROC_NS_PER_S)
		return 0;
	return s * PROC_NS_PER_S + ns;
}

int proc_read_timens(int procfd, struct proc_timens *ret, struct stasis_error *err)
{
	struct proc_timens r = {0};
	scoped_free char *text = NULL;
	struct stasis_error local;
	size_t len;

	if (io_read_file_at(procfd, "timens_offsets", PROC_TIMENS_MAX_BYTES, &text, &len, &local) == 0) {
		r.monotonic_ns = timens_line(text, "monotonic");
		r.boottime_ns = timens_line(text, "boottime");
	} else if (local.sys_errno != ENOENT) {
		if (err)
			*err = local;
		return -1;
	}
	*ret = r;
	return 0;
}

bool proc_has_open(int procfd, const struct stat *inode)
{
	scoped_free int *fds = NULL;
	char name[32];
	struct stat st;
	size_t nr;

	if (proc_list_numbers(procfd, "fd", &fds, &nr, NULL) < 0)
		return false;
	for (size_t i = 0; i < nr; i++) {
		(void)snprintf(name, sizeof(name), "fd/%d", fds[i]);
		if (fstatat(procfd, name, &st, 0) == 0 && st.st_dev == inode->st_dev &&
		    st.st_ino == inode->st_ino)
			return true;
	}
	return false;
}

bool proc_await_stopped(int procfd)
{
	enum { TRIES = 5000 };
	const struct timespec pause = {.tv_nsec = 100000};
	struct proc_stat st;

	for (int i = 0; i < TRIES; i++) {
		if (proc_read_stat(procfd, "stat", &st, NULL) < 0 || strchr("TZX", st.state))
			return true;
		(void)nanosleep(&pause, NULL); /* too short is fine */
	}
	return false;
}
