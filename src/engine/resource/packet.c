/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packet sockets (packet(7)): interface, protocol, multicast and promiscuous memberships, fanout group,
 * options. Packets that wait are lost, as packets may be; rings shared with the kernel are refused.
 */
#include "resource/sockets.h"

#include <linux/if_packet.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	ANSWER_BYTES = 1 << 16,
	MAX_MEMBERS = 1 << 16,
	MAX_ADDRESS_BYTES = 32, /* MAX_ADDR_LEN of the kernel */
	/* <linux/if_packet.h>; the type of a fanout group is in the second 16 bits, flags from bit 24 */
	FANOUT_UNIQUE = 0x20 << 24,
	FANOUT_TYPES = 0xff << 16,
};

static bool packet_match(const struct fd_probe *p)
{
	return socket_is(p, AF_PACKET, 0);
}

/* What an index is the name of; an interface that is gone has none. */
static char *interface_name(struct fd_save *c, unsigned index)
{
	char name[IF_NAMESIZE] = "";

	if (index && !if_indextoname(index, name))
		return NULL;
	return fd_save_strdup(c, name);
}

/* ---- from the kernel's list of packet sockets ---- */

static int add_members(struct fd_save *c, Stasis__PacketSocket *r, const uint8_t *at, size_t len)
{
	size_t nr = len / sizeof(struct packet_diag_mclist);

	r->members = fd_save_alloc(c, (nr + 1) * sizeof(*r->members));
	if (!r->members)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		Stasis__PacketMember *m = fd_save_alloc(c, sizeof(*m));
		struct packet_diag_mclist entry;

		memcpy(&entry, at + i * sizeof(entry), sizeof(entry));
		if (!m)
			return -1;
		stasis__packet_member__init(m);
		m->interface = interface_name(c, entry.pdmc_index);
		m->type = entry.pdmc_type;
		m->count = entry.pdmc_count;
		m->address.len = entry.pdmc_alen <= sizeof(entry.pdmc_addr) ? entry.pdmc_alen : 0;
		m->address.data = arena_memdup(&c->arena, entry.pdmc_addr, sizeof(entry.pdmc_addr));
		if (!m->address.data)
			return -1;
		if (m->interface)
			r->members[r->n_members++] = m;
	}
	return 0;
}

/* Attributes of one socket; *ret_has_ring when it shares memory with the kernel. */
static int take_socket(struct fd_save *c, const struct nlmsghdr *head, Stasis__PacketSocket *r,
		       bool *ret_has_ring)
{
	const uint8_t *at = (const uint8_t *)head + NLMSG_LENGTH(sizeof(struct packet_diag_msg));
	const uint8_t *end = (const uint8_t *)head + head->nlmsg_len;
	struct rtattr a;

	for (; at + sizeof(a) <= end; at += RTA_ALIGN(a.rta_len)) {
		memcpy(&a, at, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > end - at)
			return 0;
		*ret_has_ring |= a.rta_type == PACKET_DIAG_RX_RING || a.rta_type == PACKET_DIAG_TX_RING;
		if (a.rta_type == PACKET_DIAG_MCLIST &&
		    add_members(c, r, at + sizeof(a), a.rta_len - sizeof(a)) < 0)
			return -1;
	}
	return 0;
}

static int send_request(int fd)
{
	struct {
		struct nlmsghdr head;
		struct packet_diag_req body;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = AF_PACKET,
			 .pdiag_show = PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG},
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -1 : 0;
}

/* 1: found, 0: there is more to come, -1: not there */
static int take_answer(struct fd_save *c, struct nlmsghdr *head, size_t n, ino_t ino,
		       Stasis__PacketSocket *r, bool *ret_has_ring)
{
	for (; NLMSG_OK(head, n); head = NLMSG_NEXT(head, n)) {
		const struct packet_diag_msg *m = NLMSG_DATA(head);

		if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR)
			return -1;
		if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->pdiag_ino != ino)
			continue;
		return take_socket(c, head, r, ret_has_ring) < 0 ? -1 : 1;
	}
	return 0;
}

static int save_diag(struct fd_save *c, const struct fd_probe *p, Stasis__PacketSocket *r,
		     struct stasis_error *err)
{
	scoped_free struct nlmsghdr *answer = malloc(ANSWER_BYTES);
	scoped_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	bool has_ring = false;
	int got = 0;

	if (!answer)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	if (fd < 0 || send_request(fd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "ask the kernel for packet sockets");
	while (!got) {
		ssize_t n = recv(fd, answer, ANSWER_BYTES, 0);

		got = n <= 0 ? -1 : take_answer(c, answer, (size_t)n, p->st.st_ino, r, &has_ring);
	}
	if (got < 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "packet socket that the kernel does not describe (packet_diag); close it "
				   "before the checkpoint");
	if (has_ring)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "packet socket with a ring (PACKET_RX_RING, PACKET_TX_RING) is not "
				   "supported; close it before the checkpoint");
	return 0;
}

/* ---- dump ---- */

static int save_fanout(int fd, Stasis__PacketSocket *r, struct stasis_error *err)
{
	int value = socket_int(fd, SOL_PACKET, PACKET_FANOUT), type = (value & FANOUT_TYPES) >> 16;

	if (value <= 0)
		return 0;
	r->fanout = (uint32_t)(value & ~FANOUT_UNIQUE);
	if (type != PACKET_FANOUT_CBPF && type != PACKET_FANOUT_EBPF)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "packet socket in a fanout group with a program is not supported; close it "
			   "before the checkpoint");
}

