/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rtnetlink, rtnetlink(7): requests built and answers read. */
#ifndef NS_NETLINK_H
#define NS_NETLINK_H

#include "lib/error.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NL_REQUEST_BYTES = 2048 };

/* A request: the body (struct ifinfomsg and so on) and then attributes. */
struct nl_request {
	struct nlmsghdr head;
	char bytes[NL_REQUEST_BYTES];
	bool is_full; /* something did not fit; nl_talk() says so */
};

void nl_begin(struct nl_request *r, unsigned type, unsigned flags, const void *body, size_t len);
void nl_put(struct nl_request *r, unsigned type, const void *value, size_t len);
void nl_put_u32(struct nl_request *r, unsigned type, uint32_t value);
void nl_put_raw(struct nl_request *r, const void *bytes, size_t len); /* aligned, no header */
/* Attributes in an attribute: what is put in between belongs to it. */
size_t nl_nest(struct nl_request *r, unsigned type);
void nl_nest_end(struct nl_request *r, size_t nest);

typedef int (*nl_answer_fn)(void *arg, const struct nlmsghdr *answer, struct stasis_error *err);

/* A socket in the network namespace of the caller. */
int nl_open(struct stasis_error *err);

/*
 * Send it and give every answer to `fn` (NULL: nothing but yes or no is expected). -1 with *err, whose
 * sys_errno is the kernel's.
 */
int nl_talk(int fd, struct nl_request *r, nl_answer_fn fn, void *arg, const char *what,
	    struct stasis_error *err);

/* Value of an attribute behind `body_len` bytes of a message, or NULL; never less than min_len. */
const void *nl_find(const struct nlmsghdr *h, size_t body_len, unsigned type, size_t min_len, size_t *ret_len);
/* The same in an attribute that was found. */
const void *nl_find_in(const void *attributes, size_t len, unsigned type, size_t min_len, size_t *ret_len);

#endif
