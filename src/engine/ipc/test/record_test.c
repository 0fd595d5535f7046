/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of System V objects that nobody may believe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants those before itself */
#include <cmocka.h>

#include "ipc/ipc.h"

#include <string.h>

struct records {
	Stasis__Object o;
	Stasis__SysvIpc v;
	uint32_t values[3], pids[3], packets[2];
	int64_t types[2];
};

static void init(struct records *x, Stasis__ObjectType type)
{
	memset(x, 0, sizeof(*x));
	stasis__object__init(&x->o);
	stasis__sysv_ipc__init(&x->v);
	x->o.id = 9;
	x->o.type = type;
	x->o.sysv = &x->v;
	x->v.mode = 0600;
	x->v.values = x->values;
	x->v.pids = x->pids;
	x->v.types = x->types;
	x->o.packets = x->packets;
}

static void init_msg(struct records *x)
{
	init(x, STASIS__OBJECT_TYPE__OBJECT_SYSV_MSG);
	x->v.n_pids = x->v.n_types = x->o.n_packets = 2;
	x->packets[0] = 3;
	x->packets[1] = 4;
	x->types[0] = x->types[1] = 1;
	x->o.content_len = 7;
}

static void is_refused(const struct records *x)
{
	struct stasis_error err;

	assert_int_equal(ipc_check_record(&x->o, &err), -1);
	assert_int_equal(err.cls, STASIS_E_CORRUPT);
}

static void refuses_impossible_objects(void **state)
{
	struct records x;

	(void)state;
	init(&x, STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM);
	x.o.size = 100;
	assert_int_equal(ipc_check_record(&x.o, NULL), 0);
	x.o.size = 0;
	is_refused(&x);
	x.o.size = UINT64_MAX;
	is_refused(&x);
	x.o.size = 100;
	x.v.id = -1;
	is_refused(&x);
	x.v.id = 1;
	x.v.mode = 01000;
	is_refused(&x);
	x.v.mode = 0600;
	x.o.type = STASIS__OBJECT_TYPE__OBJECT_PIPE;
	is_refused(&x);
	x.o.type = STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM;
	x.o.sysv = NULL;
	is_refused(&x);
}

static void refuses_impossible_semaphores(void **state)
{
	struct records x;

	(void)state;
	init(&x, STASIS__OBJECT_TYPE__OBJECT_SYSV_SEM);
	is_refused(&x);
	x.v.n_values = x.v.n_pids = 3;
	assert_int_equal(ipc_check_record(&x.o, NULL), 0);
	x.values[2] = 32768;
	is_refused(&x);
	x.values[2] = 32767;
	x.v.n_pids = 2;
	is_refused(&x);
	x.v.n_values = x.v.n_pids = 0;
	x.v.is_outside = true;
	assert_int_equal(ipc_check_record(&x.o, NULL), 0);
}

static void refuses_impossible_messages(void **state)
{
	struct records x;

	(void)state;
	init_msg(&x);
	assert_int_equal(ipc_check_record(&x.o, NULL), 0);
	x.types[1] = 0;
	is_refused(&x);
	init_msg(&x);
	x.o.content_len = 8;
	is_refused(&x);
	init_msg(&x);
	x.o.n_packets = 1;
	is_refused(&x);
	init_msg(&x);
	x.v.n_pids = 1;
	is_refused(&x);
	init_msg(&x);
	x.packets[0] = UINT32_MAX;
	x.o.content_len = UINT32_MAX + 4ull;
	is_refused(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_impossible_objects),
		cmocka_unit_test(refuses_impossible_semaphores),
		cmocka_unit_test(refuses_impossible_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
