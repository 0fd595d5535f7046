/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in the network namespaces of a tree: interfaces of the kinds that a container has (loopback, veth,
 * dummy), addresses and routes. The other end of a veth pair is in another of them, in the same, or outside
 * with us; then what it is there belongs to the container too, since it goes when that goes.
 */
#include "ns/netlink.h"
#include "ns/ns_priv.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { TEXT_BYTES = 1 << 20, LOOPBACK = 1, ADDRESS_MAX_BYTES = 32, MAX_ROUTE_BYTES = 1024 };

/* What the kernel puts into each new namespace when the tunnels' modules are there
 * (Documentation/admin-guide/sysctl/net.rst, fb_tunnels_only_for_init_net). */
static const char *const fallback[] = {"sit0",	  "tunl0",   "gre0",	"gretap0",  "erspan0",
				       "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0", NULL};

/* What one namespace tells, in memory shared with the process that looks. */
struct net_text {
	int32_t nsids[NS_MAX + 1]; /* by id of ours: what it calls that; 0 is where we are. -1: nothing */
	size_t len;
	bool is_cut;
	char bytes[TEXT_BYTES]; /* messages, one behind the other */
};

struct look {
	int fds[NS_MAX + 1]; /* of the namespaces, by id */
	struct net_text *text;
};

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for network namespaces");
}

/* ---- asking ---- */

static int keep_message(void *arg, const struct nlmsghdr *h, struct stasis_error *err)
{
	struct net_text *t = arg;
	size_t room = NLMSG_ALIGN(h->nlmsg_len);

	(void)err;
	if (room > sizeof(t->bytes) - t->len) {
		t->is_cut = true;
		return 0;
	}
	memcpy(t->bytes + t->len, h, h->nlmsg_len);
	t->len += room;
	return 0;
}

static int ask_for_all(int fd, struct net_text *t, struct stasis_error *err)
{
	static const unsigned types[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE};
	const struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
	struct nl_request r;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		nl_begin(&r, types[i], NLM_F_DUMP, &any, sizeof(any));
		if (nl_talk(fd, &r, keep_message, t, "list the network", err) < 0)
			return -1;
	}
	return 0;
}

static int take_nsid(void *arg, const struct nlmsghdr *h, struct stasis_error *err)
{
	size_t len;
	const void *id = nl_find(h, sizeof(struct rtgenmsg), NETNSA_NSID, sizeof(int32_t), &len);

	(void)err;
	if (id)
		memcpy(arg, id, sizeof(int32_t));
	return 0;
}

static int look(void *arg, struct stasis_error *err)
{
	const struct look *l = arg;
	const struct rtgenmsg any = {.rtgen_family = AF_UNSPEC};
	scoped_fd int fd = nl_open(err);
	struct nl_request r;

	if (fd < 0)
		return -1;
	for (size_t i = 0; i <= NS_MAX; i++) {
		l->text->nsids[i] = -1;
		if (l->fds[i] < 0)
			continue;
		nl_begin(&r, RTM_GETNSID, 0, &any, sizeof(any));
		nl_put_u32(&r, NETNSA_FD, (uint32_t)l->fds[i]);
		if (nl_talk(fd, &r, take_nsid, &l->text->nsids[i], "names of network namespaces", err) < 0)
			return -1;
	}
	return ask_for_all(fd, l->text, err);
}

static const struct nlmsghdr *next_message(const struct net_text *t, size_t *at)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)(t->bytes + *at);

	if (*at >= t->len)
		return NULL;
	*at += NLMSG_ALIGN(h->nlmsg_len);
	return h;
}

/* ---- interfaces ---- */

static uint32_t attribute_u32(const struct nlmsghdr *h, unsigned type)
{
	size_t len;
	const void *value = nl_find(h, sizeof(struct ifinfomsg), type, sizeof(uint32_t), &len);
	uint32_t result = 0;

	if (value)
		memcpy(&result, value, sizeof(result));
	return result;
}

