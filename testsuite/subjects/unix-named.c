/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Named Unix sockets, by path and abstract: listening ones with clients that wait and one that is gone,
 * accepted connections, names that were deleted or taken by another file, relative ones, clients with
 * a name of their own; what SO_PEERCRED shows.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long root_pid;

/* "@..." is abstract, "/..." in the subject's folder, all else relative. */
static socklen_t address(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@') /* two subjects at a time must not meet */
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1,
						    "%s-%ld", name + 1, root_pid));
	CHECK(snprintf(a->sun_path, sizeof(a->sun_path), "%s%s", name[0] == '/' ? folder : "", name) <
	      (int)sizeof(a->sun_path));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->sun_path) + 1);
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0);
	return fd;
}

static int listening(int type, const char *name, int backlog)
{
	int fd = bound(type, name);

	CHECK(listen(fd, backlog) == 0);
	return fd;
}

static void join(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);

	CHECK(connect(fd, (struct sockaddr *)&a, len) == 0);
}

static int connected(int type, const char *name)
{
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0);
	join(fd, name);
	return fd;
}

static void check_name(int fd, bool of_peer, const char *name)
{
	struct sockaddr_un want, got;
	socklen_t want_len = name ? address(&want, name) : sizeof(sa_family_t), len = sizeof(got);

	memset(&got, 0, sizeof(got));
	if (of_peer)
		CHECK(getpeername(fd, (struct sockaddr *)&got, &len) == 0);
	else
		CHECK(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
	if (len != want_len || (name && memcmp(&got, &want, len) != 0))
		subject_bad("name '%s%s', not '%s'", got.sun_path[0] ? "" : "@",
			    got.sun_path + !got.sun_path[0], name ? name : "");
}

static void talk(int a, int b)
{
	char got[8];

	CHECK(send(a, "ping", 4, 0) == 4 && recv(b, got, 8, 0) == 4 && !memcmp(got, "ping", 4));
	CHECK(send(b, "pong!", 5, 0) == 5 && recv(a, got, 8, 0) == 5 && !memcmp(got, "pong!", 5));
}

/* A new client comes in at the end of the queue. */
static void check_accepts(int listener, int type, const char *name)
{
	int client = connected(type, name), server = accept(listener, NULL, NULL);

	CHECK(server >= 0);
	check_name(server, false, name);
	talk(client, server);
	CHECK(close(client) == 0 && close(server) == 0);
}

static void check_creds(int fd, pid_t pid)
{
	struct ucred creds;
	socklen_t len = sizeof(creds);

	CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &len) == 0);
	if (creds.pid != pid || creds.uid != geteuid() || creds.gid != getegid())
		subject_bad("SO_PEERCRED: pid %d uid %u gid %u, not pid %d", creds.pid, creds.uid,
			    creds.gid, pid);
}

/* ---- listening sockets ---- */

static int path_l, abstract_l, seq_l, narrow_l, relative_l, deleted_l, replaced_l;
static int waiting[3], accepted[2], narrow[3], seq_pair[2], deleted_pair[2];

static void build_listeners(void)
{
	struct sockaddr_un a;
	int gone;

	path_l = listening(SOCK_STREAM, "/path", 5);
	CHECK(chmod((address(&a, "/path"), a.sun_path), 0620) == 0);
	accepted[0] = connected(SOCK_STREAM, "/path");
	accepted[1] = accept(path_l, NULL, NULL);
	CHECK(accepted[1] >= 0 && send(accepted[0], "early", 5, 0) == 5);
	waiting[0] = connected(SOCK_STREAM, "/path");
	gone = connected(SOCK_STREAM, "/path");
	waiting[1] = connected(SOCK_STREAM, "/path");
	CHECK(close(gone) == 0);
	abstract_l = listening(SOCK_STREAM, "@abstract", 0);
	waiting[2] = bound(SOCK_STREAM, "@client");
	join(waiting[2], "@abstract");
	narrow_l = listening(SOCK_STREAM, "@narrow", 5);
	for (int i = 0; i < 3; i++)
		narrow[i] = connected(SOCK_STREAM, "@narrow");
	CHECK(listen(narrow_l, 1) == 0); /* fewer than wait already */
	seq_l = listening(SOCK_SEQPACKET, "@seq", 7);
	seq_pair[0] = connected(SOCK_SEQPACKET, "@seq");
	seq_pair[1] = accept(seq_l, NULL, NULL);
	CHECK(seq_pair[1] >= 0 && send(seq_pair[1], "packet", 6, 0) == 6);
}

