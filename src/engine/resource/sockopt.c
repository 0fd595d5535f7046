/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of a socket at the level of SOL_SOCKET (socket(7)) that a program can set and read again.
 * Recorded is what differs from a new socket of the kind.
 */
#include "resource/unix.h"

#include <linux/filter.h>
#include <string.h>
#include <sys/time.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

enum { FILTER_MAX = 4096 }; /* BPF_MAXINSNS */

/* clang-format off */
static const struct {
	const char *text;
	int name;
	socklen_t len;
} known[] = {
	{"SO_REUSEADDR",    SO_REUSEADDR,    sizeof(int)},
	{"SO_DONTROUTE",    SO_DONTROUTE,    sizeof(int)},
	{"SO_BROADCAST",    SO_BROADCAST,    sizeof(int)},
	{"SO_SNDBUF",       SO_SNDBUF,       sizeof(int)},
	{"SO_RCVBUF",       SO_RCVBUF,       sizeof(int)},
	{"SO_KEEPALIVE",    SO_KEEPALIVE,    sizeof(int)},
	{"SO_OOBINLINE",    SO_OOBINLINE,    sizeof(int)},
	{"SO_PRIORITY",     SO_PRIORITY,     sizeof(int)},
	{"SO_LINGER",       SO_LINGER,       sizeof(struct linger)},
	{"SO_PASSCRED",     SO_PASSCRED,     sizeof(int)},
	{"SO_RCVLOWAT",     SO_RCVLOWAT,     sizeof(int)},
	{"SO_RCVTIMEO",     SO_RCVTIMEO,     sizeof(struct timeval)},
	{"SO_SNDTIMEO",     SO_SNDTIMEO,     sizeof(struct timeval)},
	{"SO_TIMESTAMP",    SO_TIMESTAMP,    sizeof(int)},
	{"SO_TIMESTAMPNS",  SO_TIMESTAMPNS,  sizeof(int)},
	{"SO_PASSSEC",      SO_PASSSEC,      sizeof(int)},
	{"SO_MARK",         SO_MARK,         sizeof(int)},
	{"SO_PEEK_OFF",     SO_PEEK_OFF,     sizeof(int)},
	{"SO_PASSPIDFD",    SO_PASSPIDFD,    sizeof(int)},
	{"SO_PASSRIGHTS",   SO_PASSRIGHTS,   sizeof(int)},
};
/* clang-format on */
#define NR_KNOWN (sizeof(known) / sizeof(known[0]))

struct list {
	Stasis__SocketOption **options;
	size_t nr;
};

static int add(struct fd_save *c, struct list *l, int name, const void *value, size_t len)
{
	Stasis__SocketOption *o = fd_save_alloc(c, sizeof(*o));

	if (!o)
		return -1;
	stasis__socket_option__init(o);
	o->name = (uint32_t)name;
	o->value.data = arena_memdup(&c->arena, value, len);
	o->value.len = len;
	l->options[l->nr++] = o;
	return o->value.data ? 0 : -1;
}

/* A classic filter is readable; of an eBPF program nothing is (EACCES). */
static int save_filter(struct fd_save *c, int fd, struct list *l, struct stasis_error *err)
{
	scoped_free struct sock_filter *code = NULL;
	socklen_t nr = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &nr) < 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "socket with an eBPF filter is not supported; detach it before the "
				   "checkpoint (SO_DETACH_BPF)");
	if (!nr)
		return 0;
	code = calloc(nr, sizeof(*code));
	if (!code)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's filter");
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code, &nr) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read a socket's filter");
	if (add(c, l, SO_ATTACH_FILTER, code, nr * sizeof(*code)) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's filter");
	return 0;
}

