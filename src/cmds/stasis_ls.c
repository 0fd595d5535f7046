/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stasis ls: the checkpoint files of a folder. A file is a member when another file of the folder
 * has its process in its tree and the names of the two follow the rule of the CONVEX guide:
 * ROOT.LINEAGE.COMMAND.PID, where ROOT is the root's file name (-f) or its command name.
 */
#include "cmds/stasis_priv.h"

#include "cmds/show.h"
#include "lib/scoped.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
	const char *name; /* the caller's */
	uint64_t size;
	uint64_t disk_bytes;
	struct stasis_tree_info *info; /* NULL: damaged, see err */
	struct stasis_error err;
	bool is_member;
};

struct listing {
	struct dirent **names;
	int nr_names;
	struct entry *entries;
	size_t nr;
};

static void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->nr; i++)
		stasis_tree_info_free(l->entries[i].info);
	for (int i = 0; i < l->nr_names; i++)
		free(l->names[i]);
	free(l->names);
	free(l->entries);
}

/* Drafts have hidden names. */
static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* A regular file that begins as a core file does. */
static bool is_core_file(int dirfd, const char *name, struct stat *ret_st)
{
	scoped_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	Elf64_Ehdr head;

	return fd >= 0 && fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode) &&
	       pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_type == ET_CORE;
}

static void add_entry(struct listing *l, int dirfd, const char *name)
{
	struct entry *e = &l->entries[l->nr];
	struct stat st;

	if (!is_core_file(dirfd, name, &st))
		return;
	*e = (struct entry){
		.name = name,
		.size = (uint64_t)st.st_size,
		.disk_bytes =
			(uint64_t)st.st_blocks * 512, /* unit of st_blocks, whatever the disk */
	};
	if (stasis_image_inspect(dirfd, name, &e->info, &e->err) == 0 && e->info->nr_procs == 0) {
		stasis_tree_info_free(ptr_take(&e->info));
		stasis_fail(&e->err, STASIS_E_CORRUPT, "it holds no process");
	}
	l->nr++;
}

/* Does `name` begin with "PREFIX."? Returns what follows. */
static const char *after_prefix(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && name[len] == '.' ? name + len + 1 : NULL;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Is the process of file `e` a descendant in the tree of file `root`, by content and by name? */
static bool is_member_of(const struct entry *e, const struct entry *root)
{
	const struct stasis_proc_info *self = &e->info->procs[0];
	const char *rest = after_prefix(e->name, root->name);
	char tail[32 + sizeof(self->name)];

	if (!rest)
		rest = after_prefix(e->name, root->info->procs[0].name);
	(void)snprintf(tail, sizeof(tail), "%s.%d", self->name, self->pid);
	if (!rest || !ends_with(rest, tail))
		return false;
	for (size_t i = 1; i < root->info->nr_procs; i++) {
		const struct stasis_proc_info *p = &root->info->procs[i];

		if (p->pid == self->pid && strcmp(p->name, self->name) == 0)
			return true;
	}
	return false;
}

static void mark_members(struct listing *l)
{
	for (size_t i = 0; i < l->nr; i++) {
		for (size_t j = 0; j < l->nr && l->entries[i].info; j++) {
			if (j != i && l->entries[j].info &&
			    is_member_of(&l->entries[i], &l->entries[j]))
				l->entries[i].is_member = true;
		}
	}
}

static int listing_read(const char *path, struct listing *l, struct stasis_error *err)
{
	scoped_fd int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", path);
	l->nr_names = scandirat(dirfd, ".", &l->names, is_visible, alphasort);
	if (l->nr_names < 0) {
		l->nr_names = 0;
		return stasis_fail_errno(err, STASIS_E_IO, "%s", path);
	}
	l->entries = calloc((size_t)l->nr_names + 1, sizeof(*l->entries));
	if (!l->entries)
		return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	for (int i = 0; i < l->nr_names; i++)
		add_entry(l, dirfd, l->names[i]->d_name);
	mark_members(l);
	return 0;
}

static const char *role(const struct entry *e)
{
	if (!e->info)
		return "damaged";
	return e->is_member ? "member" : "root";
}

static void print_table(const struct listing *l)
{
	if (l->nr)
		printf("%-7s %8s %-16s %14s  %s\n", "ROLE", "PID", "COMMAND", "SIZE", "NAME");
	for (size_t i = 0; i < l->nr; i++) {
		const struct entry *e = &l->entries[i];
		const struct stasis_proc_info *p = e->info ? &e->info->procs[0] : NULL;

		printf("%-7s ", role(e));
		if (p)
			printf("%8d ", p->pid);
		else
			printf("%8s ", "-");
		show_text(stdout, p ? p->name : "-");
		printf("%*s %14llu  ", p ? 16 - (int)strlen(p->name) : 15, "",
		       (unsigned long long)e->size);
		show_text(stdout, e->name);
		putchar('\n');
	}
}

static json_t *json_entry(const struct entry *e)
{
	const struct stasis_proc_info *p = e->info ? &e->info->procs[0] : NULL;
	json_t *o = json_object();

	json_object_set_new(o, "name", json_text(e->name));
	json_object_set_new(o, "role", json_string(role(e)));
	json_object_set_new(o, "size", json_integer((json_int_t)e->size));
	json_object_set_new(o, "disk", json_integer((json_int_t)e->disk_bytes));
	if (p) {
		json_object_set_new(o, "command", json_text(p->name));
		json_object_set_new(o, "pid", json_integer(p->pid));
		json_object_set_new(o, "processes", json_integer((json_int_t)e->info->nr_procs));
	} else {
		json_object_set_new(o, "error", json_text(e->err.text));
	}
	return o;
}

static int print_json(const struct listing *l)
{
	json_t *all = json_array();

	for (size_t i = 0; i < l->nr; i++)
		json_array_append_new(all, json_entry(&l->entries[i]));
	return json_print(all);
}

/* The exit status is that of the first file that cannot be read. */
int stasis_ls(struct stasis_opts *o)
{
	scoped(listing_done) struct listing l = {0};
	const char *path = o->nr_args ? o->args[0] : ".";
	struct stasis_error err;
	int status = 0;

	if (listing_read(path, &l, &err) < 0)
		return cmd_report(&err);
	if (!o->is_json)
		print_table(&l);
	else if (print_json(&l) != 0)
		return 1;
	for (size_t i = 0; i < l.nr; i++) {
		const struct entry *e = &l.entries[i];

		if (e->info)
			continue;
		cmd_warn(&o->log, "%s: %s", e->name, e->err.text);
		if (!status)
			status = stasis_exit_status(e->err.cls);
	}
	return status;
}
