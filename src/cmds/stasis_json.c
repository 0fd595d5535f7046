/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON forms of processes and descriptors; names of members are documented in stasis(1). */
#include "cmds/stasis_priv.h"

#include "cmds/show.h"
#include "lib/scoped.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* For text that is not UTF-8: every byte outside ASCII as \ooo. */
static json_t *escaped_text(const char *text)
{
	scoped_free char *copy = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&copy, &len);

	if (!out)
		return NULL;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x80)
			fputc(*c, out);
		else
			fprintf(out, "\\%03o", (unsigned char)*c);
	}
	if (fclose(out) != 0)
		return NULL;
	return json_string(copy);
}

json_t *json_text(const char *text)
{
	json_t *value;

	if (!text)
		return json_null();
	value = json_string(text); /* NULL when it is not UTF-8 */
	return value ? value : escaped_text(text);
}

static json_t *json_fd(const struct stasis_fd_info *f)
{
	json_t *o = json_object();
	char mode[11];

	show_mode(f->mode, mode);
	json_object_set_new(o, "fd", json_integer(f->fd));
	json_object_set_new(o, "path", json_text(f->path));
	json_object_set_new(o, "kind", json_text(f->kind));
	json_object_set_new(o, "supported", json_boolean(f->is_supported));
	json_object_set_new(o, "obstacle", json_text(f->is_supported ? NULL : f->obstacle));
	json_object_set_new(o, "regular", json_boolean(f->is_regular));
	json_object_set_new(o, "mode", json_string(mode));
	json_object_set_new(o, "uid", json_integer(f->uid));
	json_object_set_new(o, "mtime", json_integer(f->mtime_s));
	json_object_set_new(o, "size", json_integer((json_int_t)f->size));
	json_object_set_new(o, "offset", json_integer((json_int_t)f->pos));
	if (S_ISCHR(f->mode) || S_ISBLK(f->mode)) {
		json_object_set_new(o, "major", json_integer(major(f->rdev)));
		json_object_set_new(o, "minor", json_integer(minor(f->rdev)));
	}
	return o;
}

static json_t *json_process(const struct stasis_proc_info *p)
{
	json_t *o = json_object(), *obstacles = json_array(), *fds = json_array();

	for (size_t i = 0; i < p->nr_obstacles; i++)
		json_array_append_new(obstacles, json_text(p->obstacles[i]));
	for (size_t i = 0; i < p->nr_fds; i++)
		json_array_append_new(fds, json_fd(&p->fds[i]));
	json_object_set_new(o, "name", json_text(p->name));
	json_object_set_new(o, "pid", json_integer(p->pid));
	json_object_set_new(o, "ppid", json_integer(p->ppid));
	json_object_set_new(o, "pgrp", json_integer(p->pgrp));
	json_object_set_new(o, "sid", json_integer(p->sid));
	json_object_set_new(o, "zombie", json_boolean(p->is_zombie));
	json_object_set_new(o, "user_seconds", json_real((double)p->user_ns / 1e9));
	json_object_set_new(o, "system_seconds", json_real((double)p->system_ns / 1e9));
	json_object_set_new(o, "obstacles", obstacles);
	json_object_set_new(o, "fds", fds);
	return o;
}

json_t *json_tree(const struct stasis_tree_info *info)
{
	json_t *procs = json_array();

	for (size_t i = 0; i < info->nr_procs; i++)
		json_array_append_new(procs, json_process(&info->procs[i]));
	return procs;
}

int json_print(json_t *value)
{
	int rc = value ? json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : -1;

	json_decref(value);
	if (rc < 0) {
		cmd_message("cannot write JSON: out of memory");
		return 1;
	}
	putchar('\n');
	return 0;
}
