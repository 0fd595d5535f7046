/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table of nftables of our own in which every packet of some connections is dropped: while they are
 * read, so that they stand still, and between a checkpoint that ends the program and its restart, so
 * that the kernel does not tell the peers that nobody is there.
 *
 * A table with the flag "owner" (Linux 5.12) belongs to the netlink socket that made it and goes with
 * it: whatever happens to this process, no table stays behind by mistake. libnftables is loaded when it
 * is needed, since most checkpoints do without and would pay for its libraries.
 */
#include "resource/tcp.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dlfcn.h>
#include <string.h>
#include <sys/random.h>

#define NAME_PREFIX "stasis-"
enum { ID_DIGITS = 16 };

/* nftables/libnftables.h, whose functions have not changed since the first version of that library */
struct nft_lib {
	void *handle;
	void *ctx;
	void *(*ctx_new)(uint32_t flags);
	void (*ctx_free)(void *ctx);
	int (*ctx_buffer_error)(void *ctx);
	const char *(*get_error)(void *ctx);
	int (*run)(void *ctx, const char *text);
};

struct net_block {
	struct nft_lib lib;
	char name[NET_BLOCK_NAME_BYTES];
	char *members; /* of the sets, as text */
};

static void lib_done(struct nft_lib *l)
{
	int saved = errno;

	if (l->ctx)
		l->ctx_free(l->ctx);
	if (l->handle)
		(void)dlclose(l->handle);
	errno = saved;
}

static int lib_open(struct nft_lib *l, struct stasis_error *err)
{
	l->handle = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "TCP connections to processes outside of the hierarchy need "
				   "libnftables; install the package libnftables1 (%.100s)",
				   dlerror());
	*(void **)&l->ctx_new = dlsym(l->handle, "nft_ctx_new");
	*(void **)&l->ctx_free = dlsym(l->handle, "nft_ctx_free");
	*(void **)&l->ctx_buffer_error = dlsym(l->handle, "nft_ctx_buffer_error");
	*(void **)&l->get_error = dlsym(l->handle, "nft_ctx_get_error_buffer");
	*(void **)&l->run = dlsym(l->handle, "nft_run_cmd_from_buffer");
	if (l->ctx_new && l->ctx_free && l->ctx_buffer_error && l->get_error && l->run)
		l->ctx = l->ctx_new(0);
	if (!l->ctx)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "libnftables.so.1 is not usable");
	(void)l->ctx_buffer_error(l->ctx); /* else it writes to our stderr */
	return 0;
}

static int lib_run(struct nft_lib *l, const char *text, struct stasis_error *err)
{
	const char *why;

	if (l->run(l->ctx, text) == 0)
		return 0;
	why = l->get_error(l->ctx);
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "nftables: %.*s",
			   why ? (int)strcspn(why, "\n") : 1, why ? why : "?");
}

static bool is_v4(const Stasis__InetSocket *r, const void **ret_local, const void **ret_peer)
{
	const struct sockaddr_in6 *local = (const void *)r->local.data;
	const struct sockaddr_in6 *peer = (const void *)r->peer.data;

	if (r->family == AF_INET) {
		*ret_local = &((const struct sockaddr_in *)(const void *)r->local.data)->sin_addr;
		*ret_peer = &((const struct sockaddr_in *)(const void *)r->peer.data)->sin_addr;
		return true;
	}
	if (IN6_IS_ADDR_V4MAPPED(&local->sin6_addr)) {
		*ret_local = &local->sin6_addr.s6_addr[12];
		*ret_peer = &peer->sin6_addr.s6_addr[12];
		return true;
	}
	*ret_local = &local->sin6_addr;
	*ret_peer = &peer->sin6_addr;
	return false;
}

