/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw sockets: ICMP with a filter, connected without a port; with headers of its own; IPv6. `raw ping` is
 * what an ordinary user may have of it.
 */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOL_RAW_LEVEL = 255, FILTER = 1, TEST_PROTOCOL = 253 };

static const struct sockaddr_in loopback = {.sin_family = AF_INET,
					    .sin_addr.s_addr = 0x0100007f};

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, level, name, &value, &len) == 0);
	return value;
}

static uint16_t checksum(const void *data, size_t len)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static struct icmphdr echo_request(uint16_t id)
{
	struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.id = id, .un.echo.sequence = 5};

	echo.checksum = checksum(&echo, sizeof(echo));
	return echo;
}

/* Until the answer to our own is there: others' may come as well. */
static void take_reply(int fd, uint16_t id, size_t header)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	const struct icmphdr *reply;
	char buf[256];

	do {
		CHECK(poll(&p, 1, 20000) == 1);
		CHECK(recv(fd, buf, sizeof(buf), 0) >= (ssize_t)(header + sizeof(*reply)));
		reply = (const void *)(buf + header);
	} while (reply->un.echo.id != id);
	CHECK(reply->type == ICMP_ECHOREPLY && reply->un.echo.sequence == 5);
}

static void ping(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct sockaddr_in name, now;
	struct icmphdr echo;
	socklen_t len = sizeof(name);

	CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&name, &len) == 0 && name.sin_port);
	subject_ready();
	subject_wait_go();
	CHECK(getsockname(fd, (struct sockaddr *)&now, &len) == 0 && now.sin_port == name.sin_port);
	echo = echo_request(0); /* the kernel puts the id in */
	CHECK(send(fd, &echo, sizeof(echo), 0) == sizeof(echo));
	take_reply(fd, name.sin_port, 0);
}

static void send_own_header(int fd, int to)
{
	struct {
		struct iphdr ip;
		char text[4];
	} packet = {.ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 9,
			   .protocol = TEST_PROTOCOL,
			   .saddr = loopback.sin_addr.s_addr,
			   .daddr = loopback.sin_addr.s_addr,
			   .tot_len = htons(sizeof(packet))},
		    .text = "own"};
	struct pollfd p = {.fd = to, .events = POLLIN};
	char buf[256];

	CHECK(sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)&loopback,
		     sizeof(loopback)) == sizeof(packet));
	CHECK(poll(&p, 1, 20000) == 1 && recv(to, buf, sizeof(buf), 0) == sizeof(packet));
	CHECK(!strcmp(buf + sizeof(packet.ip), "own"));
}

static void raw(void)
{
	int icmp = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), own, other, v6;
	const uint32_t replies = ~(1u << ICMP_ECHOREPLY); /* struct icmp_filter */
	uint32_t filter;
	struct icmp6_filter filter6, now6;
	socklen_t len = sizeof(filter);
	const int one = 1, ttl = 44;
	struct icmphdr echo = echo_request((uint16_t)getpid());

	CHECK(icmp >= 0 && connect(icmp, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	CHECK(setsockopt(icmp, SOL_RAW_LEVEL, FILTER, &replies, sizeof(replies)) == 0);
	CHECK(setsockopt(icmp, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) == 0);
	own = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	other = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, TEST_PROTOCOL);
	CHECK(own >= 0 && other >= 0 && setsockopt(other, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) == 0);
	CHECK(bind(other, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	v6 = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	ICMP6_FILTER_SETBLOCKALL(&filter6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
	CHECK(v6 < 0 || setsockopt(v6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof(filter6)) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(getsockopt(icmp, SOL_RAW_LEVEL, FILTER, &filter, &len) == 0 && filter == replies);
	CHECK(get_int(icmp, IPPROTO_IP, IP_TTL) == 44 && get_int(other, IPPROTO_IP, IP_HDRINCL) == 1);
	CHECK(get_int(icmp, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP);
	CHECK(send(icmp, &echo, sizeof(echo), 0) == sizeof(echo)); /* it is connected */
	take_reply(icmp, (uint16_t)getpid(), sizeof(struct iphdr));
	send_own_header(own, other);
	len = sizeof(now6);
	if (v6 >= 0)
		CHECK(getsockopt(v6, IPPROTO_ICMPV6, ICMP6_FILTER, &now6, &len) == 0 &&
		      !memcmp(&now6, &filter6, sizeof(now6)));
}

int main(int argc, char **argv)
{
	subject_init();
	if (argc > 1 && !strcmp(argv[1], "ping"))
		ping();
	else
		raw();
	subject_ok();
}
