/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a batch script that is restarted. The srun of each was not saved (a stand-in, labelled with the
 * folder of the step's images beside the script's): it is begun with the same arguments, and as a step that is
 * restarted from there, in the allocation that the script has now.
 */
#ifndef CMDS_SHEPHERD_STEPS_H
#define CMDS_SHEPHERD_STEPS_H

#include <stasis/stasis.h>

struct step_plan {
	size_t nr;
	struct stasis_stand_in *list;
};

/*
 * For the script's image at path. The images of its steps are looked at first: CORRUPT when one is missing or
 * damaged, for then this checkpoint is not whole.
 */
int step_plan_make(const char *path, const struct stasis_tree_info *info, struct step_plan *ret,
		   struct stasis_error *err);
void step_plan_done(struct step_plan *p); /* for scoped() */

#endif
