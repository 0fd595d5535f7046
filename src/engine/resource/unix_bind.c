/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names at a restart. One that leads to a socket file gets that file again, in the place of a stale one
 * that nobody is bound to any more. One that led nowhere (the file was deleted, or belongs to a
 * connection's listening end) is bound in a temporary folder that bind() takes for the root or the
 * working directory: the name is right, and nothing appears where it leads.
 */
#include "resource/unix.h"

#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BUSY_POLL_NS = 10000000, BUSY_TRIES = 150 };

static bool is_path(const ProtobufCBinaryData *name)
{
	return name->len && name->data[0];
}

/* Whether a file in the file system belongs to it: an accepted or connected stream's name is only
 * shown. */
static bool owns_file(const Stasis__UnixSocket *r)
{
	return is_path(&r->name) && r->file && !r->file->deleted &&
	       (r->type == SOCK_DGRAM || r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_NONE);
}

static bool owns_abstract(const Stasis__UnixSocket *r)
{
	return r->name.len && !r->name.data[0] &&
	       (r->type == SOCK_DGRAM || r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_NONE);
}

/*
 * Is some process bound to it? A datagram socket asks without being noticed: connecting it to a stream
 * is EPROTOTYPE, to a datagram socket of somebody changes nothing there.
 */
bool unix_is_alive(const char *path)
{
	scoped_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	scoped_fd int folder = -1;
	scoped_free char *copy = strdup(path), *copy2 = strdup(path);
	char near[UNIX_NAME_MAX];

	if (!copy || !copy2 || fd < 0)
		return false;
	/* a long path fits only from its folder */
	folder = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(near, sizeof(near), "/proc/self/fd/%d/%.70s", folder, basename(copy2));
	memcpy(a.sun_path, strlen(path) < sizeof(a.sun_path) ? path : near,
	       strlen(strlen(path) < sizeof(a.sun_path) ? path : near) + 1);
	return connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 ||
	       (errno != ECONNREFUSED && errno != ENOENT && errno != ENOTDIR);
}

static int check_folder(const char *path, struct stasis_error *err)
{
	scoped_free char *copy = strdup(path);

	if (!copy)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	if (faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "folder of socket '%.150s'", path);
	return 0;
}

static int check_file(const Stasis__UnixSocket *r, struct stasis_error *err)
{
	const char *path = r->file->path;
	struct stat st;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return check_folder(path, err);
	if (lstat(path, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", path);
	if (!S_ISSOCK(st.st_mode))
		return stasis_fail(err, STASIS_E_BUSY,
				   "'%.150s' was a socket and is another file now; move it away", path);
	if (unix_is_alive(path))
		return stasis_fail(err, STASIS_E_BUSY,
				   "'%.150s' is in use by another process; end it, or move its socket",
				   path);
	return check_folder(path, err);
}

static int check_abstract(const Stasis__UnixSocket *r, struct stasis_error *err)
{
	scoped_fd int fd = socket(AF_UNIX, (int)r->type | SOCK_CLOEXEC, 0);
	char text[UNIX_NAME_MAX + 8];

	if (unix_actor_bind(NULL, fd, &r->name) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return stasis_fail(err, STASIS_E_BUSY,
				   "name %.120s of a Unix socket is in use by another process; end it",
				   unix_name_text(&r->name, text, sizeof(text)));
	return stasis_fail_errno(err, STASIS_E_IO, "bind a socket to %.120s",
				 unix_name_text(&r->name, text, sizeof(text)));
}

static int check_name(const Stasis__UnixSocket *r, struct stasis_error *err)
{
	if (owns_file(r))
		return check_file(r, err);
	return owns_abstract(r) ? check_abstract(r, err) : 0;
}

/* A process that was killed a moment ago closes its sockets a little later than it seems gone. */
int unix_name_check(struct unix_load *u, const Stasis__UnixSocket *r, struct stasis_error *err)
{
	const struct timespec moment = {.tv_nsec = BUSY_POLL_NS};
	struct stasis_error why;

	if (r->folder[0] && r->folder[0] != '/')
		return stasis_fail(err, STASIS_E_CORRUPT, "folder of a socket's name is not absolute");
	while (check_name(r, &why) < 0) {
		if (why.cls != STASIS_E_BUSY || u->nr_naps++ >= BUSY_TRIES) {
			if (err)
				*err = why;
			return -1;
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	}
	return 0;
}

/* ---- temporary folders ---- */

static char *path_in(const char *root, const ProtobufCBinaryData *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%.*s", root,
		     (int)strnlen((const char *)name->data, name->len), (const char *)name->data) < 0)
		return NULL;
	return path;
}

/* Make, or remove, the folders between root and the last component. */
static int make_folders(const char *root, char *path)
{
	for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
		int result;

		*p = '\0';
		result = mkdir(path, 0700);
		*p = '/';
		if (result < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

void unix_folder_remove(char **root, const ProtobufCBinaryData *name)
{
	scoped_free char *path = *root ? path_in(*root, name) : NULL;

	if (path) {
		(void)unlink(path); /* what is left in /tmp harms nobody */
		for (char *p; strlen(path) > strlen(*root) && (p = strrchr(path, '/')) != NULL;) {
			*p = '\0';
			(void)rmdir(path);
		}
	}
	free(*root);
	*root = NULL;
}

static bool leads_out(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2)
		if (p[-1] == '/' && (p[2] == '/' || !p[2]))
			return true;
	return false;
}

static char *make_root(const ProtobufCBinaryData *name)
{
	char dir[] = "/tmp/restartsockXXXXXX";
	scoped_free char *path = NULL;
	char *root;

	if (!mkdtemp(dir))
		return NULL;
	root = strdup(dir);
	path = root ? path_in(root, name) : NULL;
	if (path && !leads_out(path + strlen(root)) && make_folders(root, path) == 0)
		return root;
	if (root)
		unix_folder_remove(&root, name);
	errno = EINVAL;
	return NULL;
}

void unix_actor_place(struct unix_actor *a, const ProtobufCBinaryData *name, const char *folder)
{
	if (!folder || !*folder || !is_path(name))
		return;
	if (name->data[0] == '/')
		a->root = folder;
	else
		a->cwd = folder;
}

int unix_bind_aside(int fd, const ProtobufCBinaryData *name, char **ret_root)
{
	struct unix_actor actor = {.pid = 0};
	char *root;

	*ret_root = NULL;
	if (!is_path(name))
		return name->len ? unix_actor_bind(NULL, fd, name) : 0;
	root = make_root(name);
	if (!root)
		return -1;
	unix_actor_place(&actor, name, root);
	if (unix_actor_bind(&actor, fd, name) < 0) {
		int saved = errno;

		unix_folder_remove(&root, name);
		errno = saved;
		return -1;
	}
	*ret_root = root;
	return 0;
}

/* ---- the file itself ---- */

/* By a descriptor: who may write to the folder could exchange the file before a second look. */
static int set_owner(const Stasis__FileId *f, struct stasis_error *err)
{
	scoped_fd int fd = open(f->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char link[40];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", f->path);
	if (!S_ISSOCK(st.st_mode))
		return stasis_fail(err, STASIS_E_BUSY, "'%.150s' was exchanged", f->path);
	/* only root may give a file away: elsewhere it is the caller's */
	if ((st.st_uid != f->uid || st.st_gid != f->gid) &&
	    fchownat(fd, "", f->uid, f->gid, AT_EMPTY_PATH) < 0 && geteuid() == 0)
		return stasis_fail_errno(err, STASIS_E_IO, "owner of '%.150s'", f->path);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (chmod(link, f->mode & 07777) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "mode of '%.150s'", f->path);
	return 0;
}

/* A stale file goes; it was checked, but that is a while ago. */
static int clear_place(const Stasis__UnixSocket *r, struct stasis_error *err)
{
	if (check_file(r, err) < 0)
		return -1;
	if (unlink(r->file->path) < 0 && errno != ENOENT)
		return stasis_fail_errno(err, STASIS_E_IO, "delete '%.150s'", r->file->path);
	return 0;
}

static int bind_file(struct unix_end *e, struct stasis_error *err)
{
	const Stasis__UnixSocket *r = e->r;
	struct unix_actor actor = {.pid = 0};
	mode_t before;
	int result;

	if (clear_place(r, err) < 0)
		return -1;
	unix_actor_place(&actor, &r->name, r->folder);
	before = umask(0177);
	result = unix_actor_bind(&actor, e->fd, &r->name);
	(void)umask(before);
	if (result < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "bind a socket to '%.150s'",
					 r->file->path);
	e->is_bound = true;
	return set_owner(r->file, err);
}

int unix_bind(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	char text[UNIX_NAME_MAX + 8];

	if (!e->r->name.len)
		return 0;
	if (owns_file(e->r))
		return bind_file(e, err);
	if (unix_bind_aside(e->fd, &e->r->name, &e->root) == 0)
		return 0;
	(void)unix_name_text(&e->r->name, text, sizeof(text));
	if (e->r->is_listening)
		return stasis_fail_errno(err, STASIS_E_IO, "bind a socket to %.120s", text);
	s_warn(c->s, "Unix socket loses its name %s: %s", text, strerror(errno));
	return 0;
}
