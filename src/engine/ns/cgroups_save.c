/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In which cgroups a process is: a line of /proc/PID/cgroup for each hierarchy (cgroups(7)), of which
 * version 2 is one and version 1 has as many as are mounted.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CGROUP_MAX_BYTES = 1 << 20 };

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
}

/* "ID:CONTROLLERS:PATH"; the path may have colons. */
static int parse_line(char *line, struct arena *a, Stasis__CgroupPlace **ret, struct stasis_error *err)
{
	char *hierarchy = strchr(line, ':');
	char *path = hierarchy ? strchr(hierarchy + 1, ':') : NULL;
	Stasis__CgroupPlace *p = arena_alloc(a, sizeof(*p));

	if (!p)
		return no_memory(err);
	if (!path)
		return stasis_fail(err, STASIS_E_INTERNAL, "/proc/PID/cgroup does not look like proc(5) says");
	*path++ = '\0';
	stasis__cgroup_place__init(p);
	p->hierarchy = arena_strdup(a, hierarchy + 1);
	p->path = arena_strdup(a, path);
	*ret = p;
	return p->hierarchy && p->path ? 0 : no_memory(err);
}

/* Empty on a kernel without cgroups. */
int ns_cgroups_read_text(int procfd, const char *name, char **ret, struct stasis_error *err)
{
	size_t len;

	if (io_read_file_at(procfd, name, CGROUP_MAX_BYTES, ret, &len, err) == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	*ret = strdup("");
	return *ret ? 0 : no_memory(err);
}

bool ns_cgroups_are(int procfd, const char *name, const char *text)
{
	scoped_fd int fd = openat(procfd, name, O_RDONLY | O_CLOEXEC);
	size_t len = strlen(text);
	char own[4096];

	return fd >= 0 && len < sizeof(own) && read(fd, own, sizeof(own)) == (ssize_t)len &&
	       memcmp(own, text, len) == 0;
}

int ns_cgroups_read(int procfd, const char *name, struct arena *a, Stasis__CgroupPlace ***ret,
		    size_t *ret_nr, struct stasis_error *err)
{
	Stasis__CgroupPlace **list = arena_alloc(a, NS_MAX_HIERARCHIES * sizeof(*list));
	scoped_free char *text = NULL;
	char *save, *line;
	size_t nr = 0;

	if (!list)
		return no_memory(err);
	*ret = list;
	*ret_nr = 0;
	if (ns_cgroups_read_text(procfd, name, &text, err) < 0)
		return -1;
	for (line = strtok_r(text, "\n", &save); line && nr < NS_MAX_HIERARCHIES;
	     line = strtok_r(NULL, "\n", &save))
		if (parse_line(line, a, &list[nr++], err) < 0)
			return -1;
	*ret_nr = nr;
	return 0;
}

static const char *path_in(Stasis__CgroupPlace *const *list, size_t nr, const char *hierarchy)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(list[i]->hierarchy, hierarchy))
			return list[i]->path;
	return NULL;
}

int ns_cgroups_read_others(int procfd, const char *name, const struct ns_cgroups_of *leader,
			   struct arena *a, Stasis__CgroupPlace ***ret, size_t *ret_nr,
			   struct stasis_error *err)
{
	size_t nr, kept = 0;

	if (ns_cgroups_read(procfd, name, a, ret, &nr, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		const char *path = path_in(leader->list, leader->nr, (*ret)[i]->hierarchy);

		if (!path || strcmp(path, (*ret)[i]->path) != 0)
			(*ret)[kept++] = (*ret)[i];
	}
	*ret_nr = kept;
	return 0;
}

/* ---- the roots of a cgroup namespace ---- */

struct roots_job {
	int procfd;
	char *text; /* shared memory */
};

static int read_inside(void *arg, struct stasis_error *err)
{
	struct roots_job *job = arg;
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(job->procfd, "cgroup", CGROUP_MAX_BYTES - 1, &text, &len, err) < 0)
		return -1;
	memcpy(job->text, text, len + 1);
	return 0;
}

/* Seen from inside, the path of a process lacks the part that leads to the root of the namespace. */
static bool cut_root(Stasis__CgroupPlace *outside, const char *inside)
{
	size_t whole = strlen(outside->path), part = strcmp(inside, "/") ? strlen(inside) : 0;

	if (!strncmp(inside, "/..", 3) || part > whole ||
	    strcmp(outside->path + whole - part, inside + (part ? 0 : 1)) != 0)
		return false; /* it has been moved out of there since */
	outside->path[whole - part] = '\0';
	if (whole == part)
		memcpy(outside->path, "/", 2);
	return true;
}

static int read_roots(struct ns_save *n, struct ns_entry *e, char *inside, struct stasis_error *err)
{
	Stasis__CgroupPlace **list, *in;
	size_t nr, kept = 0;
	char *save, *line;

	if (ns_cgroups_read(e->first->procfd, "cgroup", &n->arena, &list, &nr, err) < 0)
		return -1;
	for (line = strtok_r(inside, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (parse_line(line, &n->arena, &in, err) < 0)
			return -1;
		for (size_t i = kept; i < nr; i++)
			if (!strcmp(list[i]->hierarchy, in->hierarchy) && cut_root(list[i], in->path)) {
				Stasis__CgroupPlace *root = list[i];

				list[i] = list[kept];
				list[kept++] = root;
				break;
			}
	}
	e->rec.cgroup_roots = list;
	e->rec.n_cgroup_roots = kept;
	return 0;
}

int ns_save_cgroup_roots(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	struct roots_job job = {.procfd = e->first->procfd};
	int result;

	job.text = mmap(NULL, CGROUP_MAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job.text == MAP_FAILED)
		return no_memory(err);
	result = ns_run_inside(e->first, "cgroup", read_inside, &job, err);
	if (result == 0)
		result = read_roots(n, e, job.text, err);
	(void)munmap(job.text, CGROUP_MAX_BYTES);
	return result;
}
