/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Builds the mounts of a namespace again: below a folder of a tmpfs that only the new namespace
 * has, which at the end becomes the root. File systems that show the maker's own namespaces (proc
 * its pids, sysfs its network) are mounted late, by the first process that is in all of them.
 */
#include "ns/ns_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the work goes on: a folder that is covered for the time, in this namespace only. Of an overlay the folders
 * are looked up meanwhile, which may well be in /tmp, but not in /sys; a container may have none. */
static const char *workplace(void)
{
	return access("/sys", F_OK) == 0 ? "/sys" : "/tmp";
}

enum { PLACE_BYTES = PATH_MAX + 64 };

/* A path of the new namespace as it is called while that is being built. */
static void place_in_new(const char *path, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s/root%s", workplace(), path);
}

static bool is_made_late(const Stasis__Mount *m)
{
	return m->file_system && (!strcmp(m->type, "proc") || !strcmp(m->type, "sysfs") ||
				  !strcmp(m->type, "mqueue"));
}

bool ns_mount_is_late(const Stasis__Namespace *rec, size_t i)
{
	for (;;) {
		if (is_made_late(rec->mounts[i]))
			return true;
		if (!rec->mounts[i]->parent)
			return false;
		i = rec->mounts[i]->parent - 1;
	}
}

static bool is_absolute(const char *path)
{
	return path[0] == '/' && !strstr(path, "/../") && strlen(path) < PATH_MAX - 64;
}

static int check_mount(const Stasis__Namespace *rec, size_t i, struct stasis_error *err)
{
	const Stasis__Mount *m = rec->mounts[i];
	bool is_bind = m->bind[0] != '\0';

	if (m->parent > i || (m->parent == 0) != (i == 0) || !is_absolute(m->point) ||
	    (is_bind && !is_absolute(m->bind)) || is_bind == (m->file_system != 0) ||
	    m->file_system > i + 1 || (m->file_system && !is_absolute(m->subtree)))
		return stasis_fail(err, STASIS_E_CORRUPT, "mount %zu ('%.100s') of a namespace", i,
				   m->point);
	if (ns_mount_is_late(rec, i) && m->file_system && strcmp(m->subtree, "/") != 0 &&
	    strcmp(rec->mounts[m->file_system - 1]->subtree, "/") != 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "'%.100s' is a part of a file system that is mounted late", m->point);
	return 0;
}

int ns_check_mounts(const Stasis__Namespace *rec, struct stasis_error *err)
{
	if (!rec->n_mounts || rec->n_mounts > NS_MAX_MOUNTS)
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu mounts in a namespace", rec->n_mounts);
	for (size_t i = 0; i < rec->n_mounts; i++)
		if (check_mount(rec, i, err) < 0)
			return -1;
	return 0;
}

/* ---- parts ---- */

/* A copy of a shared mount is of its peer group: what is mounted on it would appear on the original too. */
int ns_clone_mount(const char *path, bool is_whole)
{
	const unsigned depth = is_whole ? AT_RECURSIVE : 0;
	struct mount_attr attr = {.propagation = MS_PRIVATE};
	scoped_fd int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | depth);

	if (fd < 0 ||
	    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | depth, &attr, sizeof(attr)) < 0)
		return -1;
	return fd_take(&fd);
}

static bool is_mount(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) == 0 &&
	       st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* Is mount i there with what it stands on, because that was copied as a whole? */
static bool comes_along(const struct ns_made *m, size_t i)
{
	const Stasis__Mount *r = m->rec->mounts[i], *below;
	char path[2 * PATH_MAX];
	size_t up = r->parent ? r->parent - 1 : 0;

	if (!r->parent || !r->bind[0] || !(m->is_whole[up] || m->comes_along[up]) || !is_mount(r->bind))
		return false;
	below = m->rec->mounts[up];
	return ns_is_below(below->point, r->point) &&
	       ns_join_path(path, sizeof(path), below->bind,
			    r->point + (strcmp(below->point, "/") ? strlen(below->point) : 0)) == 0 &&
	       !strcmp(path, r->bind);
}

/* Without privilege a mount may not be taken from below those that stand on it: then as a whole. */
static int open_bind(struct ns_made *m, size_t i, struct stasis_error *err)
{
	const Stasis__Mount *r = m->rec->mounts[i];

	m->comes_along[i] = comes_along(m, i);
	if (m->comes_along[i])
		return 0;
	m->bind_fds[i] = ns_clone_mount(r->bind, false);
	if (m->bind_fds[i] < 0 && errno == EINVAL) {
		m->is_whole[i] = true;
		m->bind_fds[i] = ns_clone_mount(r->bind, true);
	}
	return m->bind_fds[i] < 0 ? stasis_fail_errno(err, STASIS_E_IO, "'%.100s', mounted on '%.60s'",
						      r->bind, r->point)
				  : 0;
}

