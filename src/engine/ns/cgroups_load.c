/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts processes into cgroups: those they were in, or one that the user names. A process moves itself
 * right after its birth, so that its memory counts where it belongs, by a file that the builder has opened:
 * the kernel asks what the opener may do, and in which cgroup namespace he was.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MAX_PLACES = 1024, STATE_MAX_BYTES = 4096 };

/* One cgroup that somebody is to be in. */
struct place {
	size_t hierarchy;
	char *path;
	int dir, procs; /* its folder, and cgroup.procs; -1: cannot be opened, and nobody needs to */
	struct stasis_error why;
};

struct ns_cgroups {
	struct session *s;
	bool joins; /* all go where the user says; else each where it was */
	struct arena arena;
	struct mount_list mounts;
	/* Each process has a copy of its own, made at its birth: where it is now. */
	size_t nr_now;
	Stasis__CgroupPlace **now;
	size_t nr_join;
	Stasis__CgroupPlace **join;
	size_t nr;
	struct place v[MAX_PLACES];
};

/* ---- hierarchies ---- */

static bool has_word(const char *list, const char *word, size_t len)
{
	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == len && !strncmp(p, word, len))
			return true;
	return false;
}

/* A mount of a version 1 hierarchy has its controllers, or its name, among the options. */
static bool is_hierarchy(const struct mount_line *m, const char *hierarchy)
{
	if (!*hierarchy)
		return !strcmp(m->type, "cgroup2");
	if (strcmp(m->type, "cgroup") != 0)
		return false;
	for (const char *p = hierarchy; *p; p += strcspn(p, ","), p += *p == ',')
		if (!has_word(m->options, p, strcspn(p, ",")))
			return false;
	return true;
}

static size_t find_now(const struct ns_cgroups *c, const char *hierarchy)
{
	size_t i = 0;

	while (i < c->nr_now && strcmp(c->now[i]->hierarchy, hierarchy) != 0)
		i++;
	return i;
}

static const char *name_of(const char *hierarchy)
{
	return *hierarchy ? hierarchy : "version 2";
}

/* The folder of a cgroup, by the first mount that shows it. */
static int folder_of(const struct ns_cgroups *c, const Stasis__CgroupPlace *p, char *buf, size_t size)
{
	for (size_t i = 0; i < c->mounts.nr; i++) {
		const struct mount_line *m = &c->mounts.v[i];

		if (m->is_covered || !is_hierarchy(m, p->hierarchy) || !ns_is_below(m->root, p->path))
			continue;
		if (ns_join_path(buf, size, m->point,
				 p->path + (strcmp(m->root, "/") ? strlen(m->root) : 0)) == 0)
			return 0;
	}
	return -1;
}

/* ---- opening ---- */

static bool has_line(int dir, const char *file, const char *line)
{
	scoped_free char *text = NULL;
	size_t len;

	return io_read_file_at(dir, file, STATE_MAX_BYTES, &text, &len, NULL) == 0 && strstr(text, line);
}

/* What goes in there stops at once, and the restart with it. */
static bool is_frozen(int dir)
{
	return has_line(dir, "cgroup.events", "frozen 1") || has_line(dir, "freezer.state", "FR");
}

static int open_place(struct ns_cgroups *c, const Stasis__CgroupPlace *p, struct place *ret,
		      struct stasis_error *err)
{
	char folder[2 * PATH_MAX];

	if (folder_of(c, p, folder, sizeof(folder)) < 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "cgroup '%.100s': the hierarchy '%.40s' is not mounted here", p->path,
				   name_of(p->hierarchy));
	ret->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->dir < 0)
		return stasis_fail_errno(err, errno == ENOENT ? STASIS_E_GONE : STASIS_E_DENIED,
					 "cgroup '%.150s'", folder);
	if (is_frozen(ret->dir))
		return stasis_fail(err, STASIS_E_BUSY, "cgroup '%.150s' is frozen; thaw it first", folder);
	ret->procs = openat(ret->dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return ret->procs < 0 ? stasis_fail_errno(err, STASIS_E_DENIED, "cgroup '%.150s'", folder) : 0;
}

static struct place *find_place(struct ns_cgroups *c, const Stasis__CgroupPlace *p)
{
	size_t hierarchy = find_now(c, p->hierarchy);

	for (size_t i = 0; i < c->nr; i++)
		if (c->v[i].hierarchy == hierarchy && !strcmp(c->v[i].path, p->path))
			return &c->v[i];
	return NULL;
}

