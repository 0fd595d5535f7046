/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Network namespaces: so far such as have a loopback interface and nothing else, as containers that
 * shall not see the network. Everything else is named as an obstacle.
 */
#include "ns/ns_priv.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* What the kernel puts into each new namespace when the tunnels' modules are there
 * (Documentation/admin-guide/sysctl/net.rst, fb_tunnels_only_for_init_net). */
static const char *const fallback[] = {"sit0",	  "tunl0",   "gre0",	"gretap0",  "erspan0",
				       "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0", NULL};

/* What was found, in memory shared with the process that looks. */
struct found {
	bool is_up;
	char other[IF_NAMESIZE]; /* an interface that is more than loopback */
	char address[IF_NAMESIZE]; /* one with an address that the kernel did not give it */
};

static bool is_fallback(const char *name)
{
	for (size_t i = 0; fallback[i]; i++)
		if (!strcmp(fallback[i], name))
			return true;
	return false;
}

static bool is_loopback_address(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
		       htonl(INADDR_LOOPBACK);
	if (a->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return true; /* AF_PACKET: the interface itself */
}

static void look_at(const struct ifaddrs *i, struct found *f)
{
	if (strcmp(i->ifa_name, "lo") != 0) {
		if (!is_fallback(i->ifa_name) || i->ifa_flags & IFF_UP)
			(void)snprintf(f->other, sizeof(f->other), "%s", i->ifa_name);
		return;
	}
	f->is_up |= (i->ifa_flags & IFF_UP) != 0;
	if (i->ifa_addr && !is_loopback_address(i->ifa_addr))
		(void)snprintf(f->address, sizeof(f->address), "%s", i->ifa_name);
}

static int look(void *arg, struct stasis_error *err)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "list network interfaces");
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		look_at(i, arg);
	freeifaddrs(list);
	return 0;
}

int ns_save_network(struct ns_save *n, struct ns_entry *e, struct stasis_error *err)
{
	struct found *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1, 0);
	int result;

	if (f == MAP_FAILED)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for namespaces");
	result = ns_run_inside(e->first, "net", look, f, err);
	e->rec.has_loopback_up = f->is_up;
	if (result == 0 && f->other[0])
		ns_save_report(n, e->first,
			       "has a network namespace with the interface '%s', which is not supported "
			       "yet; use a named one (ip netns), which is joined again at the restart",
			       f->other);
	else if (result == 0 && f->address[0])
		ns_save_report(n, e->first,
			       "has a network namespace with further addresses on '%s', which is not "
			       "supported yet; remove them, or use a named one (ip netns)",
			       f->address);
	(void)munmap(f, sizeof(*f));
	return result;
}

int ns_load_network(const Stasis__Namespace *rec, struct stasis_error *err)
{
	scoped_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_name = "lo"};

	if (!rec->has_loopback_up)
		return 0;
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "loopback interface");
	r.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "bring the loopback interface up");
	return 0;
}
