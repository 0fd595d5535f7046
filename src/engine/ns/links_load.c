/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Network interfaces made again, facing links_save.c. Inside they have the index they had, which programs
 * remember; the end of a veth pair that is outside gets another one.
 */
#include "ns/netlink.h"
#include "ns/ns_priv.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum { MAX_INTERFACES = 256, MAX_MESSAGES = 4096, MESSAGE_MAX_BYTES = 1024, MAC_MAX_BYTES = 32, LOOPBACK = 1,
       /* an interface of a namespace that has just been left goes some moments later */
       BUSY_TRIES = 200, BUSY_NS = 50000000 };

/* ---- plan ---- */

static bool is_name(const char *name)
{
	return *name && strlen(name) < IF_NAMESIZE && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/* What they say is the kernel's to judge: it belongs to that namespace. */
static bool are_messages(const ProtobufCBinaryData *v, size_t nr, size_t body_len)
{
	bool is_ok = nr <= MAX_MESSAGES;

	for (size_t i = 0; i < nr && is_ok; i++)
		is_ok = v[i].len >= body_len && v[i].len <= MESSAGE_MAX_BYTES;
	return is_ok;
}

static bool is_interface(const Stasis__Interface *i)
{
	return is_name(i->name) && i->index <= INT32_MAX && i->mac.len <= MAC_MAX_BYTES &&
	       (!i->bridge[0] || is_name(i->bridge)) &&
	       are_messages(i->addresses, i->n_addresses, sizeof(struct ifaddrmsg)) &&
	       are_messages(i->routes, i->n_routes, sizeof(struct rtmsg));
}

int ns_check_links(const Stasis__Namespace *rec, struct stasis_error *err)
{
	bool is_ok = rec->n_interfaces <= MAX_INTERFACES &&
		     are_messages(rec->addresses, rec->n_addresses, sizeof(struct ifaddrmsg)) &&
		     are_messages(rec->routes, rec->n_routes, sizeof(struct rtmsg));

	for (size_t i = 0; i < rec->n_interfaces && is_ok; i++) {
		const Stasis__Interface *v = rec->interfaces[i];
		bool is_pair = !strcmp(v->kind, "veth");

		is_ok = is_interface(v) && v->index > LOOPBACK && (is_pair || !strcmp(v->kind, "dummy")) &&
			v->peer_index <= INT32_MAX && v->peer_namespace <= NS_MAX &&
			(!is_pair || v->peer_namespace || (v->peer && is_interface(v->peer)));
	}
	return is_ok ? 0 : stasis_fail(err, STASIS_E_CORRUPT, "interfaces of a network namespace");
}

/* ---- interfaces ---- */

static void put_interface(struct nl_request *r, const Stasis__Interface *i)
{
	nl_put(r, IFLA_IFNAME, i->name, strlen(i->name) + 1);
	if (i->mac.len)
		nl_put(r, IFLA_ADDRESS, i->mac.data, i->mac.len);
	if (i->mtu)
		nl_put_u32(r, IFLA_MTU, i->mtu);
	nl_put_u32(r, IFLA_TXQLEN, i->queue_len);
}

static void put_peer(struct nl_request *r, const Stasis__Interface *peer, int index, int fd)
{
	const struct ifinfomsg body = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	size_t data = nl_nest(r, IFLA_INFO_DATA), end = nl_nest(r, VETH_INFO_PEER);

	nl_put_raw(r, &body, sizeof(body));
	put_interface(r, peer);
	nl_put_u32(r, IFLA_NET_NS_FD, (uint32_t)fd);
	nl_nest_end(r, end);
	nl_nest_end(r, data);
}

struct pair {
	const Stasis__Interface *peer;
	int index, fd; /* of the other end, 0 for any; of its namespace */
};

static int make_interface(int nl, const Stasis__Interface *i, const struct pair *pair, struct stasis_error *err)
{
	const struct ifinfomsg body = {.ifi_family = AF_UNSPEC, .ifi_index = (int)i->index};
	const struct timespec moment = {.tv_nsec = BUSY_NS};
	struct stasis_error why;
	struct nl_request r;
	char what[128];

	(void)snprintf(what, sizeof(what), "make the network interface '%s'%s%s", i->name,
		       pair->peer ? " with " : "", pair->peer ? pair->peer->name : "");
	for (int tries = 0;; tries++) {
		size_t info;

		nl_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
		put_interface(&r, i);
		info = nl_nest(&r, IFLA_LINKINFO);
		nl_put(&r, IFLA_INFO_KIND, i->kind, strlen(i->kind));
		if (pair->peer)
			put_peer(&r, pair->peer, pair->index, pair->fd);
		nl_nest_end(&r, info);
		if (nl_talk(nl, &r, NULL, NULL, what, &why) == 0)
			return 0;
		if (why.sys_errno != EEXIST || tries == BUSY_TRIES)
			break;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	}
	if (err)
		*err = why;
	return -1;
}

static const Stasis__Interface *find_interface(const Stasis__Namespace *rec, uint32_t index)
{
	for (size_t i = 0; rec && i < rec->n_interfaces; i++)
		if (rec->interfaces[i]->index == index)
			return rec->interfaces[i];
	return NULL;
}

struct in_net {
	struct ns_load *n;
	const struct ns_made *m; /* NULL: the restarter's */
	int (*fn)(struct ns_load *n, const struct ns_made *m, int nl, struct stasis_error *err);
};

/* The end with the smaller namespace, or index, makes both; that outside is made from inside. */
static int make_pair(struct ns_load *n, const struct ns_made *m, int nl, const Stasis__Interface *i,
		     struct stasis_error *err)
{
	const uint32_t own = m->rec->id, there = i->peer_namespace;
	const struct ns_made *other = there ? &n->made[there] : NULL;
	struct pair pair = {.peer = i->peer, .fd = n->own[STASIS__NAMESPACE_TYPE__NAMESPACE_NET]};

	if (there && (there < own || (there == own && i->peer_index < i->index)))
		return 0;
	if (there) {
		pair.peer = find_interface(other->rec, i->peer_index);
		pair.index = (int)i->peer_index;
		pair.fd = other->fd;
	}
	if (!pair.peer || pair.fd < 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the other end of the network interface '%s' is in a namespace of processes "
				   "that are not restarted; restart the hierarchy from its root", i->name);
	return make_interface(nl, i, &pair, err);
}

static int make_interfaces(struct ns_load *n, const struct ns_made *m, int nl, struct stasis_error *err)
{
	const struct pair none = {.fd = -1};

	for (size_t i = 0; i < m->rec->n_interfaces; i++) {
		const Stasis__Interface *v = m->rec->interfaces[i];

		if ((strcmp(v->kind, "veth") ? make_interface(nl, v, &none, err)
					     : make_pair(n, m, nl, v, err)) < 0)
			return -1;
	}
	return 0;
}

/* ---- what they have ---- */

static int set_up(int nl, uint32_t index, uint32_t bridge, bool is_up, const char *name, struct stasis_error *err)
{
	const struct ifinfomsg body = {.ifi_family = AF_UNSPEC,
				       .ifi_index = (int)index,
				       .ifi_flags = is_up ? IFF_UP : 0,
				       .ifi_change = IFF_UP};
	struct nl_request r;
	char what[64];

	(void)snprintf(what, sizeof(what), "set up the network interface '%s'", name);
	nl_begin(&r, RTM_NEWLINK, 0, &body, sizeof(body));
	if (bridge)
		nl_put_u32(&r, IFLA_MASTER, bridge);
	return nl_talk(nl, &r, NULL, NULL, what, err);
}

static int put_addresses(int nl, const ProtobufCBinaryData *v, size_t nr, uint32_t index, struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++) {
		struct nl_request r;
		struct ifaddrmsg body;
		struct stasis_error why;

		memcpy(&body, v[i].data, sizeof(body));
		if (index)
			body.ifa_index = index;
		nl_begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
		nl_put_raw(&r, v[i].data + sizeof(body), v[i].len - sizeof(body));
		/* it was there before: nobody need be asked whether it is free */
		if (body.ifa_family == AF_INET6)
			nl_put_u32(&r, IFA_FLAGS, body.ifa_flags | IFA_F_NODAD);
		if (nl_talk(nl, &r, NULL, NULL, "set an address of a network interface", &why) < 0 &&
		    why.sys_errno != EEXIST) {
			if (err)
				*err = why;
			return -1;
		}
	}
	return 0;
}

