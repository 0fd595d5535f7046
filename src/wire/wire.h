/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How clients and daemons speak: messages of text fields, each in one frame; over a Unix socket as they
 * are (the kernel tells who the peer is), over TCP each sealed in a munge credential, which says who made
 * it, cannot be altered, and is refused by munged when it comes a second time.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	WIRE_MAX_TEXT = 16 * 1024,   /* bytes of a message */
	WIRE_MAX_FRAME = 32 * 1024,  /* bytes of a frame; a credential is longer than what it seals */
	WIRE_MAX_FIELDS = 40,
	WIRE_DEFAULT_PORT = 6821,
};

#define WIRE_DEFAULT_SOCKET "/run/stasis/stasisd.socket"

/* Zero it to start; text and fields belong to it. */
struct wire_msg {
	char text[WIRE_MAX_TEXT + 1];
	size_t len;
	size_t nr_fields; /* of a received message */
	const char *keys[WIRE_MAX_FIELDS], *values[WIRE_MAX_FIELDS];
};

/* Add a field. A value with control characters, or one too many: USAGE. */
int wire_put(struct wire_msg *m, const char *key, const char *value, struct stasis_error *err);
int wire_put_number(struct wire_msg *m, const char *key, uint64_t value, struct stasis_error *err);

/* Read text[0..len) as fields: CORRUPT unless each line is key=value, with different keys. */
int wire_parse(struct wire_msg *m, struct stasis_error *err);

/* NULL when there is no such field. */
const char *wire_get(const struct wire_msg *m, const char *key);
/* A decimal number up to max; `missing` when there is no such field; CORRUPT when it is none. */
int wire_get_number(const struct wire_msg *m, const char *key, uint64_t max, uint64_t missing,
		    uint64_t *ret, struct stasis_error *err);

struct wire_conn {
	int fd; /* -1: none */
	bool is_sealed; /* TCP with munge, else Unix socket */
	uid_t peer;	/* of the last message received, or the Unix socket's peer */
};

#define WIRE_CONN_INIT {.fd = -1}

void wire_close(struct wire_conn *c); /* for scoped() */

/* Time-outs are in milliseconds for the whole call; TIMEOUT when it passes. */
int wire_connect_unix(const char *path, struct wire_conn *ret, struct stasis_error *err);
int wire_connect_tcp(const char *host, unsigned port, int timeout_ms, struct wire_conn *ret,
		     struct stasis_error *err);

/* only_for: uid that may open the sealed message, (uid_t)-1 for root alone or anybody on Unix. */
int wire_send(struct wire_conn *c, const struct wire_msg *m, uid_t only_for, int timeout_ms,
	      struct stasis_error *err);
/* GONE at end of file. Fills c->peer. */
int wire_recv(struct wire_conn *c, struct wire_msg *ret, int timeout_ms, struct stasis_error *err);

/* The bytes of one frame without its length, as a server has gathered them: CORRUPT, or DENIED when
 * munge does not vouch for it. */
int wire_open_frame(struct wire_conn *c, char *bytes, size_t len, struct wire_msg *ret,
		    struct stasis_error *err);

/* Length of a frame from its first four bytes; 0 when it is none that we take. */
size_t wire_frame_len(const unsigned char head[4]);

/* Milliseconds of CLOCK_MONOTONIC, for deadlines. */
int64_t wire_now_ms(void);

#endif