static char *text_of(struct arena *a, const void *value, size_t len)
{
	char text[IF_NAMESIZE] = "";

	if (value)
		memcpy(text, value, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
	return arena_strdup(a, text);
}

static char *kind_of(struct arena *a, const struct nlmsghdr *h)
{
	size_t len = 0, kind_len = 0;
	const void *info = nl_find(h, sizeof(struct ifinfomsg), IFLA_LINKINFO, 0, &len);
	const void *kind = info ? nl_find_in(info, len, IFLA_INFO_KIND, 1, &kind_len) : NULL;

	return text_of(a, kind, kind_len);
}

static int fill_interface(struct arena *a, const struct nlmsghdr *h, Stasis__Interface *ret,
			  struct stasis_error *err)
{
	const struct ifinfomsg *m = (const struct ifinfomsg *)(const void *)(h + 1);
	size_t len = 0, mac_len = 0;
	const void *name = nl_find(h, sizeof(*m), IFLA_IFNAME, 1, &len);
	const void *mac = nl_find(h, sizeof(*m), IFLA_ADDRESS, 1, &mac_len);

	stasis__interface__init(ret);
	ret->index = (uint32_t)m->ifi_index;
	ret->is_up = m->ifi_flags & IFF_UP;
	ret->name = text_of(a, name, len);
	ret->kind = kind_of(a, h);
	ret->mtu = attribute_u32(h, IFLA_MTU);
	ret->queue_len = attribute_u32(h, IFLA_TXQLEN);
	if (mac && mac_len <= ADDRESS_MAX_BYTES) {
		ret->mac.data = arena_memdup(a, mac, mac_len);
		ret->mac.len = mac_len;
	}
	return ret->name && ret->kind && (!ret->mac.len || ret->mac.data) ? 0 : no_memory(err);
}

static const struct nlmsghdr *find_link(const struct net_text *t, uint32_t index)
{
	const struct nlmsghdr *h;
	size_t at = 0;

	while ((h = next_message(t, &at)))
		if (h->nlmsg_type == RTM_NEWLINK &&
		    ((const struct ifinfomsg *)(const void *)(h + 1))->ifi_index == (int)index)
			return h;
	return NULL;
}

/* ---- addresses and routes ---- */

/* Of which interface: 0 for none. */
static uint32_t index_of(const struct nlmsghdr *h)
{
	size_t len;
	const void *out;
	uint32_t index = 0;

	if (h->nlmsg_type == RTM_NEWADDR)
		return ((const struct ifaddrmsg *)(const void *)(h + 1))->ifa_index;
	out = nl_find(h, sizeof(struct rtmsg), RTA_OIF, sizeof(index), &len);
	if (out)
		memcpy(&index, out, sizeof(index));
	return index;
}

static bool is_own_loopback(const struct nlmsghdr *h)
{
	static const uint8_t v4[] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
	const struct ifaddrmsg *m = (const struct ifaddrmsg *)(const void *)(h + 1);
	size_t len = 0;
	const void *address = nl_find(h, sizeof(*m), IFA_ADDRESS, 4, &len);

	return m->ifa_index == LOOPBACK && address &&
	       ((len == sizeof(v4) && !memcmp(address, v4, len)) ||
		(len == sizeof(v6) && !memcmp(address, v6, len)));
}

/* The kernel makes its own: with each address, with an interface that is up, for what is local. */
static bool is_kernels(const struct nlmsghdr *h)
{
	const struct rtmsg *m = (const struct rtmsg *)(const void *)(h + 1);
	bool is_cloned = m->rtm_flags & RTM_F_CLONED;

	return is_cloned || m->rtm_table == RT_TABLE_LOCAL || m->rtm_protocol == RTPROT_KERNEL ||
	       m->rtm_protocol == RTPROT_RA || m->rtm_protocol == RTPROT_REDIRECT;
}

/* Each message of that type that belongs to `index` (0: to any), without its header. */
static int take_messages(struct arena *a, const struct net_text *t, unsigned type, uint32_t index,
			 ProtobufCBinaryData **ret, size_t *ret_nr, struct stasis_error *err)
{
	const struct nlmsghdr *h;
	size_t nr = 0;

	for (size_t at = 0; (h = next_message(t, &at));)
		nr += h->nlmsg_type == type;
	*ret = arena_alloc(a, (nr + 1) * sizeof(**ret));
	if (!*ret)
		return no_memory(err);
	nr = 0;
	for (size_t at = 0; (h = next_message(t, &at));) {
		ProtobufCBinaryData *d = &(*ret)[nr];

		if (h->nlmsg_type != type || (index && index_of(h) != index) ||
		    (type == RTM_NEWADDR ? is_own_loopback(h) : is_kernels(h)))
			continue;
		d->len = h->nlmsg_len - sizeof(*h);
		if (d->len > MAX_ROUTE_BYTES)
			continue;
		d->data = arena_memdup(a, h + 1, d->len);
		if (!d->data)
			return no_memory(err);
		nr++;
	}
	*ret_nr = nr;
	return 0;
}

/* ---- the other end ---- */

/* An end outside, with all that it has there. */
static int save_outside(struct ns_save *n, const struct net_text *ours, uint32_t index, Stasis__Interface *i,
			struct stasis_error *err)
{
	const struct nlmsghdr *h = find_link(ours, index), *bridge;
	Stasis__Interface *p = i->peer = arena_alloc(&n->arena, sizeof(*p));

	if (!p)
		return no_memory(err);
	if (!h)
		return stasis_fail(err, STASIS_E_GONE, "the other end of '%s' is gone", i->name);
	if (fill_interface(&n->arena, h, p, err) < 0 ||
	    take_messages(&n->arena, ours, RTM_NEWADDR, index, &p->addresses, &p->n_addresses, err) < 0 ||
	    take_messages(&n->arena, ours, RTM_NEWROUTE, index, &p->routes, &p->n_routes, err) < 0)
		return -1;
	bridge = find_link(ours, attribute_u32(h, IFLA_MASTER));
	if (bridge) {
		size_t len = 0;
		const void *name = nl_find(bridge, sizeof(struct ifinfomsg), IFLA_IFNAME, 1, &len);

		p->bridge = text_of(&n->arena, name, len);
	}
	return p->bridge ? 0 : no_memory(err);
}

static int save_pair(struct ns_save *n, struct ns_entry *e, const struct net_text *t, const struct net_text *ours,
		     const struct nlmsghdr *h, Stasis__Interface *i, struct stasis_error *err)
{
	uint32_t nsid = attribute_u32(h, IFLA_LINK_NETNSID);
	size_t len, where = 0;

	i->peer_index = attribute_u32(h, IFLA_LINK);
	if (!nl_find(h, sizeof(struct ifinfomsg), IFLA_LINK_NETNSID, sizeof(nsid), &len)) {
		i->peer_namespace = e->rec.id;
		return 0;
	}
	while (where <= NS_MAX && (t->nsids[where] < 0 || (uint32_t)t->nsids[where] != nsid))
		where++;
	if (where > NS_MAX) {
		ns_save_report(n, e->first,
			       "has a network namespace with the interface '%s', whose other end is neither "
			       "here nor in the hierarchy; remove it, or use a named namespace (ip netns)",
			       i->name);
		return 0;
	}
	i->peer_namespace = (uint32_t)where;
	return where ? 0 : save_outside(n, ours, i->peer_index, i, err);
}

/* ---- a namespace ---- */

static bool is_fallback(const Stasis__Interface *i)
{
	for (size_t k = 0; fallback[k]; k++)
		if (!strcmp(fallback[k], i->name))
			return !i->is_up;
	return false;
}

static int save_interface(struct ns_save *n, struct ns_entry *e, const struct net_text *t,
			  const struct net_text *ours, const struct nlmsghdr *h, struct stasis_error *err)
{
	Stasis__Interface *i = arena_alloc(&n->arena, sizeof(*i));

	if (!i || fill_interface(&n->arena, h, i, err) < 0)
		return no_memory(err);
	if (i->index == LOOPBACK) {
		e->rec.has_loopback_up = i->is_up;
		return 0;
	}
	if (is_fallback(i))
		return 0;
	if (strcmp(i->kind, "veth") != 0 && strcmp(i->kind, "dummy") != 0) {
		ns_save_report(n, e->first,
			       "has a network namespace with the interface '%s' (%s), which is not supported; "
			       "use a named one (ip netns), which is joined again at the restart",
			       i->name, *i->kind ? i->kind : "a device");
		return 0;
	}
	e->rec.interfaces[e->rec.n_interfaces++] = i;
	return strcmp(i->kind, "veth") ? 0 : save_pair(n, e, t, ours, h, i, err);
}

static int save_text(struct ns_save *n, struct ns_entry *e, const struct net_text *t,
		     const struct net_text *ours, struct stasis_error *err)
{
	const struct nlmsghdr *h;
	size_t nr = 0;

	if (t->is_cut)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "a network namespace with more than %d bytes of "
				   "interfaces, addresses and routes", TEXT_BYTES);
	for (size_t at = 0; (h = next_message(t, &at));)
		nr += h->nlmsg_type == RTM_NEWLINK;
	e->rec.interfaces = arena_alloc(&n->arena, (nr + 1) * sizeof(*e->rec.interfaces));
	if (!e->rec.interfaces)
		return no_memory(err);
	for (size_t at = 0; (h = next_message(t, &at));)
		if (h->nlmsg_type == RTM_NEWLINK && save_interface(n, e, t, ours, h, err) < 0)
			return -1;
	if (take_messages(&n->arena, t, RTM_NEWADDR, 0, &e->rec.addresses, &e->rec.n_addresses, err) < 0)
		return -1;
	return take_messages(&n->arena, t, RTM_NEWROUTE, 0, &e->rec.routes, &e->rec.n_routes, err);
}

