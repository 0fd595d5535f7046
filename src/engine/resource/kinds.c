/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of all kinds. A file of /proc is a regular one or a folder too, so it comes first; the last
 * takes what nobody else wants. */
#include "resource/resource_priv.h"

const struct resource_kind *const resource_kinds[] = {
	&kind_mqueue,	  /* regular files of a file system of their own */
	&kind_procfile,	  &kind_namespace,
	&kind_regular,	  &kind_directory, &kind_pipe,	   &kind_fifo,	   &kind_chardev,
	&kind_pty_master, &kind_pty_slave, &kind_tty,	   &kind_eventfd,  &kind_memfd,
	&kind_unix,	  &kind_tcp,	   &kind_udp,	   &kind_timerfd,  &kind_signalfd,
	&kind_epoll,	  &kind_pidfd,	   &kind_inotify,  &kind_fanotify,
	&kind_raw,	  &kind_netlink,  &kind_packet,
	&kind_unsupported, NULL,
};

const struct resource_kind *kind_of_tag(Stasis__Description__KindCase tag)
{
	for (size_t i = 0; resource_kinds[i]; i++)
		if (resource_kinds[i]->tag == tag)
			return resource_kinds[i];
	return NULL;
}
