/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Terminals, and the slave side of pseudo-terminals whose master is outside of the tree. As the guide says, the terminal of the one who
 * restarts takes the place of the control terminal, with the saved settings except speed and window
 * size; other terminals are opened again by path.
 */
#include "resource/resource_priv.h"

#include "lib/proc.h"

#include <asm/termbits.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

static bool is_tty_major(dev_t rdev)
{
	return major(rdev) == TTY_MAJOR || major(rdev) == TTYAUX_MAJOR ||
	       (major(rdev) >= PTS_FIRST_MAJOR && major(rdev) <= PTS_LAST_MAJOR);
}

static bool tty_match(const struct fd_probe *p)
{
	struct termios2 settings;

	if (!S_ISCHR(p->st.st_mode) || p->is_path)
		return false;
	if (p->local_fd < 0)
		return is_tty_major(p->st.st_rdev);
	return ioctl(p->local_fd, TCGETS2, &settings) == 0;
}

/* TIOCGDEV tells the terminal behind /dev/tty and /dev/console, numbered as in /proc/PID/stat. */
static int is_control_terminal(const struct fd_probe *p, bool *ret, struct stasis_error *err)
{
	struct proc_stat st;
	unsigned int dev;

	if (proc_read_stat(p->task->procfd, "stat", &st, err) < 0)
		return -1;
	if (ioctl(p->local_fd, TIOCGDEV, &dev) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.100s': TIOCGDEV", p->link);
	*ret = st.tty_nr && dev == st.tty_nr;
	return 0;
}

static int save_settings(struct fd_save *c, const struct fd_probe *p, Stasis__Tty *r,
			 struct stasis_error *err)
{
	struct termios2 settings;
	struct winsize window;

	if (ioctl(p->local_fd, TCGETS2, &settings) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.100s': TCGETS2", p->link);
	r->termios.data = arena_memdup(&c->arena, &settings, sizeof(settings));
	r->termios.len = sizeof(settings);
	if (ioctl(p->local_fd, TIOCGWINSZ, &window) == 0) {
		r->winsize.data = arena_memdup(&c->arena, &window, sizeof(window));
		r->winsize.len = sizeof(window);
	}
	if (!r->termios.data || (r->winsize.len && !r->winsize.data))
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a terminal");
	return 0;
}

static int tty_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		    Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Tty *r = fd_save_alloc(c, sizeof(*r));
	bool is_controlling = false, is_ours = false;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a terminal");
	stasis__tty__init(r);
	if (p->local_fd < 0)
		return stasis_fail(err, STASIS_E_DENIED, "terminal '%.100s' cannot be looked at",
				   p->link);
	if (pty_slave_save(c, p, &is_ours, ret, err) < 0)
		return -1;
	if (is_ours)
		return 0;
	r->file = file_id_make(c, p);
	if (!r->file)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a terminal");
	r->rdev = p->st.st_rdev;
	if (is_control_terminal(p, &is_controlling, err) < 0 || save_settings(c, p, r, err) < 0)
		return -1;
	r->is_controlling = is_controlling;
	if (!is_controlling && file_path_state(p) != PATH_SAME)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "terminal '%.100s' has no path here; close it before the checkpoint",
				   p->link);
	ret->kind_case = STASIS__DESCRIPTION__KIND_TTY;
	ret->tty = r;
	return 0;
}

/* ---- restart ---- */

static const char *path_of(const Stasis__Tty *r)
{
	return r->is_controlling ? "/dev/tty" : r->file->path;
}

static int check_other(const Stasis__Tty *r, uint32_t flags, struct stasis_error *err)
{
	struct stat st;

	if (file_id_check(r->file, err) < 0 || file_id_find(r->file, false, &st, err) < 0)
		return -1;
	if (!is_tty_major(st.st_rdev))
		return stasis_fail(err, STASIS_E_GONE, "'%.150s' is no terminal any more",
				   r->file->path);
	return file_check_access(r->file->path, flags, err);
}

static int tty_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const Stasis__Tty *r = d->tty;
	scoped_fd int fd = -1;

	(void)s;
	(void)c;
	if ((r->termios.len && r->termios.len != sizeof(struct termios2)) ||
	    (r->winsize.len && r->winsize.len != sizeof(struct winsize)))
		return stasis_fail(err, STASIS_E_CORRUPT, "terminal settings of %zu and %zu bytes",
				   r->termios.len, r->winsize.len);
	if (!r->is_controlling)
		return check_other(r, d->flags, err);
	fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail(err, STASIS_E_GONE,
				   "process has a control terminal but restart has none; use -F to "
				   "give it /dev/null");
	return 0;
}

static int tty_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	(void)s;
	(void)c;
	return file_reopen(path_of(d->tty), d, err);
}

/* Settings go in from the background too: with SIGTTOU blocked the kernel allows it (tty_ioctl(4)). */
void tty_block_ttou(sigset_t *ret_old)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTTOU);
	(void)pthread_sigmask(SIG_BLOCK, &set, ret_old); /* cannot fail with these arguments */
}

void tty_unblock_ttou(const sigset_t *old)
{
	(void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* The speeds stay what they are. */
static int set_settings(int fd, const void *saved, struct stasis_error *err)
{
	const tcflag_t speed_bits = CBAUD | CBAUDEX | (CBAUD << IBSHIFT);
	struct termios2 now, want;

	memcpy(&want, saved, sizeof(want));
	if (ioctl(fd, TCGETS2, &now) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "TCGETS2");
	want.c_cflag = (want.c_cflag & ~speed_bits) | (now.c_cflag & speed_bits);
	want.c_ispeed = now.c_ispeed;
	want.c_ospeed = now.c_ospeed;
	if (ioctl(fd, TCSETS2, &want) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "TCSETS2");
	return 0;
}

static bool window_differs(int fd, const Stasis__Tty *r)
{
	struct winsize now, saved;

	if (!r->winsize.len || ioctl(fd, TIOCGWINSZ, &now) < 0)
		return false;
	memcpy(&saved, r->winsize.data, sizeof(saved));
	return now.ws_row != saved.ws_row || now.ws_col != saved.ws_col;
}

static int give_terminal(int fd, pid_t pgrp, struct stasis_error *err)
{
	if (ioctl(fd, TIOCSPGRP, &pgrp) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "tcsetpgrp pgrp %d", pgrp);
	return 0;
}

/* A terminal that refuses its settings is no reason to lose the program. */
static int tty_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const struct load_desc *l = c->current;
	const Stasis__Tty *r = d->tty;
	struct stasis_error why;
	sigset_t old;
	int got = 0;

	(void)err;
	tty_block_ttou(&old);
	if (r->termios.len)
		got = set_settings(l->fd, r->termios.data, &why);
	if (got == 0 && r->is_controlling && c->foreground)
		got = give_terminal(l->fd, c->foreground, &why);
	tty_unblock_ttou(&old);
	if (r->is_controlling && window_differs(l->fd, r))
		c->window_differs = true;
	if (got < 0) {
		(void)load_fail_at(l, &why);
		s_warn(s, "%s", why.text);
	}
	return 0;
}

const struct resource_kind kind_tty = {
	.name = "tty",
	.tag = STASIS__DESCRIPTION__KIND_TTY,
	.match = tty_match,
	.save = tty_save,
	.verify = tty_verify,
	.load = tty_load,
	.finish = tty_finish,
};
