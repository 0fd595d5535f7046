/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the plugin and the program that it puts in a task's place. */
#ifndef WIRE_SHEPHERD_H
#define WIRE_SHEPHERD_H

/* Environment variable: the program to run, for the first time, with the shepherd's arguments. */
#define SHEPHERD_RUN "STASIS_SHEPHERD_RUN"

#endif
