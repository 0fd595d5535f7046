/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Builds and reads rtnetlink messages; what is in them is links.h's part. */
#include "ns/netlink.h"

#include "lib/scoped.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES = 1 << 16 };

static size_t used(const struct nl_request *r)
{
	return r->head.nlmsg_len - sizeof(r->head);
}

void nl_put_raw(struct nl_request *r, const void *bytes, size_t len)
{
	size_t at = used(r), end = at + NLMSG_ALIGN(len);

	if (end > sizeof(r->bytes)) {
		r->is_full = true;
		return;
	}
	memset(r->bytes + at, 0, end - at);
	if (len)
		memcpy(r->bytes + at, bytes, len);
	r->head.nlmsg_len = (uint32_t)(sizeof(r->head) + end);
}

void nl_begin(struct nl_request *r, unsigned type, unsigned flags, const void *body, size_t len)
{
	r->is_full = false;
	r->head = (struct nlmsghdr){
		.nlmsg_len = sizeof(r->head),
		.nlmsg_type = (uint16_t)type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
	};
	nl_put_raw(r, body, len);
}

void nl_put(struct nl_request *r, unsigned type, const void *value, size_t len)
{
	struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = (uint16_t)type};

	nl_put_raw(r, &a, sizeof(a));
	nl_put_raw(r, value, len);
}

void nl_put_u32(struct nl_request *r, unsigned type, uint32_t value)
{
	nl_put(r, type, &value, sizeof(value));
}

size_t nl_nest(struct nl_request *r, unsigned type)
{
	size_t at = used(r);

	nl_put(r, type, NULL, 0);
	return at;
}

void nl_nest_end(struct nl_request *r, size_t nest)
{
	uint16_t len = (uint16_t)(used(r) - nest);

	if (!r->is_full)
		memcpy(r->bytes + nest + offsetof(struct rtattr, rta_len), &len, sizeof(len));
}

int nl_open(struct stasis_error *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "netlink socket") : fd;
}

/* 1: that was the last one. */
static int take_answer(const struct nlmsghdr *h, nl_answer_fn fn, void *arg, bool is_dump, const char *what,
		       struct stasis_error *err)
{
	const struct nlmsgerr *e = (const struct nlmsgerr *)(const void *)(h + 1);

	if (h->nlmsg_type == NLMSG_DONE)
		return 1;
	if (h->nlmsg_type == NLMSG_ERROR) {
		if (h->nlmsg_len < sizeof(*h) + sizeof(*e) || !e->error)
			return 1;
		errno = -e->error;
		return stasis_fail_errno(err, errno == EPERM ? STASIS_E_DENIED : STASIS_E_IO, "%s", what);
	}
	if (fn && fn(arg, h, err) < 0)
		return -1;
	return fn && !is_dump;
}

static int take_answers(const char *bytes, size_t len, nl_answer_fn fn, void *arg, bool is_dump,
			const char *what, struct stasis_error *err)
{
	while (len >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)bytes;
		int result;

		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len)
			break;
		result = take_answer(h, fn, arg, is_dump, what, err);
		if (result)
			return result;
		bytes += NLMSG_ALIGN(h->nlmsg_len) < len ? NLMSG_ALIGN(h->nlmsg_len) : len;
		len -= NLMSG_ALIGN(h->nlmsg_len) < len ? NLMSG_ALIGN(h->nlmsg_len) : len;
	}
	return 0;
}

int nl_talk(int fd, struct nl_request *r, nl_answer_fn fn, void *arg, const char *what,
	    struct stasis_error *err)
{
	scoped_free char *answer = malloc(ANSWER_BYTES);
	bool is_dump = (r->head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int result = 0;

	if (!answer)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for netlink");
	if (r->is_full)
		return stasis_fail(err, STASIS_E_CORRUPT, "%s: too many attributes", what);
	if (!fn)
		r->head.nlmsg_flags |= NLM_F_ACK;
	if (send(fd, &r->head, r->head.nlmsg_len, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", what);
	while (result == 0) {
		ssize_t n = recv(fd, answer, ANSWER_BYTES, 0);

		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO, "%s: no answer", what);
		result = take_answers(answer, (size_t)n, fn, arg, is_dump, what, err);
	}
	return result < 0 ? -1 : 0;
}

const void *nl_find_in(const void *attributes, size_t len, unsigned type, size_t min_len, size_t *ret_len)
{
	const char *at = attributes;

	while (len >= sizeof(struct rtattr)) {
		struct rtattr a;
		size_t step;

		memcpy(&a, at, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > len)
			return NULL;
		if ((a.rta_type & NLA_TYPE_MASK) == type && a.rta_len - sizeof(a) >= min_len) {
			*ret_len = a.rta_len - sizeof(a);
			return at + sizeof(a);
		}
		step = RTA_ALIGN(a.rta_len) < len ? RTA_ALIGN(a.rta_len) : len;
		at += step;
		len -= step;
	}
	return NULL;
}

const void *nl_find(const struct nlmsghdr *h, size_t body_len, unsigned type, size_t min_len, size_t *ret_len)
{
	size_t skip = sizeof(*h) + NLMSG_ALIGN(body_len);

	return h->nlmsg_len < skip ? NULL
				   : nl_find_in((const char *)h + skip, h->nlmsg_len - skip, type, min_len,
						ret_len);
}
