/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Multicast groups of a socket. The kernel lists only those of an interface, /proc/net/igmp and igmp6,
 * but tells for each of them whether a given socket has joined it: MCAST_MSFILTER fails if not.
 */
#include "resource/sockets.h"

#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_SOURCES = 1024 };

/* Whom to ask about, and where the answer goes. */
struct search {
	struct fd_save *c;
	int fd;
	Stasis__InetSocket *r;
	struct group_filter *filter; /* room for MAX_SOURCES */
};

static bool has_group(const Stasis__InetSocket *r, const char *interface, const void *group,
		      size_t len)
{
	for (size_t i = 0; i < r->n_groups; i++)
		if (!strcmp(r->groups[i]->interface, interface) &&
		    !memcmp(r->groups[i]->group.data, group, len))
			return true;
	return false;
}

static int add_group(struct search *q, const char *interface, const void *group, size_t len,
		     struct stasis_error *err)
{
	Stasis__InetSocket *r = q->r;
	size_t nr = q->filter->gf_numsrc, sources_len = nr * sizeof(struct sockaddr_storage);
	Stasis__Multicast *g = fd_save_alloc(q->c, sizeof(*g) + len + sources_len);
	Stasis__Multicast **list = fd_save_alloc(q->c, (r->n_groups + 1) * sizeof(*list));

	if (!g || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for multicast groups");
	stasis__multicast__init(g);
	g->interface = fd_save_strdup(q->c, interface);
	if (!g->interface)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for multicast groups");
	g->mode = q->filter->gf_fmode;
	g->group.len = len;
	g->group.data = (uint8_t *)(g + 1);
	memcpy(g->group.data, group, len);
	g->sources.len = sources_len;
	g->sources.data = g->group.data + len;
	memcpy(g->sources.data, q->filter->gf_slist, sources_len);
	if (r->n_groups)
		memcpy(list, r->groups, r->n_groups * sizeof(*list));
	list[r->n_groups++] = g;
	r->groups = list;
	return 0;
}

static int ask(struct search *q, unsigned index, const char *interface, const void *group, size_t len,
	       struct stasis_error *err)
{
	int level = q->r->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	socklen_t size = (socklen_t)GROUP_FILTER_SIZE(MAX_SOURCES);

	memset(q->filter, 0, sizeof(*q->filter));
	q->filter->gf_interface = index;
	q->filter->gf_numsrc = MAX_SOURCES;
	memcpy(&q->filter->gf_group, group, len);
	if (has_group(q->r, interface, group, len) ||
	    getsockopt(q->fd, level, MCAST_MSFILTER, q->filter, &size) < 0)
		return 0; /* not this socket */
	if (q->filter->gf_numsrc > MAX_SOURCES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "multicast group with more than %d sources is not supported; name "
				   "fewer", MAX_SOURCES);
	return add_group(q, interface, group, len, err);
}

/* "3\teth0 : 1 V3" and then, indented, "010000E0 1 0:00000000 0" for each group, the address as it is
 * in memory. */
static int search_v4(struct search *q, FILE *f, struct stasis_error *err)
{
	char line[256], name[IF_NAMESIZE] = "";
	unsigned index = 0, group;

	while (fgets(line, sizeof(line), f)) {
		struct sockaddr_in a = {.sin_family = AF_INET};

		if (line[0] != '\t') {
			index = 0;
			(void)sscanf(line, "%u %15s", &index, name);
			name[strcspn(name, ":")] = '\0';
			continue;
		}
		if (!index || sscanf(line, " %8x", &group) != 1)
			continue;
		a.sin_addr.s_addr = group;
		if (ask(q, index, name, &a, sizeof(a), err) < 0)
			return -1;
	}
	return 0;
}

/* "1 lo ff020000000000000000000000000001 1 0000000C 0" */
static int search_v6(struct search *q, FILE *f, struct stasis_error *err)
{
	char line[256], name[IF_NAMESIZE], group[33];
	unsigned index;

	while (fgets(line, sizeof(line), f)) {
		struct sockaddr_in6 a = {.sin6_family = AF_INET6};

		if (sscanf(line, "%u %15s %32[0-9a-f]", &index, name, group) != 3 ||
		    strlen(group) != 32)
			continue;
		for (size_t i = 0; i < 16; i++) {
			char byte[3] = {group[2 * i], group[2 * i + 1]};

			a.sin6_addr.s6_addr[i] = (uint8_t)strtoul(byte, NULL, 16);
		}
		if (ask(q, index, name, &a, sizeof(a), err) < 0)
			return -1;
	}
	return 0;
}

int multicast_save(struct fd_save *c, const struct fd_probe *p, Stasis__InetSocket *r,
		   struct stasis_error *err)
{
	scoped_free struct group_filter *filter = calloc(1, GROUP_FILTER_SIZE(MAX_SOURCES));
	struct search q = {.c = c, .fd = p->local_fd, .r = r, .filter = filter};
	scoped_file FILE *f = fopen(r->family == AF_INET ? "/proc/self/net/igmp" : "/proc/self/net/igmp6", "re");

	if (!filter)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for multicast groups");
	if (!f)
		return 0; /* a kernel without multicast */
	return r->family == AF_INET ? search_v4(&q, f, err) : search_v6(&q, f, err);
}