static struct net_text *map_text(void)
{
	void *t = mmap(NULL, sizeof(struct net_text), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return t == MAP_FAILED ? NULL : t;
}

static bool is_saved(const struct ns_entry *e)
{
	return e->rec.type == STASIS__NAMESPACE_TYPE__NAMESPACE_NET && e->rec.id && !e->rec.path[0];
}

static int save_all(struct ns_save *n, struct look *l, const struct net_text *ours, struct stasis_error *err)
{
	for (struct ns_entry *e = n->entries; e; e = e->next) {
		if (!is_saved(e))
			continue;
		l->text->len = 0;
		l->text->is_cut = false;
		if (ns_run_inside(e->first, "net", look, l, err) < 0 ||
		    save_text(n, e, l->text, ours, err) < 0)
			return stasis_fail_prefix(err, "network of %d", e->first->pid);
	}
	return 0;
}

int ns_save_links(struct ns_save *n, struct stasis_error *err)
{
	struct net_text *ours = NULL;
	struct look l = {.text = NULL}, own;
	bool has_some = false;
	int result = -1;

	for (size_t i = 0; i <= NS_MAX; i++)
		l.fds[i] = -1;
	for (struct ns_entry *e = n->entries; e; e = e->next)
		if (is_saved(e) && e->rec.id <= NS_MAX) {
			l.fds[e->rec.id] = openat(e->first->procfd, "ns/net", O_RDONLY | O_CLOEXEC);
			has_some = true;
		}
	if (!has_some)
		return 0;
	l.fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	l.text = map_text();
	ours = map_text();
	own = l;
	own.text = ours;
	if (!l.text || !ours)
		(void)no_memory(err);
	else if (look(&own, err) == 0)
		result = save_all(n, &l, ours, err);
	for (size_t i = 0; i <= NS_MAX; i++)
		scoped_close_fd(&l.fds[i]);
	if (l.text)
		(void)munmap(l.text, sizeof(*l.text));
	if (ours)
		(void)munmap(ours, sizeof(*ours));
	return result;
}
