/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer's FIN, which a connection has received before the checkpoint, cannot be put into a new
 * socket; it is received again, from us: a raw packet with the peer's address, over the loopback
 * interface, where the kernel takes it with the route it was sent by.
 */
#include "resource/tcp.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum { FIN_WINDOW = 1024, HOPS = 64 };

struct pseudo_v4 {
	struct in_addr from, to;
	uint8_t zero, protocol;
	uint16_t len;
};

struct pseudo_v6 {
	struct in6_addr from, to;
	uint32_t len, protocol;
};

static uint32_t add_up(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void fill_tcp(struct tcphdr *h, uint16_t from_port, uint16_t to_port, uint32_t seq, uint32_t ack)
{
	memset(h, 0, sizeof(*h));
	h->source = from_port;
	h->dest = to_port;
	h->seq = htonl(seq);
	h->ack_seq = htonl(ack);
	h->doff = sizeof(*h) / 4;
	h->fin = 1;
	h->ack = 1;
	h->window = htons(FIN_WINDOW);
}

static int send_v4(struct in_addr from, struct in_addr to, struct tcphdr *tcp)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet;
	const struct pseudo_v4 pseudo = {from, to, 0, IPPROTO_TCP, htons(sizeof(*tcp))};
	const struct sockaddr_in dest = {.sin_family = AF_INET, .sin_addr = to};
	scoped_fd int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	tcp->check = fold(add_up(tcp, sizeof(*tcp), add_up(&pseudo, sizeof(pseudo), 0)));
	memset(&packet, 0, sizeof(packet)); /* the kernel fills in length and checksum of IP */
	packet.ip.version = 4;
	packet.ip.ihl = sizeof(packet.ip) / 4;
	packet.ip.ttl = HOPS;
	packet.ip.protocol = IPPROTO_TCP;
	packet.ip.saddr = from.s_addr;
	packet.ip.daddr = to.s_addr;
	packet.tcp = *tcp;
	if (fd < 0)
		return -1;
	return sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)&dest,
		      sizeof(dest)) == (ssize_t)sizeof(packet)
		       ? 0
		       : -1;
}

static int send_v6(const struct in6_addr *from, const struct in6_addr *to, uint32_t scope,
		   struct tcphdr *tcp)
{
	struct {
		struct ip6_hdr ip;
		struct tcphdr tcp;
	} packet;
	const struct pseudo_v6 pseudo = {*from, *to, htonl(sizeof(*tcp)), htonl(IPPROTO_TCP)};
	const struct sockaddr_in6 dest = {
		.sin6_family = AF_INET6, .sin6_addr = *to, .sin6_scope_id = scope};
	scoped_fd int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	tcp->check = fold(add_up(tcp, sizeof(*tcp), add_up(&pseudo, sizeof(pseudo), 0)));
	memset(&packet, 0, sizeof(packet));
	packet.ip.ip6_flow = htonl(6u << 28);
	packet.ip.ip6_plen = htons(sizeof(*tcp));
	packet.ip.ip6_nxt = IPPROTO_TCP;
	packet.ip.ip6_hlim = HOPS;
	packet.ip.ip6_src = *from;
	packet.ip.ip6_dst = *to;
	packet.tcp = *tcp;
	if (fd < 0)
		return -1;
	return sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)&dest,
		      sizeof(dest)) == (ssize_t)sizeof(packet)
		       ? 0
		       : -1;
}

int tcp_inject_fin(const Stasis__InetSocket *r, uint32_t seq, uint32_t ack, struct stasis_error *err)
{
	struct sockaddr_in6 local, peer;
	struct in_addr from, to;
	struct tcphdr tcp;
	int result;

	inet_normalize(&r->local, &local);
	inet_normalize(&r->peer, &peer);
	fill_tcp(&tcp, peer.sin6_port, local.sin6_port, seq, ack);
	if (IN6_IS_ADDR_V4MAPPED(&local.sin6_addr)) {
		memcpy(&from, &peer.sin6_addr.s6_addr[12], sizeof(from));
		memcpy(&to, &local.sin6_addr.s6_addr[12], sizeof(to));
		result = send_v4(from, to, &tcp);
	} else {
		result = send_v6(&peer.sin6_addr, &local.sin6_addr,
				 ((const struct sockaddr_in6 *)(const void *)r->local.data)->sin6_scope_id,
				 &tcp);
	}
	if (result < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "tell a connection of its peer's end");
	return 0;
}