/* What this kernel does not know no program can have set. */
static int save_known(struct fd_save *c, int fd, int fresh, struct list *l)
{
	for (size_t i = 0; i < NR_KNOWN; i++) {
		uint8_t is[32] = {0}, was[32] = {0};
		socklen_t len = known[i].len, fresh_len = known[i].len;

		if (getsockopt(fd, SOL_SOCKET, known[i].name, is, &len) < 0 || len != known[i].len)
			continue;
		(void)getsockopt(fresh, SOL_SOCKET, known[i].name, was, &fresh_len);
		if (memcmp(is, was, len) != 0 && add(c, l, known[i].name, is, len) < 0)
			return -1;
	}
	return 0;
}

int sockopt_save(struct fd_save *c, int fd, Stasis__SocketOption ***ret, size_t *ret_nr,
		 struct stasis_error *err)
{
	struct list l = {.options = fd_save_alloc(c, (NR_KNOWN + 1) * sizeof(*l.options))};
	int family = 0, type = 0, protocol = 0;
	socklen_t len = sizeof(int);
	scoped_fd int fresh = -1;

	if (!l.options)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for socket options");
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "look at a socket");
	fresh = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fresh < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socket to compare with");
	if (save_known(c, fd, fresh, &l) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for socket options");
	if (save_filter(c, fd, &l, err) < 0)
		return -1;
	*ret = l.options;
	*ret_nr = l.nr;
	return 0;
}

/* ---- restart ---- */

static size_t find_known(uint32_t name)
{
	size_t i = 0;

	while (i < NR_KNOWN && (uint32_t)known[i].name != name)
		i++;
	return i;
}

int sockopt_check(Stasis__SocketOption *const *options, size_t nr, struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++) {
		const Stasis__SocketOption *o = options[i];
		size_t k = find_known(o->name);

		if (o->name == SO_ATTACH_FILTER && o->value.len &&
		    o->value.len % sizeof(struct sock_filter) == 0 &&
		    o->value.len <= FILTER_MAX * sizeof(struct sock_filter))
			continue;
		if (k == NR_KNOWN || o->value.len != known[k].len)
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "option %u of a socket cannot have a value of %zu bytes",
					   o->name, o->value.len);
	}
	return 0;
}

/* The kernel doubles what it is given; beyond the limits of sysctl only with CAP_NET_ADMIN. */
static int set_size(int fd, int name, int force_name, int size)
{
	int half = size / 2, now = 0;
	socklen_t len = sizeof(now);

	if (getsockopt(fd, SOL_SOCKET, name, &now, &len) == 0 && now == size)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, force_name, &half, sizeof(half)) == 0)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, name, &half, sizeof(half)) < 0)
		return -1;
	errno = EPERM; /* what it says when it cuts the size without a word */
	return getsockopt(fd, SOL_SOCKET, name, &now, &len) == 0 && now >= size ? 0 : -1;
}

static int set_filter(int fd, const ProtobufCBinaryData *value)
{
	scoped_free struct sock_filter *code = malloc(value->len);
	const struct sock_fprog program = {
		.len = (unsigned short)(value->len / sizeof(*code)), .filter = code};

	if (!code)
		return -1;
	memcpy(code, value->data, value->len);
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int set_option(int fd, const Stasis__SocketOption *o)
{
	int size;

	if (o->name == SO_ATTACH_FILTER)
		return set_filter(fd, &o->value);
	if (o->name == SO_SNDBUF || o->name == SO_RCVBUF) {
		memcpy(&size, o->value.data, sizeof(size));
		return o->name == SO_SNDBUF ? set_size(fd, SO_SNDBUF, SO_SNDBUFFORCE, size)
					    : set_size(fd, SO_RCVBUF, SO_RCVBUFFORCE, size);
	}
	return setsockopt(fd, SOL_SOCKET, (int)o->name, o->value.data, (socklen_t)o->value.len);
}

void sockopt_load(struct fd_load *c, int fd, Stasis__SocketOption *const *options, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		size_t k = find_known(options[i]->name);

		if (set_option(fd, options[i]) < 0)
			s_warn(c->s, "option %s of a socket cannot be set: %s",
			       k < NR_KNOWN ? known[k].text : "SO_ATTACH_FILTER", strerror(errno));
	}
}
