/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads /proc/PID/mountinfo, proc(5). */
#include "ns/ns_priv.h"

#include "lib/io.h"
#include "lib/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOUNTINFO_MAX_BYTES = 4 << 20 };

void ns_mounts_done(struct mount_list *l)
{
	free(l->text);
	free(l->v);
}

static int parse_line(char *line, struct mount_line *m)
{
	char *save, *field = strtok_r(line, " ", &save);
	char **to[] = {&m->root, &m->point, &m->attributes};

	if (!field || sscanf(field, "%d", &m->id) != 1)
		return -1;
	field = strtok_r(NULL, " ", &save);
	if (!field || sscanf(field, "%d", &m->parent) != 1)
		return -1;
	field = strtok_r(NULL, " ", &save);
	if (!field || sscanf(field, "%u:%u", &m->major, &m->minor) != 2)
		return -1;
	for (size_t i = 0; i < 3; i++)
		if (!(*to[i] = strtok_r(NULL, " ", &save)))
			return -1;
	while ((field = strtok_r(NULL, " ", &save)) && strcmp(field, "-") != 0)
		m->is_shared |= !strncmp(field, "shared:", 7);
	m->type = strtok_r(NULL, " ", &save);
	m->source = strtok_r(NULL, " ", &save);
	m->options = strtok_r(NULL, " ", &save);
	if (!m->type || !m->source || !m->options)
		return -1;
	proc_unescape(m->root);
	proc_unescape(m->point);
	proc_unescape(m->source);
	proc_unescape(m->options);
	return 0;
}

bool ns_mount_covers(const struct mount_line *other, const struct mount_line *m)
{
	if (other->parent == m->id)
		return !strcmp(other->point, m->point);
	return other->parent == m->parent && strcmp(other->point, m->point) != 0 &&
	       ns_is_below(other->point, m->point);
}

/* Also with what it stands on, unless that is covered by nothing but `m` itself. */
static bool is_covered(const struct mount_list *l, const struct mount_line *m, const struct mount_line *but)
{
	const struct mount_line *parent = NULL;

	for (size_t k = 0; k < l->nr; k++) {
		const struct mount_line *other = &l->v[k];

		if (other != m && other != but && ns_mount_covers(other, m))
			return true;
		if (other != m && other->id == m->parent)
			parent = other;
	}
	return parent && is_covered(l, parent, m);
}

int ns_mounts_read(int procfd, const char *name, struct mount_list *ret, struct stasis_error *err)
{
	size_t len, room = 0;
	char *save, *line;

	if (io_read_file_at(procfd, name, MOUNTINFO_MAX_BYTES, &ret->text, &len, err) < 0)
		return -1;
	for (const char *p = ret->text; *p; p++)
		room += *p == '\n';
	if (room > NS_MAX_MOUNTS)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "%zu mounts in a namespace", room);
	ret->v = calloc(room + 1, sizeof(*ret->v));
	if (!ret->v)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for mounts");
	for (line = strtok_r(ret->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (parse_line(line, &ret->v[ret->nr++]) < 0)
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "mountinfo does not look like proc(5) says");
	for (size_t i = 0; i < ret->nr; i++)
		ret->v[i].is_covered = is_covered(ret, &ret->v[i], NULL);
	return 0;
}

bool ns_is_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);

	if (!strcmp(dir, "/"))
		return true;
	return !strncmp(dir, path, len) && (path[len] == '/' || !path[len]);
}

int ns_join_path(char *buf, size_t size, const char *a, const char *b)
{
	if (!strcmp(a, "/"))
		a = "";
	if (!strcmp(b, "/"))
		b = "";
	return snprintf(buf, size, "%s%s%s", a, *b && *b != '/' ? "/" : "", b) < (int)size ? 0 : -1;
}
