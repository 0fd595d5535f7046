/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What inotify and fanotify have in common: the files that are watched. */
#ifndef RESOURCE_WATCH_H
#define RESOURCE_WATCH_H

#include "resource/resource_priv.h"

enum { WATCH_HANDLE_BYTES = 128 }; /* MAX_HANDLE_SZ */

/* A file as fdinfo names it, and where it was found. */
struct watched {
	uint64_t ino;
	dev_t dev;	/* of the file system, which need not be the file's st_dev */
	int handle_type;
	unsigned handle_len;
	uint8_t handle[WATCH_HANDLE_BYTES];
	bool minds_looks; /* whoever lists the folder is seen by the program */
	char *path;	  /* NULL: not found */
	struct fd_desc *desc; /* when there is no path: open in the tree */
};

/* From a line of fdinfo: "... ino:9e7e sdev:800013 ... fhandle-bytes:8 fhandle-type:1 f_handle:7e9e".
 * -1 when it does not look like proc(5) says. */
int watch_parse(const char *line, struct watched *ret);

/* The device that fdinfo shows as a number of the kernel's own. */
dev_t watch_device(unsigned sdev);

/* A line that begins with `key`, the first (from NULL) or next one; NULL when there is none. */
const char *watch_line(const char *text, const char *from, const char *key);

/*
 * Find the paths of files that a description of the tree watches: by handle (CAP_DAC_READ_SEARCH), among
 * what the tree has open, and by looking through folders, up to a limit and where the program does not
 * see that. What is not found keeps path and desc NULL. For settle().
 */
int watch_find(struct fd_save *c, const struct fd_desc *d, struct watched *list, size_t nr,
	       struct stasis_error *err);

/* The record of one that was found. */
Stasis__WatchedFile *watch_record(struct fd_save *c, struct fd_desc *d, const struct watched *w);

/* Where it is at the restart: a path for inotify_add_watch() and the like in buf, PATH_MAX bytes.
 * false: there is no such file any more. */
bool watch_target(struct fd_load *c, const Stasis__WatchedFile *f, char *buf);
int watch_check(struct fd_load *c, const Stasis__Description *d, const Stasis__WatchedFile *f,
		struct stasis_error *err);

#endif
