/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root that opens files with a user's rights only: the file system ids change, and with them the kernel
 * takes the capabilities that override file permissions out of the effective set (capabilities(7)). */
#include "daemon/store.h"

#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

int identity_user(uid_t uid, gid_t gid, struct stasis_error *err)
{
	const struct passwd *pw = getpwuid(uid);

	if ((pw ? initgroups(pw->pw_name, gid) : setgroups(0, NULL)) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "groups of uid %u", uid);
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	/* they return the previous id, always: a second call tells */
	if (setfsuid((uid_t)-1) != (int)uid || setfsgid((gid_t)-1) != (int)gid)
		return stasis_fail(err, STASIS_E_DENIED, "no file access as uid %u", uid);
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* our own /proc files are still to be ours */
	return 0;
}

void identity_root(void)
{
	(void)setfsuid(0);
	(void)setfsgid(0);
	(void)setgroups(0, NULL);
}