int ns_load_open_binds(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	const Stasis__Namespace *rec = m->rec;

	(void)n;
	/* who needs one that there is not will say so */
	m->proc_fd = ns_clone_mount("/proc", false);
	m->sys_fd = ns_clone_mount("/sys", false);
	m->bind_fds = malloc((rec->n_mounts + 1) * sizeof(*m->bind_fds));
	m->is_whole = calloc(rec->n_mounts + 1, sizeof(*m->is_whole));
	m->comes_along = calloc(rec->n_mounts + 1, sizeof(*m->comes_along));
	if (!m->bind_fds || !m->is_whole || !m->comes_along)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for mounts");
	for (size_t i = 0; i < rec->n_mounts; i++)
		m->bind_fds[i] = -1;
	for (size_t i = 0; i < rec->n_mounts; i++)
		if (rec->mounts[i]->bind[0] && open_bind(m, i, err) < 0)
			return -1;
	return 0;
}

/* An option that this kernel does not take is no reason to fail: sizes and modes come first. */
static void set_options(struct ns_load *n, int fs, const Stasis__Mount *m)
{
	scoped_free char *copy = strdup(m->options);
	char *save = NULL;

	for (char *o = copy ? strtok_r(copy, ",", &save) : NULL; o; o = strtok_r(NULL, ",", &save)) {
		char *value = strchr(o, '=');

		if (!strcmp(o, "rw"))
			continue;
		if (value)
			*value++ = '\0';
		if (syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, o, value,
			    0) < 0)
			s_debug(n->s, "%s on '%s': option %s is not taken", m->type, m->point, o);
	}
}

static int make_file_system(struct ns_load *n, const Stasis__Mount *m, struct stasis_error *err)
{
	scoped_fd int fs = (int)syscall(SYS_fsopen, m->type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "file system %.20s for '%.100s'", m->type,
					 m->point);
	(void)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", m->source, 0);
	set_options(n, fs, m);
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make the %.20s for '%.100s'", m->type,
					 m->point);
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "mount the %.20s for '%.100s'", m->type,
					  m->point)
		      : fd;
}

/* The folders of an overlay are where they were when it was mounted: those of a container's root where its maker
 * found them, those of another one in the container. */
static int make_where_it_was(struct ns_load *n, const Stasis__Mount *m, struct stasis_error *err)
{
	scoped_fd int here = -1;
	char root[PLACE_BYTES];
	int fd;

	if (!m->parent || strcmp(m->type, "overlay") != 0)
		return make_file_system(n, m, err);
	here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	place_in_new("", root, sizeof(root));
	if (here < 0 || chroot(root) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "change the root to '%s'", root);
	fd = make_file_system(n, m, err);
	if (fchdir(here) < 0 || chroot(".") < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "change the root back");
	return fd;
}

/* The bytes of an object lie in one segment of the file that has them. */
static const struct image_segment *find_bytes(struct ns_load *n, uint64_t object,
					      struct image **ret_image)
{
	for (size_t p = 0; p < n->nr_procs; p++)
		for (size_t i = 0; i < image_nr_segments(n->procs[p].image); i++) {
			const struct image_segment *s = image_segment(n->procs[p].image, i);

			*ret_image = n->procs[p].image;
			if (s->type == IMAGE_SEG_BULK && s->object == object)
				return s;
		}
	return NULL;
}

static int extract(struct ns_load *n, const Stasis__Mount *m, const char *dir,
		   struct stasis_error *err)
{
	scoped_fd int dirfd = -1, copy = -1;
	const struct image_segment *seg;
	struct image *img = NULL;

	if (!m->object)
		return 0;
	seg = find_bytes(n, m->object, &img);
	if (!seg || seg->filesz != m->object_len)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the files of '%.100s' are with a process that is not restarted; "
				   "restart the hierarchy from its root",
				   m->point);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	copy = memfd_create("stasis-tmpfs", MFD_CLOEXEC);
	if (dirfd < 0 || copy < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.100s'", dir);
	if (io_copy_range(image_fd(img), seg->offset, copy, 0, seg->filesz, err) < 0)
		return -1;
	if (lseek(copy, 0, SEEK_SET) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "files of '%.100s'", m->point);
	return ns_archive_extract(n->archive, copy, dirfd, err);
}

