/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagram sockets with names: many connected to one, two connected with each other, one with itself,
 * a chain; messages of senders with and without a name, of one that is gone, credentials; names that
 * were deleted; a stream that passes credentials.
 */
#include "subject.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long root_pid;

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@')
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1,
						    "%s-%ld", name + 1, root_pid));
	CHECK(snprintf(a->sun_path, sizeof(a->sun_path), "%s%s", folder, name) <
	      (int)sizeof(a->sun_path));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->sun_path) + 1);
}

static int bound(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = name ? address(&a, name) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && (!name || bind(fd, (struct sockaddr *)&a, len) == 0));
	return fd;
}

static void join(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);

	CHECK(connect(fd, (struct sockaddr *)&a, len) == 0);
}

static int connected(const char *own_name, const char *name)
{
	int fd = bound(own_name);

	join(fd, name);
	return fd;
}

static void send_text(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void send_to(int fd, const char *name, const char *text)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);

	CHECK(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, len) ==
	      (ssize_t)strlen(text));
}

static void expect(int fd, const char *text, const char *from)
{
	struct sockaddr_un a, want;
	socklen_t len = sizeof(a), want_len = from ? address(&want, from) : 0;
	char got[64];
	ssize_t n = recvfrom(fd, got, sizeof(got), MSG_DONTWAIT, (struct sockaddr *)&a, &len);

	if (n != (ssize_t)strlen(text) || memcmp(got, text, strlen(text)) != 0)
		subject_bad("got %zd '%.*s' (errno %d), not '%s'", n, n > 0 ? (int)n : 0, got, errno,
			    text);
	if (from ? len != want_len || memcmp(&a, &want, len) != 0 : len != 0)
		subject_bad("'%s' came from '%.*s', not '%s'", text, (int)len, a.sun_path,
			    from ? from : "");
}

static void expect_empty(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

/* What a process with SO_PASSCRED is told. */
static void expect_from(int fd, const char *text, pid_t pid)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	char got[64];
	struct iovec iov = {.iov_base = got, .iov_len = sizeof(got)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	struct ucred creds;
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && !memcmp(got, text, strlen(text)));
	CHECK(CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_CREDENTIALS);
	memcpy(&creds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(creds));
	if (creds.pid != pid || creds.uid != geteuid() || creds.gid != getegid())
		subject_bad("'%s': pid %d uid %u gid %u, not pid %d", text, creds.pid, creds.uid,
			    creds.gid, pid);
}

static int server, many[3], anonymous, left, right, self, chain[3], lost, lost_client, orphan;
static int cred_server, cred_stream[2];

static void build(void)
{
	const int on = 1;
	struct sockaddr_un a;
	int gone;

	server = bound("/server");
	many[0] = connected("@one", "/server");
	many[1] = connected("/two", "/server");
	many[2] = connected(NULL, "/server");
	anonymous = bound(NULL);
	send_text(many[0], "from one");
	send_text(many[2], "from nobody");
	send_to(anonymous, "/server", "");
	gone = connected("@gone", "/server");
	send_text(gone, "last words");
	CHECK(close(gone) == 0);
	gone = connected("/gone", "/server");
	send_text(gone, "from a path");
	CHECK(close(gone) == 0 && unlink((address(&a, "/gone"), a.sun_path)) == 0);
	send_text(many[1], "from two");
	send_to(server, "@one", "reply");
	left = bound("@left");
	right = connected("@right", "@left");
	join(left, "@right");
	send_text(left, "to the right");
	send_text(right, "to the left");
	self = bound("@self");
	join(self, "@self");
	send_text(self, "to myself");
	chain[2] = bound("@c2");
	chain[1] = bound("@c1");
	chain[0] = connected(NULL, "@c1"); /* before @c1 is connected: later it may not */
	send_text(chain[0], "before");
	join(chain[1], "@c2");
	send_text(chain[1], "on");
	lost = bound("/lost");
	lost_client = connected("@lost-client", "/lost");
	CHECK(unlink((address(&a, "/lost"), a.sun_path)) == 0);
	send_text(lost_client, "nobody else can");
	gone = bound("@orphan-peer");
	orphan = connected(NULL, "@orphan-peer");
	CHECK(close(gone) == 0);
	cred_server = bound("@creds");
	CHECK(setsockopt(cred_server, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	send_to(anonymous, "@creds", "parent");
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, cred_stream) == 0);
	CHECK(setsockopt(cred_stream[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	send_text(cred_stream[0], "mine");
}

static void check(pid_t child)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a), want_len;
	struct sockaddr_un want;

	expect(server, "from one", "@one");
	expect(server, "from nobody", NULL);
	expect(server, "", NULL);
	expect(server, "last words", "@gone");
	expect(server, "from a path", "/gone");
	expect(server, "from two", "/two");
	expect_empty(server);
	expect(many[0], "reply", "/server");
	for (int i = 0; i < 3; i++)
		send_text(many[i], "again");
	expect(server, "again", "@one");
	expect(server, "again", "/two");
	expect(server, "again", NULL);
	expect(right, "to the right", "@left");
	expect(left, "to the left", "@right");
	send_text(left, "more");
	expect(right, "more", "@left");
	expect(self, "to myself", "@self");
	send_text(self, "once more");
	expect(self, "once more", "@self");
	expect(chain[1], "before", NULL);
	expect(chain[2], "on", "@c1");
	CHECK(send(chain[0], "x", 1, 0) < 0 && errno == EPERM);
	send_text(chain[1], "goes on");
	expect(chain[2], "goes on", "@c1");
	expect(lost, "nobody else can", "@lost-client");
	send_text(lost_client, "still");
	expect(lost, "still", "@lost-client");
	CHECK(access((address(&a, "/lost"), a.sun_path), F_OK) < 0);
	len = sizeof(a);
	want_len = address(&want, "@orphan-peer");
	CHECK(getpeername(orphan, (struct sockaddr *)&a, &len) == 0 && len == want_len &&
	      memcmp(&a, &want, len) == 0);
	CHECK(send(orphan, "x", 1, 0) < 0 && errno == ECONNREFUSED);
	expect_from(cred_server, "parent", getpid());
	expect_from(cred_server, "child", child);
	expect_from(cred_stream[1], "mine", getpid());
	expect_from(cred_stream[1], "the child's", child);
	send_text(cred_stream[0], "new");
	expect_from(cred_stream[1], "new", getpid());
}

int main(void)
{
	pid_t child;
	int line[2];
	char c;

	subject_init();
	root_pid = getpid();
	(void)subject_path(folder, "");
	folder[strlen(folder) - 1] = '\0';
	build();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, line) == 0);
	child = subject_fork();
	if (!child) {
		send_to(anonymous, "@creds", "child");
		send_text(cred_stream[0], "the child's");
		CHECK(close_range(3, (unsigned)line[0], 0) == 0);
		subject_mark("sent");
		_exit(read(line[1], &c, 1) == 0 ? 0 : 1);
	}
	CHECK(close(line[1]) == 0);
	subject_wait_mark("sent");
	subject_ready();
	subject_wait_go();

	check(child);
	CHECK(close(line[0]) == 0);
	subject_reap(child);
	subject_ok();
}