static int check_place(const Stasis__CgroupPlace *p, struct stasis_error *err)
{
	if (p->path[0] != '/' || strlen(p->path) >= PATH_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "cgroup '%.100s'", p->path);
	for (const char *part = p->path; part; part = strchr(part + 1, '/'))
		if (!strncmp(part, "/..", 3) && (part[3] == '/' || !part[3]))
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "cgroup '%.100s' was outside of the cgroup namespace of the "
					   "checkpoint", p->path);
	return 0;
}

/* One where we are already needs no right to move there; whether somebody must is not known yet. */
static int add_place(struct ns_cgroups *c, const Stasis__CgroupPlace *p, struct stasis_error *err)
{
	struct place *v = &c->v[c->nr];

	if (check_place(p, err) < 0)
		return -1;
	if (find_place(c, p))
		return 0;
	if (c->nr == MAX_PLACES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "the processes were in more than %d cgroups",
				   MAX_PLACES);
	*v = (struct place){.hierarchy = find_now(c, p->hierarchy), .dir = -1, .procs = -1};
	if (v->hierarchy == c->nr_now) {
		if (!strcmp(p->path, "/"))
			return 0; /* a hierarchy that is not here, and did nothing there */
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "cgroup '%.100s': there is no hierarchy '%.40s' here", p->path,
				   name_of(p->hierarchy));
	}
	v->path = arena_strdup(&c->arena, p->path);
	if (!v->path)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
	c->nr++;
	if (open_place(c, p, v, &v->why) == 0 || !strcmp(c->now[v->hierarchy]->path, p->path))
		return 0;
	if (err)
		*err = v->why;
	return -1;
}

static const char way_out[] = "; make it, or use restart --cgroup=join=PATH or --cgroup=ignore";

int ns_cgroups_add(struct ns_cgroups *c, Stasis__CgroupPlace *const *list, size_t nr,
		   struct stasis_error *err)
{
	struct stasis_error why;

	for (size_t i = 0; i < nr && !c->joins; i++) {
		if (add_place(c, list[i], &why) == 0)
			continue;
		if (c->s->is_forced) {
			s_warn(c->s, "%s; the processes stay in the cgroup of restart", why.text);
			continue;
		}
		return stasis_fail(err, why.cls, "%s%s", why.text,
				   why.cls == STASIS_E_GONE ? way_out : "");
	}
	return 0;
}

/* ---- --cgroup=join=PATH ---- */

static int add_join(struct ns_cgroups *c, const char *hierarchy, const char *path, struct stasis_error *err)
{
	Stasis__CgroupPlace *p = arena_alloc(&c->arena, sizeof(*p));

	if (!p || c->nr_join == NS_MAX_HIERARCHIES)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
	stasis__cgroup_place__init(p);
	p->hierarchy = arena_strdup(&c->arena, hierarchy);
	p->path = arena_strdup(&c->arena, path);
	if (!p->hierarchy || !p->path)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
	if (add_place(c, p, err) < 0)
		return -1;
	c->join[c->nr_join++] = p;
	return 0;
}

static bool is_cgroup_folder(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 &&
	       (fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC);
}

/* The innermost mount a folder is on, and with that its cgroup. */
static int join_folder(struct ns_cgroups *c, const char *given, struct stasis_error *err)
{
	const struct mount_line *best = NULL;
	scoped_free char *path = realpath(given, NULL);
	char name[2 * PATH_MAX];

	for (size_t i = 0; path && i < c->mounts.nr; i++) {
		const struct mount_line *m = &c->mounts.v[i];

		if (!m->is_covered && ns_is_below(m->point, path) && !strncmp(m->type, "cgroup", 6) &&
		    (!best || strlen(m->point) > strlen(best->point)))
			best = m;
	}
	if (!best)
		return stasis_fail_errno(err, STASIS_E_GONE, "cgroup '%.150s'", given);
	if (ns_join_path(name, sizeof(name), best->root, path + strlen(best->point)) < 0)
		return stasis_fail(err, STASIS_E_USAGE, "cgroup '%.150s'", given);
	for (size_t i = 0; i < c->nr_now; i++)
		if (is_hierarchy(best, c->now[i]->hierarchy))
			return add_join(c, c->now[i]->hierarchy, *name ? name : "/", err);
	return stasis_fail(err, STASIS_E_GONE, "cgroup '%.150s' is of no hierarchy of this machine", given);
}