static int move_to(int fd, const char *place, struct stasis_error *err)
{
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "mount on '%.150s'", place);
	return 0;
}

/* By descriptor: what is mounted on top may hide the place. The root may be shared only when it is that. */
static int set_attributes(int fd, const Stasis__Mount *m, struct stasis_error *err)
{
	bool is_shared = m->is_shared && m->parent;
	struct mount_attr attr = {
		.attr_set = m->attributes,
		.attr_clr = (m->attributes & MOUNT_ATTR_NOATIME) ? MOUNT_ATTR__ATIME : 0,
		.propagation = is_shared ? MS_SHARED : MS_PRIVATE,
	};

	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set the flags of the mount '%.150s'", m->point);
	return 0;
}

static int make_folders(char *path, struct stasis_error *err)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(path, 0755);
		*p = '/';
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return stasis_fail_errno(err, STASIS_E_IO, "mkdir '%s'", path);
	return 0;
}

/* The file system that mount i is a part of, at a place of its own; made when i is the first of it. */
static int place_of_file_system(struct ns_load *n, const Stasis__Namespace *rec, size_t i, char *buf,
				size_t size, struct stasis_error *err)
{
	const Stasis__Mount *m = rec->mounts[i];
	char base[64];
	scoped_fd int fd = -1;

	(void)snprintf(base, sizeof(base), "%s/fs%u", workplace(), m->file_system);
	if (snprintf(buf, size, "%s%s", base, strcmp(m->subtree, "/") ? m->subtree : "") >= (int)size)
		return stasis_fail(err, STASIS_E_CORRUPT, "path of '%.100s' is too long", m->point);
	if (mkdir(base, 0755) == 0) {
		fd = make_where_it_was(n, m, err);
		if (fd < 0 || move_to(fd, base, err) < 0)
			return -1;
	}
	if (!strcmp(m->type, "tmpfs") && make_folders(buf, err) < 0)
		return -1;
	return extract(n, m, buf, err);
}

/* A copy of mount i that stands nowhere yet. */
static int detached(struct ns_load *n, struct ns_made *made, size_t i, struct stasis_error *err)
{
	char path[PATH_MAX + 64];
	int fd;

	if (made->bind_fds[i] >= 0)
		return fcntl(made->bind_fds[i], F_DUPFD_CLOEXEC, 0);
	if (place_of_file_system(n, made->rec, i, path, sizeof(path), err) < 0)
		return -1;
	fd = ns_clone_mount(path, false);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "mount '%.100s'", made->rec->mounts[i]->point)
		      : fd;
}

/* Until the first process of its pid namespace has mounted the real one, ours stands in: the master and
 * whoever is created earlier need some; and in a user namespace one may only be mounted where one is. */
static int place_stand_in(struct ns_made *made, const Stasis__Mount *m, struct stasis_error *err)
{
	bool is_proc = !strcmp(m->type, "proc");
	int *fd = is_proc ? &made->proc_fd : &made->sys_fd;
	char place[PLACE_BYTES];

	place_in_new(m->point, place, sizeof(place));
	if (*fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "copy of '%s'", is_proc ? "/proc" : "/sys");
	if (move_to(*fd, place, err) < 0)
		return -1;
	/* this one stands now; the next place gets a copy of it */
	scoped_close_fd(fd);
	*fd = ns_clone_mount(place, false);
	return 0;
}

static bool needs_stand_in(const Stasis__Namespace *rec, size_t i)
{
	const Stasis__Mount *m = rec->mounts[i];

	/* not on top of another late one, which is not there yet */
	return is_made_late(m) && strcmp(m->type, "mqueue") != 0 && m->parent &&
	       !ns_mount_is_late(rec, m->parent - 1);
}

/* It stands already, but the flags may have been others. */
static int adjust(const Stasis__Mount *m, struct stasis_error *err)
{
	char place[PLACE_BYTES];
	scoped_fd int fd = -1;

	place_in_new(m->point, place, sizeof(place));
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, place, OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", m->point);
	return set_attributes(fd, m, err);
}

static int place_early(struct ns_load *n, struct ns_made *made, size_t i, struct stasis_error *err)
{
	scoped_fd int fd = detached(n, made, i, err);
	char place[PLACE_BYTES];

	if (fd < 0)
		return -1;
	place_in_new(i ? made->rec->mounts[i]->point : "", place, sizeof(place));
	return move_to(fd, place, err) < 0 ? -1 : set_attributes(fd, made->rec->mounts[i], err);
}

/* Where a part of the restarter's file systems waits while its mount namespace is made. */
static void place_of_bind(size_t i, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s/bind%zu", workplace(), i);
}