/* The interface of a route outside has another index now. */
static void put_route(struct nl_request *r, const ProtobufCBinaryData *d, uint32_t index)
{
	const size_t body = sizeof(struct rtmsg);
	size_t len = 0;

	nl_begin(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, d->data, body);
	nl_put_raw(r, d->data + body, d->len - body);
	if (index && !r->is_full) {
		/* it is in the message that was copied, so in ours at the same place */
		const uint8_t *oif = nl_find_in(d->data + body, d->len - body, RTA_OIF, sizeof(index), &len);

		if (oif)
			memcpy(r->bytes + (oif - d->data), &index, sizeof(index));
	}
}

static int put_routes(struct ns_load *n, int nl, const ProtobufCBinaryData *v, size_t nr, uint32_t index,
		      struct stasis_error *err)
{
	/* those to a gateway need the one to the gateway, which may come later */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < nr; i++) {
			struct stasis_error why;
			struct nl_request r;

			put_route(&r, &v[i], index);
			if (nl_talk(nl, &r, NULL, NULL, "set a route", &why) == 0 || !round ||
			    why.sys_errno == EEXIST)
				continue;
			if (!n->s->is_forced) {
				if (err)
					*err = why;
				return -1;
			}
			s_warn(n->s, "%s", why.text);
		}
	return 0;
}

