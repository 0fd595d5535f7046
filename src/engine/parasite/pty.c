/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is queued in a pseudo-terminal. The kernel lets nobody look: reading takes. So a process that
 * holds the master takes everything and puts it back at once, in here, where the engine's death is no
 * harm: the parasite gets to the end of what it does in any case. The descriptor that comes along with
 * the request keeps the other processes' parasites in their places until then, see inject/pty.c.
 */
#include "parasite/parasite_priv.h"

#include "parasite/tty_refill.h"

#include <asm/ioctls.h>
#include <linux/time_types.h>

enum {
	F_GETFL_NR = 3,
	F_SETFL_NR = 4,
	O_RDWR_NR = 02,
	O_NOCTTY_NR = 0400,
	O_NONBLOCK_NR = 04000,
	O_CLOEXEC_NR = 02000000,
	POLLIN_NR = 1,
	POLLOUT_NR = 4,
	MAX_WAITS = 5000, /* of 1 ms: for the kernel's worker that carries bytes to the other side */
	CHUNK = 256,
	MAX_READ = 4097, /* one read gives no more than the input queue holds, and a packet's mark */
};

struct kernel_pollfd {
	int32_t fd;
	int16_t events, revents;
};

struct pty {
	struct parasite_pty *out;
	int master, slave;
	int is_packet;
	long flags; /* of the master */
	struct termios2 old;
	struct tty_refill refill;
};

/* Asking also waits until the kernel's worker has carried over what is on its way, when nothing is
 * there yet (n_tty_poll). */
static bool is_ready(int fd, int16_t events)
{
	struct kernel_pollfd p = {.fd = fd, .events = events};
	struct __kernel_timespec zero = {0};

	SYS5(ppoll, &p, 1, &zero, 0, 8);
	return p.revents & events;
}

static long set(const struct pty *p, const struct termios2 *t)
{
	return SYS3(ioctl, p->slave, TCSETS2, t);
}

/* ---- taking ---- */

/* In canonical mode each read gives one line. */
static int take_lines(struct pty *p)
{
	struct parasite_pty *o = p->out;

	while (o->nr_lines < PARASITE_PTY_LINES && o->input_len + MAX_READ <= PARASITE_PTY_BYTES) {
		long n = SYS3(read, p->slave, o->input + o->input_len, MAX_READ);

		if (n < 0)
			return n == -EAGAIN_NR ? 0 : (int)-n;
		o->lines[o->nr_lines++] = (uint16_t)n;
		o->input_len += (uint32_t)n;
	}
	return E2BIG_NR;
}

static int take_raw(struct pty *p)
{
	struct parasite_pty *o = p->out;

	while (o->input_len + MAX_READ <= PARASITE_PTY_BYTES) {
		long n = SYS3(read, p->slave, o->input + o->input_len, MAX_READ);

		if (n <= 0)
			return n == -EAGAIN_NR || n == 0 ? 0 : (int)-n;
		o->input_len += (uint32_t)n;
	}
	return E2BIG_NR;
}

/* A line that is not complete can only be read without canonical mode. */
static int take_input(struct pty *p)
{
	struct termios2 raw = p->old;
	int error;

	if (!(p->old.c_lflag & ICANON))
		return take_raw(p);
	error = take_lines(p);
	if (error)
		return error;
	raw.c_lflag &= ~(tcflag_t)ICANON;
	error = (int)-set(p, &raw);
	return error ? error : take_raw(p);
}

/* In packet mode a byte that says "data" precedes each read's bytes; a bare status byte was excluded
 * before, see pty_save.c. */
static int take_output(struct pty *p)
{
	struct parasite_pty *o = p->out;
	uint8_t *to = o->output;

	while (o->output_len + MAX_READ <= PARASITE_PTY_BYTES) {
		long n;

		if (!is_ready(p->master, POLLIN_NR))
			return 0;
		n = SYS3(read, p->master, to + o->output_len, MAX_READ);
		if (n <= 0)
			return n == -EAGAIN_NR || n == -EIO_NR || n == 0 ? 0 : (int)-n;
		if (p->is_packet) {
			n--;
			__builtin_memmove(to + o->output_len, to + o->output_len + 1, (size_t)n);
		}
		o->output_len += (uint32_t)n;
	}
	return E2BIG_NR;
}

/* ---- putting back ---- */

