/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a user or group id outside is in a user namespace: user_namespaces(7). */
#include "ns/ns_priv.h"

static uint32_t map_one(Stasis__IdRange *const *map, size_t nr, uint32_t id)
{
	for (size_t i = 0; i < nr; i++)
		if (id >= map[i]->outside && id - map[i]->outside < map[i]->count)
			return map[i]->inside + (id - map[i]->outside);
	return NS_NO_ID;
}

uint32_t ns_map_id(const struct ns_users *u, uint32_t ns, bool is_gid, uint32_t id)
{
	const Stasis__Namespace *rec = ns ? u->find(u->arg, ns) : NULL;

	if (!rec)
		return id;
	/* a parent has the smaller number, so this ends */
	id = ns_map_id(u, rec->owner, is_gid, id);
	if (id == NS_NO_ID)
		return id;
	return is_gid ? map_one(rec->gid_map, rec->n_gid_map, id)
		      : map_one(rec->uid_map, rec->n_uid_map, id);
}

bool ns_is_user_below(const struct ns_users *u, uint32_t ns, uint32_t above)
{
	while (ns && ns != above) {
		const Stasis__Namespace *rec = u->find(u->arg, ns);

		ns = rec ? rec->owner : 0;
	}
	return ns == above;
}