static int fill_inside(struct ns_load *n, const struct ns_made *m, int nl, struct stasis_error *err)
{
	const Stasis__Namespace *rec = m->rec;

	if (rec->has_loopback_up && set_up(nl, LOOPBACK, 0, true, "lo", err) < 0)
		return -1;
	for (size_t i = 0; i < rec->n_interfaces; i++)
		if (rec->interfaces[i]->is_up &&
		    set_up(nl, rec->interfaces[i]->index, 0, true, rec->interfaces[i]->name, err) < 0)
			return -1;
	if (put_addresses(nl, rec->addresses, rec->n_addresses, 0, err) < 0)
		return -1;
	return put_routes(n, nl, rec->routes, rec->n_routes, 0, err);
}

static int fill_outside(struct ns_load *n, const Stasis__Interface *p, int nl, struct stasis_error *err)
{
	uint32_t index = if_nametoindex(p->name), bridge = p->bridge[0] ? if_nametoindex(p->bridge) : 0;

	if (p->bridge[0] && !bridge && !n->s->is_forced)
		return stasis_fail(err, STASIS_E_GONE,
				   "the network interface '%s' was a port of the bridge '%s', which is not here; "
				   "make it, or use -F", p->name, p->bridge);
	if (!index)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "network interface '%s'", p->name);
	if (set_up(nl, index, bridge, p->is_up, p->name, err) < 0 ||
	    put_addresses(nl, p->addresses, p->n_addresses, index, err) < 0)
		return -1;
	return put_routes(n, nl, p->routes, p->n_routes, index, err);
}

static int fill_all_outside(struct ns_load *n, const struct ns_made *m, int nl, struct stasis_error *err)
{
	(void)m;
	for (uint32_t id = 1; id <= n->nr; id++) {
		const Stasis__Namespace *rec = n->made[id].rec;

		for (size_t i = 0; rec && i < rec->n_interfaces; i++) {
			const Stasis__Interface *v = rec->interfaces[i];

			if (!strcmp(v->kind, "veth") && !v->peer_namespace &&
			    fill_outside(n, v->peer, nl, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* ---- all ---- */

static int go_in(void *arg, struct stasis_error *err)
{
	const struct in_net *job = arg;
	scoped_fd int nl = -1;

	if (job->m && setns(job->m->fd, CLONE_NEWNET) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "join a network namespace");
	nl = nl_open(err);
	return nl < 0 ? -1 : job->fn(job->n, job->m, nl, err);
}

static bool is_made(const struct ns_made *m)
{
	return m->rec && m->rec->type == STASIS__NAMESPACE_TYPE__NAMESPACE_NET && !m->rec->path[0];
}

static int in_each(struct ns_load *n,
		   int (*fn)(struct ns_load *n, const struct ns_made *m, int nl, struct stasis_error *err),
		   struct stasis_error *err)
{
	for (uint32_t id = 1; id <= n->nr; id++) {
		struct in_net job = {.n = n, .m = &n->made[id], .fn = fn};

		if (is_made(job.m) && ns_run_apart(go_in, &job, "set up a network", err) < 0)
			return -1;
	}
	return 0;
}

static bool reaches_outside(const struct ns_load *n)
{
	for (uint32_t id = 1; id <= n->nr; id++)
		for (size_t i = 0; is_made(&n->made[id]) && i < n->made[id].rec->n_interfaces; i++)
			if (n->made[id].rec->interfaces[i]->peer)
				return true;
	return false;
}

int ns_load_links(struct ns_load *n, struct stasis_error *err)
{
	struct in_net outside = {.n = n, .fn = fill_all_outside};

	if (in_each(n, make_interfaces, err) < 0)
		return -1;
	if (reaches_outside(n) && ns_run_apart(go_in, &outside, "set up a network", err) < 0)
		return -1;
	return in_each(n, fill_inside, err);
}