/* All of it was in there before, so there is room; it becomes free as the worker goes on. */
static int put(int fd, const uint8_t *bytes, size_t len)
{
	int waits = 0;

	while (len) {
		long n = SYS3(write, fd, bytes, len);

		if (n < 0 && (n != -EAGAIN_NR || ++waits > MAX_WAITS))
			return (int)-n;
		if (n < 0) {
			parasite_pause_1ms();
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* tcflow(3) starts only what it stopped itself. */
static void start_output(struct pty *p)
{
	SYS3(ioctl, p->slave, TCXONC, TCOON);
	if (is_ready(p->slave, POLLOUT_NR)) {
		p->out->stopped = PARASITE_PTY_STOPPED_BY_FLOW;
		return;
	}
	SYS3(ioctl, p->slave, TCXONC, TCOOFF);
	SYS3(ioctl, p->slave, TCXONC, TCOON);
}

/* As it was stopped: by the character, else the user's other character would not start it again. */
static int stop_output(struct pty *p)
{
	if (p->out->stopped == PARASITE_PTY_STOPPED_BY_CHAR && p->old.c_iflag & IXON &&
	    p->old.c_cc[VSTOP])
		return put(p->master, &p->old.c_cc[VSTOP], 1);
	return (int)-SYS3(ioctl, p->slave, TCXONC, TCOOFF);
}

static int put_output(struct pty *p)
{
	int error, other = 0;

	if (p->out->stopped)
		start_output(p);
	error = put(p->slave, p->out->output, p->out->output_len);
	if (p->out->stopped)
		other = stop_output(p);
	return error ? error : other;
}

/* Until the line discipline has seen the bytes under the settings meant for them. It holds a lock over
 * each piece that also the question takes. */
static void await_input(struct pty *p, uint32_t want)
{
	for (int i = 0; i < MAX_WAITS; i++) {
		int got = 0;

		(void)is_ready(p->slave, POLLIN_NR);
		if (SYS3(ioctl, p->slave, TIOCINQ, &got) || (uint32_t)got >= want ||
		    got >= PARASITE_PTY_QUEUE)
			return;
		parasite_pause_1ms();
	}
}

static int put_input(struct pty *p)
{
	const struct parasite_pty *o = p->out;
	struct tty_refill_pos pos = {0};
	uint8_t chunk[CHUNK];
	uint32_t want = 0;
	size_t n;
	int error;

	if (!o->input_len && !o->nr_lines)
		return 0;
	while ((n = tty_refill_next(&p->refill, o->lines, o->nr_lines, o->input, o->input_len, &pos,
				    chunk, sizeof(chunk))) > 0) {
		error = put(p->master, chunk, n);
		if (error)
			return error;
	}
	for (uint32_t i = 0; i < o->nr_lines; i++)
		want += o->lines[i];
	await_input(p, p->old.c_lflag & ICANON ? want : o->input_len);
	return 0;
}

static int put_back(struct pty *p)
{
	int first, second;

	first = (int)-set(p, &p->refill.settings);
	if (!first)
		first = put_output(p);
	second = put_input(p);
	(void)set(p, &p->old); /* what was set before is valid */
	return first ? first : second;
}

static int take_and_put_back(struct pty *p)
{
	int error = take_input(p), other;

	if (!error)
		error = take_output(p);
	if (!is_ready(p->slave, POLLOUT_NR)) /* and there is room: it is empty */
		p->out->stopped = PARASITE_PTY_STOPPED_BY_CHAR;
	other = put_back(p);
	return other ? other : error;
}

/* The slave, also when it is locked against being opened. */
static int open_slave(int master)
{
	int locked = 0, unlocked = 0;
	long fd;

	SYS3(ioctl, master, TIOCGPTLCK, &locked);
	if (locked)
		SYS3(ioctl, master, TIOCSPTLCK, &unlocked);
	fd = SYS3(ioctl, master, TIOCGPTPEER,
		  O_RDWR_NR | O_NOCTTY_NR | O_NONBLOCK_NR | O_CLOEXEC_NR);
	if (locked)
		SYS3(ioctl, master, TIOCSPTLCK, &locked);
	return (int)fd;
}

int pty_peek(struct parasite_pty *out, int master)
{
	struct pty p = {.out = out, .master = master};
	int error;

	out->nr_lines = out->input_len = out->output_len = out->stopped = 0;
	p.slave = open_slave(master);
	if (p.slave < 0)
		return -p.slave;
	p.flags = SYS2(fcntl, master, F_GETFL_NR);
	error = (int)-SYS3(ioctl, p.slave, TCGETS2, &p.old);
	if (!error)
		error = (int)-SYS3(ioctl, master, TIOCGPKT, &p.is_packet);
	if (!error) {
		tty_refill_plan(&p.old, &p.refill);
		SYS3(fcntl, master, F_SETFL_NR, p.flags | O_NONBLOCK_NR);
		error = take_and_put_back(&p);
		SYS3(fcntl, master, F_SETFL_NR, p.flags);
	}
	SYS1(close, p.slave);
	return error;
}
