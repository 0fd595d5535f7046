/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named points at which a test can make an operation fail or kill it, to see that nothing is lost. They
 * exist only in a build with --enable-fault-points; $STASIS_FAULT says which and how:
 *
 *	fail:NAME    the function returns an error there
 *	kill:NAME    the engine is killed there (SIGKILL)
 *	stop:NAME    it stops there (SIGSTOP) until the test continues it
 *	head:NAME    its parent is: of a restart's builder the command, of a process its creator
 */
#ifndef LIB_FAULT_H
#define LIB_FAULT_H

#include "lib/error.h"

#ifdef STASIS_FAULT_POINTS
/* 0, or -1 with *err when $STASIS_FAULT asks for a failure here. */
int fault_point(const char *name, struct stasis_error *err);
#else
static inline int fault_point(const char *name, struct stasis_error *err)
{
	(void)name;
	(void)err;
	return 0;
}
#endif

#endif
