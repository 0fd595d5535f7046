/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packet sockets: bound to an interface, filtered, promiscuous, in a fanout group, unbound. */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FANOUT_HASH = 0 };

static void set_int(int fd, int name, int value)
{
	CHECK(setsockopt(fd, SOL_PACKET, name, &value, sizeof(value)) == 0);
}

static int get_int(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, SOL_PACKET, name, &value, &len) == 0);
	return value;
}

/* UDP to that port, in a packet without its link header. */
static void attach(int fd, uint16_t port)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 22),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

int main(void)
{
	struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int udp = socket(AF_INET, SOCK_DGRAM, 0), cooked, fan, unbound, group = getpid() & 0xffff;
	struct packet_mreq promiscuous = {.mr_type = PACKET_MR_PROMISC};
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)}, now;
	socklen_t len = sizeof(port);
	struct pollfd p;
	char buf[256];

	subject_init();
	CHECK(bind(udp, (struct sockaddr *)&port, len) == 0);
	CHECK(getsockname(udp, (struct sockaddr *)&port, &len) == 0);
	cooked = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CHECK(cooked >= 0);
	a.sll_ifindex = promiscuous.mr_ifindex = (int)if_nametoindex("lo");
	attach(cooked, ntohs(port.sin_port));
	CHECK(bind(cooked, (struct sockaddr *)&a, sizeof(a)) == 0);
	CHECK(setsockopt(cooked, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
			 sizeof(promiscuous)) == 0);
	set_int(cooked, PACKET_AUXDATA, 1);
	set_int(cooked, PACKET_VERSION, TPACKET_V3);
	fan = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	a.sll_protocol = htons(ETH_P_LOOP); /* nobody sends that */
	CHECK(bind(fan, (struct sockaddr *)&a, sizeof(a)) == 0);
	set_int(fan, PACKET_FANOUT, group | FANOUT_HASH << 16);
	unbound = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	subject_ready();
	subject_wait_go();

	len = sizeof(now);
	CHECK(getsockname(cooked, (struct sockaddr *)&now, &len) == 0);
	CHECK(now.sll_protocol == htons(ETH_P_IP) && now.sll_ifindex == promiscuous.mr_ifindex);
	CHECK(get_int(cooked, PACKET_AUXDATA) == 1 && get_int(cooked, PACKET_VERSION) == TPACKET_V3);
	CHECK(recv(cooked, buf, sizeof(buf), 0) < 0 && errno == EAGAIN);
	CHECK(sendto(udp, "hello", 6, 0, (struct sockaddr *)&port, sizeof(port)) == 6);
	p = (struct pollfd){.fd = cooked, .events = POLLIN};
	CHECK(poll(&p, 1, 20000) == 1);
	CHECK(recv(cooked, buf, sizeof(buf), 0) == 28 + 6 && !strcmp(buf + 28, "hello"));
	CHECK(setsockopt(cooked, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promiscuous,
			 sizeof(promiscuous)) == 0);
	CHECK(get_int(fan, PACKET_FANOUT) == (group | FANOUT_HASH << 16));
	len = sizeof(now);
	CHECK(getsockname(unbound, (struct sockaddr *)&now, &len) == 0);
	CHECK(now.sll_protocol == 0 && now.sll_ifindex == 0);
	subject_ok();
}
