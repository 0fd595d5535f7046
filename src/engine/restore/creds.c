/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which ids and capabilities a restored thread gets: the saved ones from an image that is trusted,
 * the image owner's without privilege otherwise, the caller's when the caller is not root. */
#include "restore/restore_priv.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static int fill_saved(const Stasis__Creds *c, struct restorer_creds *ret, uint32_t *groups,
		      size_t max_groups, struct stasis_error *err)
{
	if (c->n_groups > max_groups)
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu supplementary groups", c->n_groups);
	ret->ruid = c->ruid;
	ret->euid = c->euid;
	ret->suid = c->suid;
	ret->fsuid = c->fsuid;
	ret->rgid = c->rgid;
	ret->egid = c->egid;
	ret->sgid = c->sgid;
	ret->fsgid = c->fsgid;
	ret->nr_groups = (uint32_t)c->n_groups;
	if (c->n_groups)
		memcpy(groups, c->groups, c->n_groups * sizeof(*groups));
	ret->cap_inh = c->cap_inh;
	ret->cap_prm = c->cap_prm;
	ret->cap_eff = c->cap_eff;
	ret->cap_bnd = c->cap_bnd;
	ret->cap_amb = c->cap_amb;
	ret->securebits = c->securebits;
	return 0;
}

/* Capabilities that we lack cannot be given: a root without some (a container's) restarts the
 * processes of a root without them, or warns elsewhere and goes on with what there is. */
static void limit_caps(const struct restorer_creds *own, struct restorer_creds *ret)
{
	ret->cap_prm &= own->cap_prm;
	ret->cap_eff &= ret->cap_prm;
	ret->cap_inh &= own->cap_bnd | own->cap_inh;
	ret->cap_amb &= ret->cap_prm & ret->cap_inh;
}

static int fill_owner(struct restore *r, struct restorer_creds *ret, uint32_t *groups,
		      size_t max_groups, struct stasis_error *err)
{
	const struct passwd *pw = getpwuid(r->owner_uid);
	gid_t gid = pw ? pw->pw_gid : r->owner_gid;
	int nr = (int)max_groups;

	ret->ruid = ret->euid = ret->suid = ret->fsuid = r->owner_uid;
	ret->rgid = ret->egid = ret->sgid = ret->fsgid = gid;
	if (pw && getgrouplist(pw->pw_name, gid, groups, &nr) < 0)
		return stasis_fail(err, STASIS_E_DENIED, "uid %u is in too many groups",
				   r->owner_uid);
	ret->nr_groups = pw ? (uint32_t)nr : 0;
	ret->cap_bnd = ~0ull;
	return 0;
}

int creds_fill(struct restore *r, const Stasis__Thread *th, struct restorer_creds *ret,
	       uint32_t *groups, size_t max_groups, struct stasis_error *err)
{
	struct restorer_creds own = {.cap_prm = r->own_caps, .cap_bnd = r->own_caps};

	memset(ret, 0, sizeof(*ret));
	ret->no_new_privs = th->creds->no_new_privs;
	if (r->is_user_namespace) {
		/* no ids but one's own in there; of the namespace's capabilities what there was */
		if (fill_saved(th->creds, ret, groups, max_groups, err) < 0)
			return -1;
		ret->nr_groups = 0;
		ret->cap_bnd = ~0ull;
		ret->mode = RESTORER_CREDS_CAPS;
		return 0;
	}
	if (geteuid() != 0)
		return 0;
	ret->mode = RESTORER_CREDS_ALL;
	if (!r->is_trusted)
		return fill_owner(r, ret, groups, max_groups, err);
	if (fill_saved(th->creds, ret, groups, max_groups, err) < 0)
		return -1;
	limit_caps(&own, ret);
	return 0;
}
