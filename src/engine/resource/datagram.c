/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What UDP and raw sockets share. Datagrams that wait in the socket are lost, as datagrams may be: they
 * cannot be read without being taken but for the first.
 */
#include "resource/sockets.h"

#include <poll.h>
#include <sys/socket.h>

uint32_t datagram_save_state(struct session *s, const struct fd_probe *p, const char *what,
			     const Stasis__InetSocket *inet)
{
	struct pollfd poll_fd = {.fd = p->local_fd, .events = POLLIN | POLLRDHUP};
	char text[INET_TEXT_BYTES];

	(void)poll(&poll_fd, 1, 0);
	if (poll_fd.revents & POLLHUP)
		return DATAGRAM_SHUT_BOTH;
	if (poll_fd.revents & POLLRDHUP)
		return DATAGRAM_SHUT_READ;
	if (poll_fd.revents & POLLIN)
		s_warn(s, "%s(%d) fd %d: datagrams that wait in %s socket %s are not saved",
		       p->task->comm, p->task->pid, p->fd, what, inet_text(&inet->local, text));
	return 0;
}

int datagram_load(struct session *s, const Stasis__InetSocket *r, uint32_t shut, struct stasis_error *err)
{
	scoped_fd int fd = inet_open(s, r, err);

	if (fd < 0 || inet_bind(r, fd, err) < 0 || inet_join(s, r, fd, err) < 0 ||
	    inet_connect(r, fd, err) < 0)
		return -1;
	/* the kernel notes it also where it says that there is no connection */
	if (shut && shutdown(fd, shut == DATAGRAM_SHUT_BOTH ? SHUT_RDWR : SHUT_RD) < 0 &&
	    errno != ENOTCONN)
		return stasis_fail_errno(err, STASIS_E_IO, "shutdown of a socket");
	if (socket_options_finish(s, r->options, fd, err) < 0)
		return -1;
	return fd_take(&fd);
}