/* One "add element" for each connection: what comes from the peer. */
static void put_member(FILE *f, const char *name, const Stasis__InetSocket *r)
{
	char local[INET6_ADDRSTRLEN] = "", peer[INET6_ADDRSTRLEN] = "";
	const void *local_addr, *peer_addr;
	bool v4 = is_v4(r, &local_addr, &peer_addr);
	int family = v4 ? AF_INET : AF_INET6;

	(void)inet_ntop(family, local_addr, local, sizeof(local));
	(void)inet_ntop(family, peer_addr, peer, sizeof(peer));
	(void)fprintf(f, "add element inet %s %s { %s . %u . %s . %u }\n", name, v4 ? "c4" : "c6", peer,
		      inet_port(&r->peer), local, inet_port(&r->local));
}

static char *make_members(const char *name, const Stasis__InetSocket *const *conns, size_t nr)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < nr; i++)
		put_member(f, name, conns[i]);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static int make_table(struct net_block *b, const char *name, const char *flags, const char *members,
		      struct stasis_error *err)
{
	static const char format[] =
		"table inet %s {\n%s"
		"set c4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; }\n"
		"set c6 { type ipv6_addr . inet_service . ipv6_addr . inet_service; }\n"
		"chain in { type filter hook input priority -300;\n"
		"ip saddr . tcp sport . ip daddr . tcp dport @c4 drop\n"
		"ip6 saddr . tcp sport . ip6 daddr . tcp dport @c6 drop\n}\n"
		"chain out { type filter hook output priority -300;\n"
		"ip daddr . tcp dport . ip saddr . tcp sport @c4 drop\n"
		"ip6 daddr . tcp dport . ip6 saddr . tcp sport @c6 drop\n}\n"
		"}\n%s";
	scoped_free char *text = NULL;

	if (asprintf(&text, format, name, flags, members) < 0) {
		text = NULL;
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for nftables rules");
	}
	return lib_run(&b->lib, text, err);
}

static void net_block_freep(struct net_block **b)
{
	net_block_free(*b);
}

int net_block_create(const Stasis__InetSocket *const *conns, size_t nr, struct net_block **ret,
		     struct stasis_error *err)
{
	scoped(net_block_freep) struct net_block *b = calloc(1, sizeof(*b));
	char name[NET_BLOCK_NAME_BYTES + 4];
	scoped_free char *members = NULL;
	uint64_t id;

	if (!b)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for nftables rules");
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return stasis_fail_errno(err, STASIS_E_IO, "random bytes");
	(void)snprintf(b->name, sizeof(b->name), NAME_PREFIX "%0*llx", ID_DIGITS,
		       (unsigned long long)id);
	(void)snprintf(name, sizeof(name), "%s-tmp", b->name);
	b->members = make_members(b->name, conns, nr);
	members = make_members(name, conns, nr);
	if (!b->members || !members)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for nftables rules");
	if (lib_open(&b->lib, err) < 0 || make_table(b, name, "flags owner\n", members, err) < 0)
		return -1;
	*ret = ptr_take(&b);
	return 0;
}

const char *net_block_name(const struct net_block *b)
{
	return b->name;
}

int net_block_keep(struct net_block *b, struct stasis_error *err)
{
	return make_table(b, b->name, "", b->members, err);
}

void net_block_free(struct net_block *b)
{
	if (!b)
		return;
	lib_done(&b->lib);
	free(b->members);
	free(b);
}

bool net_block_name_is_sane(const char *name)
{
	size_t len = strlen(NAME_PREFIX);

	if (strncmp(name, NAME_PREFIX, len) != 0 || strlen(name) != len + ID_DIGITS)
		return false;
	for (; name[len]; len++)
		if (!isxdigit((unsigned char)name[len]))
			return false;
	return true;
}

/* "add" first, so that "delete" does not fail where there is none (another machine, a second restart). */
int net_block_remove(const char *name, struct stasis_error *err)
{
	scoped(lib_done) struct nft_lib lib = {.handle = NULL};
	char text[160];

	if (!net_block_name_is_sane(name))
		return stasis_fail(err, STASIS_E_CORRUPT, "nftables table '%.40s'", name);
	(void)snprintf(text, sizeof(text), "add table inet %s\ndelete table inet %s\n", name, name);
	if (lib_open(&lib, err) < 0)
		return -1;
	return lib_run(&lib, text, err);
}