static void check_listeners(void)
{
	struct sockaddr_un a;
	struct stat st;
	char got[8];
	int fd;

	CHECK(stat((address(&a, "/path"), a.sun_path), &st) == 0 && S_ISSOCK(st.st_mode));
	CHECK((st.st_mode & 07777) == 0620);
	check_name(path_l, false, "/path");
	check_creds(path_l, getpid());
	check_name(accepted[0], true, "/path");
	check_name(accepted[0], false, NULL);
	check_name(accepted[1], false, "/path");
	check_name(accepted[1], true, NULL);
	check_creds(accepted[0], getpid());
	CHECK(recv(accepted[1], got, 8, 0) == 5 && !memcmp(got, "early", 5));
	talk(accepted[0], accepted[1]);
	CHECK(send(waiting[0], "first", 5, 0) == 5 && send(waiting[1], "third", 5, 0) == 5);
	fd = accept(path_l, NULL, NULL);
	check_creds(fd, getpid());
	CHECK(recv(fd, got, 8, 0) == 5 && !memcmp(got, "first", 5));
	talk(fd, waiting[0]);
	fd = accept(path_l, NULL, NULL);
	CHECK(fd >= 0 && recv(fd, got, 8, 0) == 0); /* it had hung up meanwhile */
	fd = accept(path_l, NULL, NULL);
	CHECK(recv(fd, got, 8, 0) == 5 && !memcmp(got, "third", 5));
	check_accepts(path_l, SOCK_STREAM, "/path");
	for (int i = 0; i < 3; i++) {
		fd = accept(narrow_l, NULL, NULL);
		CHECK(fd >= 0);
		talk(fd, narrow[i]);
	}
	check_name(waiting[2], true, "@abstract");
	check_name(waiting[2], false, "@client");
	fd = accept(abstract_l, NULL, NULL);
	check_name(fd, true, "@client");
	talk(fd, waiting[2]);
	check_accepts(abstract_l, SOCK_STREAM, "@abstract");
	CHECK(recv(seq_pair[0], got, 8, 0) == 6 && !memcmp(got, "packet", 6));
	check_name(seq_pair[0], true, "@seq");
	talk(seq_pair[0], seq_pair[1]);
	check_accepts(seq_l, SOCK_SEQPACKET, "@seq");
}

/* No place is left in a queue of no more than one. */
static void check_backlog(void)
{
	int first = connected(SOCK_STREAM, "@abstract"), second = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a;
	socklen_t len = address(&a, "@abstract");

	CHECK(first >= 0 && fcntl(second, F_SETFL, O_NONBLOCK) == 0);
	CHECK(connect(second, (struct sockaddr *)&a, len) < 0 && errno == EAGAIN);
}

/* ---- names that lead elsewhere ---- */

static int orphan[2], orphan_abstract[2], named_client[2];

