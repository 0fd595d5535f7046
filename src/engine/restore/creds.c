/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which ids and capabilities a restored thread gets: the saved ones from an image that is trusted,
 * the image owner's without privilege otherwise, the caller's when the caller is not root. */
#include "restore/restore_priv.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

static int set_caps(uint64_t caps)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)caps, .permitted = (uint32_t)caps},
		{.effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32)},
	};

	return (int)syscall(SYS_capset, &hdr, data);
}

static int set_owner_groups(const struct restore *r, const struct passwd *pw,
			    struct stasis_error *err)
{
	int result = pw ? initgroups(pw->pw_name, pw->pw_gid) : setgroups(0, NULL);

	if (result < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "groups of uid %u", r->owner_uid);
	return 0;
}

int creds_become_owner(struct restore *r, struct stasis_error *err)
{
	const struct passwd *pw = r->is_trusted ? NULL : getpwuid(r->owner_uid);
	gid_t gid = pw ? pw->pw_gid : r->owner_gid;

	if (r->is_trusted)
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || set_owner_groups(r, pw, err) < 0)
		return -1;
	if (setresgid(gid, gid, gid) < 0 ||
	    setresuid(r->owner_uid, r->owner_uid, r->owner_uid) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "become uid %u", r->owner_uid);
	if (set_caps(1ull << CAP_CHECKPOINT_RESTORE) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED,
					 "keep the right to choose pids (CAP_CHECKPOINT_RESTORE)");
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	/* changing ids made this process, and so its children, untraceable even for itself */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "prctl");
	birth_bind(r->is_namespace ? 0 : r->caller);
	return 0;
}

int creds_before_user(struct restore *r, const struct restore_proc *p, struct stasis_error *err)
{
	const Stasis__Creds *c = p->nr_threads ? p->threads[0]->creds : NULL;

	if (!c || r->is_user_namespace || !r->is_trusted || geteuid() != 0 ||
	    !ns_load_leaves_ours(r->ns, p->index) ||
	    ns_load_may_set_groups(r->ns, p->index, c->groups, c->n_groups))
		return 0;
	/* in another one there may be no name for them either */
	if (setgroups(c->n_groups, c->groups) < 0 && errno != EINVAL)
		return stasis_fail_errno(err, STASIS_E_DENIED, "groups of process %u", p->process->pid);
	return 0;
}

/* Ids as they are called inside; what has no name there is as it was at the birth. All capabilities in there
 * can be had. */
static int fill_in_user(struct restore *r, const struct restore_proc *p, struct restorer_creds *ret,
			uint32_t *groups)
{
	uint32_t *const uids[] = {&ret->ruid, &ret->euid, &ret->suid, &ret->fsuid};
	uint32_t *const gids[] = {&ret->rgid, &ret->egid, &ret->sgid, &ret->fsgid};

	for (size_t i = 0; i < 4; i++) {
		*uids[i] = ns_load_id(r->ns, p->index, false, *uids[i]);
		*gids[i] = ns_load_id(r->ns, p->index, true, *gids[i]);
	}
	if (r->is_user_namespace || !ns_load_may_set_groups(r->ns, p->index, groups, ret->nr_groups))
		ret->nr_groups = RESTORER_KEEP_GROUPS;
	else
		for (size_t i = 0; i < ret->nr_groups; i++)
			groups[i] = ns_load_id(r->ns, p->index, true, groups[i]);
	ret->mode = RESTORER_CREDS_ALL;
	return 0;
}

int creds_fill(struct restore *r, const struct restore_proc *p, const Stasis__Thread *th,
	       struct restorer_creds *ret, uint32_t *groups, size_t max_groups, struct stasis_error *err)
{
	struct restorer_creds own = {.cap_prm = r->own_caps, .cap_bnd = r->own_caps};

	memset(ret, 0, sizeof(*ret));
	ret->no_new_privs = th->creds->no_new_privs;
	if (ns_load_has_user(r->ns, p->index))
		return fill_saved(th->creds, ret, groups, max_groups, err) < 0
			       ? -1
			       : fill_in_user(r, p, ret, groups);
	if (r->is_user_namespace) {
		/* no ids but one's own in there; of the namespace's capabilities what there was */
		if (fill_saved(th->creds, ret, groups, max_groups, err) < 0)
			return -1;
		ret->nr_groups = 0;
		ret->cap_bnd = ~0ull;
		ret->mode = RESTORER_CREDS_CAPS;
		return 0;
	}
	if (!r->is_trusted) {
		ret->cap_bnd = ~0ull;
		ret->mode = RESTORER_CREDS_CAPS; /* the ids are the owner's by birth */
		return 0;
	}
	if (geteuid() != 0)
		return 0;
	ret->mode = RESTORER_CREDS_ALL;
	if (fill_saved(th->creds, ret, groups, max_groups, err) < 0)
		return -1;
	limit_caps(&own, ret);
	return 0;
}
