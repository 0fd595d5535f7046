/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File names of a tree's images: the CONVEX guide's rules, for command names that the programs chose
 * themselves.
 */
#include "image/names.h"
#include "image/image_priv.h"

#include <stdio.h>
#include <string.h>

enum { COMM_BYTES = 16 /* the guide's "up to 16 characters" */ };

_Static_assert(IMAGE_NAME_SIZE == IMAGE_MAX_NAME + 1, "one length of names");

/* A command name as it may stand in a file name: no shell or terminal can be surprised by it. */
static void comm_clean(const char *comm, char ret[COMM_BYTES + 1])
{
	size_t len = strnlen(comm, COMM_BYTES);

	for (size_t i = 0; i < len; i++) {
		bool is_first_special = i == 0 && (comm[i] == '.' || comm[i] == '-');
		bool is_plain = comm[i] >= ' ' && comm[i] <= '~' && comm[i] != '/';

		ret[i] = is_plain && !is_first_special ? comm[i] : '_';
	}
	if (len == 0)
		ret[len++] = '_';
	ret[len] = '\0';
}

/* Put text before the string that starts at *pos in buf; false when there is no room. */
static bool prepend(const char *buf, char **pos, const char *text)
{
	size_t len = strlen(text);

	if (len > (size_t)(*pos - buf))
		return false;
	*pos -= len;
	memcpy(*pos, text, len);
	return true;
}

/* ".COMM" of every ancestor below the root, then ROOT before it. Built from its end, so that a chain
 * of any depth costs no more steps than fit into a name. */
static bool prepend_lineage(const char *root, const struct image_name_proc *procs, size_t parent,
			    const char *buf, char **pos)
{
	char comm[COMM_BYTES + 1];

	for (; parent != 0; parent = procs[parent].parent) {
		comm_clean(procs[parent].comm, comm);
		if (!prepend(buf, pos, comm) || !prepend(buf, pos, "."))
			return false;
	}
	return prepend(buf, pos, root);
}

static int name_one(const char *root, const struct image_name_proc *procs, size_t i, char *ret,
		    struct stasis_error *err)
{
	char buf[IMAGE_NAME_SIZE], comm[COMM_BYTES + 1], own[COMM_BYTES + 16];
	char *start = buf + sizeof(buf), *pos;

	comm_clean(procs[i].comm, comm);
	(void)snprintf(own, sizeof(own), ".%s.%d", comm, (int)procs[i].pid);
	start -= strlen(own) + 1;
	memcpy(start, own, strlen(own) + 1);
	pos = start;
	if (!prepend_lineage(root, procs, procs[i].parent, buf, &pos)) {
		pos = start;
		if (!prepend(buf, &pos, "..") || !prepend(buf, &pos, root))
			return stasis_fail(err, STASIS_E_USAGE,
					   "'%.64s...' is too long for the images of a tree: %zu "
					   "bytes, at most %zu", root, strlen(root),
					   (size_t)(start - buf) - 2);
	}
	memcpy(ret, pos, (size_t)(buf + sizeof(buf) - pos));
	return 0;
}

int image_names(const char *given, const struct image_name_proc *procs, size_t nr,
		char (*ret)[IMAGE_NAME_SIZE], struct stasis_error *err)
{
	char comm[COMM_BYTES + 1];

	if (given && !image_name_is_plain(given))
		return stasis_fail(err, STASIS_E_USAGE,
				   "'%.64s' is no file name of at most %d bytes, without slash",
				   given, IMAGE_MAX_NAME);
	if (nr == 0)
		return 0;
	comm_clean(procs[0].comm, comm);
	if (given)
		(void)snprintf(ret[0], IMAGE_NAME_SIZE, "%s", given);
	else
		(void)snprintf(ret[0], IMAGE_NAME_SIZE, "%s.%d", comm, (int)procs[0].pid);
	for (size_t i = 1; i < nr; i++) {
		if (procs[i].parent >= i)
			return stasis_fail(err, STASIS_E_INTERNAL, "process %d is not in pre-order",
					   (int)procs[i].pid);
		if (name_one(given ? given : comm, procs, i, ret[i], err) < 0)
			return -1;
	}
	return 0;
}
