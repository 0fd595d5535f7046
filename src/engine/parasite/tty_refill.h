/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How bytes that were read from the slave side of a pseudo-terminal get back into its input queue, as
 * they were: through the master, past the line editing, echo and signals of the line discipline, but
 * with the ends of lines, which only the line discipline can mark. Seen by freestanding code.
 */
#ifndef PARASITE_TTY_REFILL_H
#define PARASITE_TTY_REFILL_H

#include <asm/termbits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TTY_QUOTE = 026, TTY_END = 04, TTY_NR_CC = 19 };

struct tty_refill {
	struct termios2 settings; /* to be set meanwhile */
	uint8_t quote, end;	  /* VLNEXT, VEOF */
};

/* Where tty_refill_next() is; zero to start. */
struct tty_refill_pos {
	uint32_t line, start, at;
};

/* A usual character stays what it was, should the queue be so full that the last bytes are seen only
 * under the old settings. */
static inline uint8_t tty_refill_char(uint8_t used, uint8_t usual, uint8_t other)
{
	uint8_t c = used ? used : usual;

	return c == other ? (uint8_t)(c + 1) : c;
}

/* IXON and its characters stay, since packet mode would tell of a change; so does ICANON, whose change
 * makes one line of all lines in the queue. */
static inline void tty_refill_plan(const struct termios2 *old, struct tty_refill *ret)
{
	bool is_canonical = old->c_lflag & ICANON;

	ret->settings = *old;
	ret->settings.c_iflag &= IXON;
	ret->settings.c_oflag &= ~(tcflag_t)OPOST;
	ret->settings.c_lflag &= ICANON | TOSTOP | NOFLSH;
	ret->quote = ret->end = 0;
	if (!is_canonical)
		return;
	ret->quote = tty_refill_char(old->c_cc[VLNEXT], TTY_QUOTE, 0);
	ret->end = tty_refill_char(old->c_cc[VEOF], TTY_END, ret->quote);
	for (unsigned i = 0; i < TTY_NR_CC; i++)
		if (i != VSTART && i != VSTOP)
			ret->settings.c_cc[i] = 0;
	ret->settings.c_lflag |= IEXTEN;
	ret->settings.c_cc[VLNEXT] = ret->quote;
	ret->settings.c_cc[VEOF] = ret->end;
}

static inline bool tty_refill_is_special(const struct tty_refill *r, uint8_t c)
{
	if (!(r->settings.c_lflag & ICANON))
		return false;
	if (c == '\n' || c == r->quote || c == r->end)
		return true;
	return r->settings.c_iflag & IXON &&
	       (c == r->settings.c_cc[VSTART] || c == r->settings.c_cc[VSTOP]);
}

/* The next bytes to write into the master, at most `room` (2 or more); 0 when all have been given out.
 *   lines  lengths of the complete lines at the start of `bytes`; one that does not end in a newline
 *          was ended by the end-of-file character, which no reader sees */
static inline size_t tty_refill_next(const struct tty_refill *r, const uint16_t *lines,
				     uint32_t nr_lines, const uint8_t *bytes, uint32_t len,
				     struct tty_refill_pos *p, uint8_t *out, size_t room)
{
	size_t n = 0;

	while (n + 2 <= room) {
		bool is_line = p->line < nr_lines;
		uint32_t end = is_line ? p->start + lines[p->line] : len;
		uint8_t c;

		if (p->at == end) {
			if (!is_line)
				break;
			if (end == p->start || bytes[end - 1] != '\n')
				out[n++] = r->end;
			p->line++;
			p->start = end;
			continue;
		}
		c = bytes[p->at++];
		if (!(is_line && p->at == end && c == '\n') && tty_refill_is_special(r, c))
			out[n++] = r->quote;
		out[n++] = c;
	}
	return n;
}

#endif
