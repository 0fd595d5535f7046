/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory devices without a state: null, zero, full, random, urandom, at whatever path. */
#include "resource/resource_priv.h"

#include <sys/sysmacros.h>

enum { MEM_MAJOR = 1 };

/* By minor number (kernel Documentation/admin-guide/devices.txt). */
static const char *const standard_path[] = {
	[3] = "/dev/null", [5] = "/dev/zero", [7] = "/dev/full", [8] = "/dev/random",
	[9] = "/dev/urandom",
};

static const char *path_of(dev_t rdev)
{
	if (major(rdev) != MEM_MAJOR ||
	    minor(rdev) >= sizeof(standard_path) / sizeof(standard_path[0]))
		return NULL;
	return standard_path[minor(rdev)];
}

static bool chardev_match(const struct fd_probe *p)
{
	return S_ISCHR(p->st.st_mode) && !p->is_path && path_of(p->st.st_rdev);
}

static int chardev_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__CharDev *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a device");
	stasis__char_dev__init(r);
	r->rdev = p->st.st_rdev;
	r->file = file_id_make(c, p); /* a lost path does not matter: the device number tells all */
	if (!r->file)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a device");
	ret->kind_case = STASIS__DESCRIPTION__KIND_CHARDEV;
	ret->chardev = r;
	return 0;
}

/* The path it had if that is still the device, else the usual one; NULL when neither is. */
static const char *find_path(const Stasis__CharDev *r)
{
	const char *candidates[] = {r->file ? r->file->path : "", path_of(r->rdev)};
	struct stat st;

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
		if (candidates[i] && stat(candidates[i], &st) == 0 && S_ISCHR(st.st_mode) &&
		    st.st_rdev == r->rdev)
			return candidates[i];
	return NULL;
}

static int chardev_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	(void)s;
	(void)c;
	if (!path_of(d->chardev->rdev))
		return stasis_fail(err, STASIS_E_CORRUPT, "device %u:%u is none that is ever saved",
				   major(d->chardev->rdev), minor(d->chardev->rdev));
	if (!find_path(d->chardev))
		return stasis_fail(err, STASIS_E_GONE, "device '%s' is missing",
				   path_of(d->chardev->rdev));
	return file_check_access(find_path(d->chardev), d->flags, err);
}

static int chardev_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	const char *path = find_path(d->chardev);

	(void)s;
	(void)c;
	if (!path)
		return stasis_fail(err, STASIS_E_GONE, "device '%s' is missing",
				   path_of(d->chardev->rdev));
	return file_reopen(path, d, err);
}

const struct resource_kind kind_chardev = {
	.name = "device",
	.tag = STASIS__DESCRIPTION__KIND_CHARDEV,
	.match = chardev_match,
	.save = chardev_save,
	.verify = chardev_verify,
	.load = chardev_load,
};