static int stand_bind(int fd, const Stasis__Mount *m, size_t i, struct stasis_error *err)
{
	char place[64];
	struct stat st;

	place_of_bind(i, place, sizeof(place));
	if (fstat(fd, &st) < 0 || (S_ISDIR(st.st_mode) ? mkdir(place, 0755)
						       : mknod(place, S_IFREG | 0644, 0)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "place for '%.150s'", m->bind);
	return move_to(fd, place, err) < 0 ? -1 : set_attributes(fd, m, err);
}

/* What comes from outside stands in a namespace of ours first: copied from there into that of a lesser user
 * namespace, its flags are locked. Moved there directly, a read-only mount could be made writable inside. */
int ns_stand_binds(struct ns_made *m, struct stasis_error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("stasis", workplace(), "tmpfs", MS_NOSUID, "mode=755") < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "prepare a mount namespace");
	for (size_t i = 0; i < m->rec->n_mounts; i++)
		if (m->bind_fds[i] >= 0 && stand_bind(m->bind_fds[i], m->rec->mounts[i], i, err) < 0)
			return -1;
	return 0;
}

/* In the copy. */
static int take_binds(struct ns_made *m, struct stasis_error *err)
{
	for (size_t i = 0; i < m->rec->n_mounts; i++) {
		char place[64];

		if (m->bind_fds[i] < 0)
			continue;
		place_of_bind(i, place, sizeof(place));
		scoped_close_fd(&m->bind_fds[i]);
		m->bind_fds[i] = ns_clone_mount(place, m->is_whole[i]);
		if (m->bind_fds[i] < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", m->rec->mounts[i]->bind);
	}
	return 0;
}

static int prepare_workplace(struct stasis_error *err)
{
	char root[PLACE_BYTES];

	place_in_new("", root, sizeof(root));
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("stasis", workplace(), "tmpfs", MS_NOSUID, "mode=755") < 0 || mkdir(root, 0755) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "prepare a mount namespace");
	return 0;
}

/* The old mounts, the workplace among them, go away below the new root. */
static int change_root(struct stasis_error *err)
{
	char root[PLACE_BYTES];

	place_in_new("", root, sizeof(root));
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "change the root of a mount namespace");
	return 0;
}

int ns_load_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	if ((m->rec->owner && take_binds(m, err) < 0) || prepare_workplace(err) < 0)
		return -1;
	for (size_t i = 0; i < m->rec->n_mounts; i++)
		if (!ns_mount_is_late(m->rec, i) &&
		    (m->comes_along[i] ? adjust(m->rec->mounts[i], err)
				       : place_early(n, m, i, err)) < 0)
			return -1;
	for (size_t i = 0; i < m->rec->n_mounts; i++)
		if (needs_stand_in(m->rec, i) && place_stand_in(m, m->rec->mounts[i], err) < 0)
			return -1;
	if (change_root(err) < 0)
		return -1;
	if (m->rec->mounts[0]->is_shared && mount(NULL, "/", NULL, MS_SHARED, NULL) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "share the root of a mount namespace");
	return 0;
}

/* Parts of a late file system that stand elsewhere, as a read-only /proc/sys: from where it stands itself. */
static int late_part(struct ns_load *n, const Stasis__Namespace *rec, const Stasis__Mount *m,
		     struct stasis_error *err)
{
	char path[2 * PATH_MAX];
	int fd;

	if (!strcmp(m->subtree, "/"))
		return make_file_system(n, m, err);
	(void)snprintf(path, sizeof(path), "%s%s", rec->mounts[m->file_system - 1]->point, m->subtree);
	fd = ns_clone_mount(path, false);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", path) : fd;
}

int ns_load_late_mounts(struct ns_load *n, struct ns_made *m, struct stasis_error *err)
{
	for (size_t i = 0; i < m->rec->n_mounts; i++) {
		const Stasis__Mount *r = m->rec->mounts[i];
		scoped_fd int fd = -1;

		if (!ns_mount_is_late(m->rec, i))
			continue;
		fd = m->bind_fds[i] >= 0 ? fcntl(m->bind_fds[i], F_DUPFD_CLOEXEC, 0)
					 : late_part(n, m->rec, r, err);
		if (needs_stand_in(m->rec, i) && fd >= 0 && umount2(r->point, MNT_DETACH) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "unmount '%s'", r->point);
		if (fd < 0 || move_to(fd, r->point, err) < 0 || extract(n, r, r->point, err) < 0 ||
		    set_attributes(fd, r, err) < 0)
			return -1;
	}
	return 0;
}