/* In each hierarchy that has a cgroup of that name. */
static int join_name(struct ns_cgroups *c, const char *path, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_now; i++) {
		char folder[2 * PATH_MAX], name[PATH_MAX];
		Stasis__CgroupPlace p = STASIS__CGROUP_PLACE__INIT;

		p.hierarchy = c->now[i]->hierarchy;
		p.path = name;
		if (snprintf(name, sizeof(name), "%s", path) >= (int)sizeof(name))
			return stasis_fail(err, STASIS_E_USAGE, "cgroup '%.100s'", path);
		if (check_place(&p, err) < 0)
			return -1;
		if (folder_of(c, &p, folder, sizeof(folder)) == 0 && is_cgroup_folder(folder) &&
		    add_join(c, p.hierarchy, p.path, err) < 0)
			return -1;
	}
	if (!c->nr_join)
		return stasis_fail(err, STASIS_E_GONE,
				   "there is no cgroup '%.150s'; make it, or name the folder of one", path);
	return 0;
}

int ns_cgroups_open(struct session *s, const char *join, struct ns_cgroups **ret,
		    struct stasis_error *err)
{
	struct ns_cgroups *c = *ret = calloc(1, sizeof(*c));

	if (!c)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
	c->s = s;
	c->joins = join != NULL;
	c->join = arena_alloc(&c->arena, NS_MAX_HIERARCHIES * sizeof(*c->join));
	if (!c->join)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for cgroups");
	if (ns_mounts_read(AT_FDCWD, "/proc/self/mountinfo", &c->mounts, err) < 0 ||
	    ns_cgroups_read(AT_FDCWD, "/proc/self/cgroup", &c->arena, &c->now, &c->nr_now, err) < 0)
		return -1;
	if (!join)
		return 0;
	return is_cgroup_folder(join) ? join_folder(c, join, err) : join_name(c, join, err);
}

/* ---- moving ---- */

static int fail_move(const struct ns_cgroups *c, const struct place *v, struct stasis_error *err)
{
	const char *hierarchy = name_of(c->now[v->hierarchy]->hierarchy);

	if (errno == EBUSY)
		return stasis_fail_errno(err, STASIS_E_BUSY,
					 "cgroup '%.80s' (%.40s) has controllers for groups below it "
					 "(cgroup.subtree_control), so that no process can be in it",
					 v->path, hierarchy);
	return stasis_fail_errno(err, STASIS_E_DENIED, "move to cgroup '%.80s' (%.40s)", v->path, hierarchy);
}

static int enter(struct ns_cgroups *c, const struct place *v, struct stasis_error *err)
{
	if (!strcmp(c->now[v->hierarchy]->path, v->path))
		return 0;
	if (v->procs < 0) {
		if (err)
			*err = v->why;
		return -1;
	}
	if (write(v->procs, "0", 1) < 0)
		return fail_move(c, v, err);
	c->now[v->hierarchy]->path = v->path;
	return 0;
}

int ns_cgroups_enter(struct ns_cgroups *c, Stasis__CgroupPlace *const *list, size_t nr,
		     struct stasis_error *err)
{
	struct stasis_error why;

	if (c->joins) {
		list = c->join;
		nr = c->nr_join;
	}
	for (size_t i = 0; i < nr; i++) {
		const struct place *v = find_place(c, list[i]);

		if (!v || enter(c, v, &why) == 0)
			continue;
		if (!c->s->is_forced) {
			if (err)
				*err = why;
			return -1;
		}
		s_warn(c->s, "%s", why.text);
	}
	return 0;
}

/* Only version 1 and threaded cgroups have threads apart from their process. */
static int move_thread(const struct ns_cgroups *c, const struct place *v, pid_t tid,
		       struct stasis_error *err)
{
	bool is_v2 = !*c->now[v->hierarchy]->hierarchy;
	scoped_fd int fd = openat(v->dir, is_v2 ? "cgroup.threads" : "tasks", O_WRONLY | O_CLOEXEC);
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", tid);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return fail_move(c, v, err);
	return 0;
}

int ns_cgroups_place_thread(struct ns_cgroups *c, pid_t tid, Stasis__CgroupPlace *const *list, size_t nr,
			    struct stasis_error *err)
{
	struct stasis_error why;

	for (size_t i = 0; i < nr && !c->joins; i++) {
		const struct place *v = find_place(c, list[i]);

		if (!v || move_thread(c, v, tid, &why) == 0)
			continue;
		if (!c->s->is_forced) {
			if (err)
				*err = why;
			return stasis_fail_prefix(err, "thread %d", tid);
		}
		s_warn(c->s, "thread %d: %s", tid, why.text);
	}
	return 0;
}

void ns_cgroups_free(struct ns_cgroups *c)
{
	int saved = errno;

	if (!c)
		return;
	for (size_t i = 0; i < c->nr; i++) {
		scoped_close_fd(&c->v[i].dir);
		scoped_close_fd(&c->v[i].procs);
	}
	ns_mounts_done(&c->mounts);
	arena_done(&c->arena);
	free(c);
	errno = saved;
}
