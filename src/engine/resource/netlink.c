/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Netlink sockets (netlink(7)) of every protocol: port, groups, whom it is connected to, options. What is
 * queued came from the kernel and could only come from there again, so such a socket is refused.
 */
#include "resource/sockets.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	TABLE_MAX_BYTES = 16 << 20,
	MAX_GROUPS = 1 << 16,
	MAX_PROTOCOL = 31, /* MAX_LINKS */
};

static bool netlink_match(const struct fd_probe *p)
{
	return socket_is(p, AF_NETLINK, 0);
}

/* It is made where its holder is; a socket can be of another network namespace than that. */
static int check_namespace(const struct fd_probe *p, struct stasis_error *err)
{
	scoped_fd int ns = ioctl(p->local_fd, SIOCGSKNS);
	struct stat holders, its;

	if (ns < 0 || fstat(ns, &its) < 0 || fstatat(p->task->procfd, "ns/net", &holders, 0) < 0 ||
	    holders.st_ino == its.st_ino)
		return 0; /* or it is not for us to know (CAP_NET_ADMIN) */
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "netlink socket of another network namespace than its holder's is not "
			   "supported; close it before the checkpoint");
}

static int save_address(int fd, Stasis__NetlinkSocket *r, struct stasis_error *err)
{
	struct sockaddr_nl a = {.nl_family = AF_NETLINK};
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getsockname");
	r->port = a.nl_pid;
	len = sizeof(a);
	if (getpeername(fd, (struct sockaddr *)&a, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getpeername");
	r->peer_port = a.nl_pid;
	r->peer_groups = a.nl_groups;
	return 0;
}

/* A bitmap, whose length the kernel tells (Linux 4.2). */
static int save_groups(struct fd_save *c, int fd, Stasis__NetlinkSocket *r, struct stasis_error *err)
{
	socklen_t len = 0;

	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "NETLINK_LIST_MEMBERSHIPS");
	if (!len)
		return 0;
	r->groups.data = fd_save_alloc(c, len);
	r->groups.len = len;
	if (!r->groups.data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, r->groups.data, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "NETLINK_LIST_MEMBERSHIPS");
	return 0;
}

/* "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode": is a list half given out? */
static bool is_listing(const struct fd_probe *p)
{
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(p->task->procfd, "net/netlink", TABLE_MAX_BYTES, &text, &len, NULL) < 0)
		return false;
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		unsigned long long ino;
		unsigned dump;

		if (sscanf(line, "%*s %*s %*s %*s %*s %*s %u %*s %*s %llu", &dump, &ino) == 2 &&
		    ino == p->st.st_ino)
			return dump;
	}
	return false;
}

static int check_idle(const struct session *s, const struct fd_probe *p, struct stasis_error *err)
{
	struct pollfd poll_fd = {.fd = p->local_fd, .events = POLLIN};

	(void)poll(&poll_fd, 1, 0);
	if (!(poll_fd.revents & (POLLIN | POLLERR)) && !is_listing(p))
		return 0;
	return stasis_fail(err, session_passing(s),
			   "netlink socket with unread messages; wait until the program has read them, "
			   "or -F to lose them");
}

static int netlink_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__NetlinkSocket *r = fd_save_alloc(c, sizeof(*r));

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__netlink_socket__init(r);
	r->type = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_TYPE);
	r->protocol = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_PROTOCOL);
	if (check_namespace(p, err) < 0 || save_address(p->local_fd, r, err) < 0 ||
	    save_groups(c, p->local_fd, r, err) < 0 ||
	    socket_options_save(c, p->local_fd, &r->options, err) < 0)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_NETLINK; /* also when forced: only messages are lost */
	ret->netlink = r;
	return check_idle(s, p, err);
}

/* ---- restart */

static int make(struct session *s, const Stasis__NetlinkSocket *r, struct stasis_error *err)
{
	scoped_fd int fd = socket(AF_NETLINK, (int)r->type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  (int)r->protocol);
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = r->port};

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "netlink socket of protocol %u", r->protocol);
	if (socket_options_load(s, r->options, fd, err) < 0)
		return -1;
	if (!r->port || bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd_take(&fd);
	if (errno == EADDRINUSE)
		return stasis_fail_errno(err, STASIS_E_BUSY, "netlink port %u of protocol %u", r->port,
					 r->protocol);
	return stasis_fail_errno(err, STASIS_E_IO, "netlink port %u", r->port);
}

static int netlink_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__NetlinkSocket *r = d->netlink;
	scoped_fd int fd = -1;

	(void)s;
	(void)c;
	if ((r->type != SOCK_RAW && r->type != SOCK_DGRAM) || r->protocol > MAX_PROTOCOL ||
	    r->groups.len > MAX_GROUPS / 8)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "netlink socket of type %u, protocol %u, %zu bytes of groups", r->type,
				   r->protocol, r->groups.len);
	if (socket_options_check(r->options, err) < 0)
		return -1;
	fd = make(NULL, r, err);
	return fd < 0 ? -1 : 0;
}

static int join_all(int fd, const ProtobufCBinaryData *groups, struct stasis_error *err)
{
	for (size_t i = 0; i < 8 * groups->len; i++) {
		int group = (int)i + 1;

		if (groups->data[i / 8] & 1u << i % 8 &&
		    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "join netlink group %d", group);
	}
	return 0;
}

/* A filter comes before the groups: nothing must come in that it would not let pass. */
static int netlink_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	const Stasis__NetlinkSocket *r = d->netlink;
	struct sockaddr_nl peer = {
		.nl_family = AF_NETLINK, .nl_pid = r->peer_port, .nl_groups = r->peer_groups};
	scoped_fd int fd = make(s, r, err);

	(void)c;
	if (fd < 0 || socket_options_finish(s, r->options, fd, err) < 0)
		return -1;
	if ((r->peer_port || r->peer_groups) &&
	    connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "connect to netlink port %u", r->peer_port);
	if (join_all(fd, &r->groups, err) < 0)
		return -1;
	return fd_take(&fd);
}

const struct resource_kind kind_netlink = {
	.name = "netlink",
	.tag = STASIS__DESCRIPTION__KIND_NETLINK,
	.match = netlink_match,
	.save = netlink_save,
	.verify = netlink_verify,
	.load = netlink_load,
};