static int packet_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		       Stasis__Description *ret, struct stasis_error *err)
{
	struct pollfd poll_fd = {.fd = p->local_fd, .events = POLLIN};
	Stasis__PacketSocket *r = fd_save_alloc(c, sizeof(*r));
	struct sockaddr_ll a = {.sll_family = AF_PACKET};
	socklen_t len = sizeof(a);

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__packet_socket__init(r);
	if (socket_check_namespace(p->local_fd, err) < 0)
		return -1;
	if (getsockname(p->local_fd, (struct sockaddr *)&a, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getsockname");
	r->type = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_TYPE);
	r->protocol = a.sll_protocol;
	r->interface = interface_name(c, (unsigned)a.sll_ifindex);
	if (!r->interface)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "packet socket of an interface that is gone; close it before the "
				   "checkpoint");
	if (save_diag(c, p, r, err) < 0 || save_fanout(p->local_fd, r, err) < 0 ||
	    socket_options_save(c, p->local_fd, &r->options, err) < 0)
		return -1;
	if (poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLIN)
		s_warn(s, "%s(%d) fd %d: packets that wait in a packet socket are not saved",
		       p->task->comm, p->task->pid, p->fd);
	ret->kind_case = STASIS__DESCRIPTION__KIND_PACKET;
	ret->packet = r;
	return 0;
}

/* ---- restart ---- */

static int find_interface(const char *name, int *ret, struct stasis_error *err)
{
	*ret = name[0] ? (int)if_nametoindex(name) : 0;
	if (name[0] && !*ret)
		return stasis_fail(err, STASIS_E_GONE, "there is no interface '%s' any more", name);
	return 0;
}

static int check_members(const Stasis__PacketSocket *r, struct stasis_error *err)
{
	if (r->n_members > MAX_MEMBERS)
		return stasis_fail(err, STASIS_E_CORRUPT, "packet socket with %zu memberships",
				   r->n_members);
	for (size_t i = 0; i < r->n_members; i++) {
		const Stasis__PacketMember *m = r->members[i];

		if (m->type > PACKET_MR_UNICAST || m->count > MAX_MEMBERS ||
		    m->address.len > MAX_ADDRESS_BYTES ||
		    strlen(m->interface) >= IF_NAMESIZE)
			return stasis_fail(err, STASIS_E_CORRUPT, "membership of type %u", m->type);
	}
	return 0;
}

static int make(struct session *s, const Stasis__PacketSocket *r, struct stasis_error *err)
{
	scoped_fd int fd = socket(AF_PACKET, (int)r->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 && (errno == EPERM || errno == EACCES))
		return stasis_fail_errno(err, STASIS_E_DENIED, "make a packet socket");
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make a packet socket");
	if (socket_options_load(s, r->options, fd, err) < 0)
		return -1;
	return fd_take(&fd);
}

static int packet_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			 struct stasis_error *err)
{
	const Stasis__PacketSocket *r = d->packet;
	scoped_fd int fd = -1;
	int index;

	(void)s;
	(void)c;
	if ((r->type != SOCK_RAW && r->type != SOCK_DGRAM && r->type != SOCK_PACKET) ||
	    r->protocol > UINT16_MAX || strlen(r->interface) >= IF_NAMESIZE)
		return stasis_fail(err, STASIS_E_CORRUPT, "packet socket of type %u, protocol 0x%x",
				   r->type, r->protocol);
	if (check_members(r, err) < 0 || socket_options_check(r->options, err) < 0 ||
	    find_interface(r->interface, &index, err) < 0)
		return -1;
	fd = make(NULL, r, err);
	return fd < 0 ? -1 : 0;
}

static void join(struct session *s, const Stasis__PacketMember *m, int fd)
{
	struct { /* packet_mreq with room for every address */
		int index;
		uint16_t type, len;
		uint8_t address[MAX_ADDRESS_BYTES];
	} req = {.index = (int)if_nametoindex(m->interface),
		 .type = (uint16_t)m->type,
		 .len = (uint16_t)m->address.len};

	if (m->address.len)
		memcpy(req.address, m->address.data, m->address.len);
	for (uint32_t i = 0; i < m->count; i++) {
		if (req.index &&
		    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &req, sizeof(req)) == 0)
			continue;
		s_warn(s, "a packet socket cannot listen to more of interface '%s': %s", m->interface,
		       req.index ? strerror(errno) : "it is gone");
		return;
	}
}

/* Bound last: by then filter and options decide what comes in. */
static int packet_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	const Stasis__PacketSocket *r = d->packet;
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = (uint16_t)r->protocol};
	scoped_fd int fd = make(s, r, err);

	(void)c;
	if (fd < 0 || find_interface(r->interface, &a.sll_ifindex, err) < 0 ||
	    socket_options_finish(s, r->options, fd, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_members; i++)
		join(s, r->members[i], fd);
	if ((r->protocol || a.sll_ifindex) && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "bind a packet socket to '%s'", r->interface);
	if (r->fanout && setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &r->fanout, sizeof(r->fanout)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "join packet fanout group 0x%x", r->fanout);
	return fd_take(&fd);
}

const struct resource_kind kind_packet = {
	.name = "packet",
	.tag = STASIS__DESCRIPTION__KIND_PACKET,
	.match = packet_match,
	.save = packet_save,
	.verify = packet_verify,
	.load = packet_load,
};
