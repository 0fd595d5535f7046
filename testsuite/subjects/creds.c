/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ids, groups, capabilities and securebits, all different from what root starts with. Needs root. */
#include "subject.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct creds {
	uid_t r, e, s, fs;
	gid_t gr, ge, gs, gfs;
	gid_t groups[8];
	int nr_groups, securebits;
	struct __user_cap_data_struct caps[2];
	uint64_t bounding, ambient;
};

static void observe(struct creds *c)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	unsigned i;

	memset(c, 0, sizeof(*c));
	CHECK(getresuid(&c->r, &c->e, &c->s) == 0 && getresgid(&c->gr, &c->ge, &c->gs) == 0);
	c->fs = (uid_t)setfsuid((uid_t)-1);
	c->gfs = (gid_t)setfsgid((gid_t)-1);
	c->nr_groups = getgroups(8, c->groups);
	c->securebits = prctl(PR_GET_SECUREBITS);
	CHECK(syscall(SYS_capget, &h, c->caps) == 0);
	for (i = 0; i < 40; i++) {
		if (prctl(PR_CAPBSET_READ, i) == 1)
			c->bounding |= 1ull << i;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			c->ambient |= 1ull << i;
	}
}

static void build(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	static const gid_t groups[] = {7, 64101, 64102};

	CHECK(setgroups(3, groups) == 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0) == 0);
	CHECK(setresgid(64011, 64012, 64013) == 0);
	CHECK(setresuid(64001, 64002, 64003) == 0);
	memset(caps, 0, sizeof(caps));
	caps[0].permitted = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_CHOWN | 1u << CAP_KILL |
			    1u << CAP_DAC_OVERRIDE;
	caps[0].effective = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE; /* the verdict's folder is root's */
	caps[0].inheritable = 1u << CAP_NET_BIND_SERVICE;
	CHECK(syscall(SYS_capset, &h, caps) == 0);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0);
}

int main(void)
{
	struct creds before, after;

	subject_init();
	build();
	observe(&before);
	subject_ready();
	subject_wait_go();
	observe(&after);
	CHECK(before.r == after.r && before.e == after.e && before.s == after.s);
	CHECK(before.fs == after.fs && before.gfs == after.gfs);
	CHECK(before.gr == after.gr && before.ge == after.ge && before.gs == after.gs);
	CHECK(before.nr_groups == after.nr_groups);
	CHECK(memcmp(before.groups, after.groups, sizeof(before.groups)) == 0);
	CHECK(before.securebits == after.securebits);
	CHECK(memcmp(before.caps, after.caps, sizeof(before.caps)) == 0);
	CHECK(before.bounding == after.bounding);
	CHECK(before.ambient == after.ambient);
	subject_ok();
}