static void build_names(void)
{
	struct sockaddr_un a;
	char path[PATH_MAX];
	int listener, fd;

	CHECK(mkdir("sub", 0755) == 0);
	relative_l = listening(SOCK_STREAM, "sub/relative", 3);
	CHECK(chdir("sub") == 0); /* from now on the name leads elsewhere */
	deleted_l = listening(SOCK_STREAM, "/deleted", 3);
	deleted_pair[0] = connected(SOCK_STREAM, "/deleted");
	deleted_pair[1] = accept(deleted_l, NULL, NULL);
	CHECK(unlink((address(&a, "/deleted"), a.sun_path)) == 0);
	replaced_l = listening(SOCK_STREAM, "/replaced", 3);
	CHECK(unlink((address(&a, "/replaced"), a.sun_path)) == 0);
	fd = open(a.sun_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && write(fd, "mine", 4) == 4 && close(fd) == 0);
	/* accepted, and then the listening socket was closed */
	listener = listening(SOCK_STREAM, "/orphan", 3);
	named_client[0] = bound(SOCK_STREAM, "/client");
	join(named_client[0], "/orphan");
	orphan[0] = connected(SOCK_STREAM, "/orphan");
	named_client[1] = accept(listener, NULL, NULL);
	orphan[1] = accept(listener, NULL, NULL);
	CHECK(close(listener) == 0 && unlink(subject_path(path, "orphan")) == 0);
	listener = listening(SOCK_SEQPACKET, "@orphan", 3);
	orphan_abstract[0] = connected(SOCK_SEQPACKET, "@orphan");
	orphan_abstract[1] = accept(listener, NULL, NULL);
	CHECK(close(listener) == 0);
}

static void check_names(void)
{
	struct sockaddr_un a;
	char got[8];
	int fd;

	check_name(relative_l, false, "sub/relative");
	CHECK(chdir("..") == 0);
	check_accepts(relative_l, SOCK_STREAM, "sub/relative");
	check_name(deleted_l, false, "/deleted");
	CHECK(access((address(&a, "/deleted"), a.sun_path), F_OK) < 0 && errno == ENOENT);
	check_name(deleted_pair[0], true, "/deleted");
	talk(deleted_pair[0], deleted_pair[1]);
	check_name(replaced_l, false, "/replaced");
	fd = open((address(&a, "/replaced"), a.sun_path), O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, 8) == 4 && !memcmp(got, "mine", 4));
	check_name(orphan[0], true, "/orphan");
	check_name(orphan[1], false, "/orphan");
	talk(orphan[0], orphan[1]);
	check_name(named_client[0], false, "/client");
	check_name(named_client[0], true, "/orphan");
	check_name(named_client[1], true, "/client");
	talk(named_client[0], named_client[1]);
	CHECK(access((address(&a, "/orphan"), a.sun_path), F_OK) < 0 && errno == ENOENT);
	check_name(orphan_abstract[0], true, "@orphan");
	check_name(orphan_abstract[1], false, "@orphan");
	talk(orphan_abstract[0], orphan_abstract[1]);
}

/* ---- a client in another process ---- */

static void client_main(void)
{
	int fd = connected(SOCK_STREAM, "@parent");
	char got[8];

	CHECK(send(fd, "here", 4, 0) == 4);
	CHECK(recv(fd, got, 8, 0) == 4 && !memcmp(got, "go!!", 4)); /* blocked here meanwhile */
	check_creds(fd, getppid());
	check_name(fd, true, "@parent");
	CHECK(send(fd, "done", 4, 0) == 4);
}

int main(void)
{
	int listener, server;
	char got[8];
	pid_t child;

	subject_init();
	root_pid = getpid();
	(void)subject_path(folder, "");
	folder[strlen(folder) - 1] = '\0';
	listener = listening(SOCK_STREAM, "@parent", 3);
	child = subject_fork();
	if (!child) {
		CHECK(close(listener) == 0);
		client_main();
		_exit(0);
	}
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && recv(server, got, 8, 0) == 4);
	build_listeners();
	build_names();
	subject_ready();
	subject_wait_go();

	check_listeners();
	check_backlog();
	check_names();
	check_creds(server, child);
	CHECK(send(server, "go!!", 4, 0) == 4 && recv(server, got, 8, 0) == 4);
	CHECK(recv(server, got, 8, 0) == 0);
	subject_reap(child);
	subject_ok();
}
