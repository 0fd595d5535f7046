/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables in /proc/sysvipc: every System V object of the IPC namespace of whoever opens them, also
 * those that he may not read. Columns as in proc(5); newer kernels may have more behind them.
 */
#include "ipc/ipc_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLE (64u << 20)
enum { MAX_COLUMNS = 16, MIN_COLUMNS = 10 };

/* clang-format off */
static const struct {
	const char *path, *what, *option;
	/* columns, from 0 */
	unsigned char size, count, first_pid, second_pid, uid, time, changed;
} types[IPC_NR_TYPES] = {
	[IPC_SHM] = {"/proc/sysvipc/shm", "shared memory segment", "-m", 3, 6, 4, 5, 7, 13, 13},
	[IPC_SEM] = {"/proc/sysvipc/sem", "semaphore set", "-s", 3, 0, 0, 0, 4, 8, 9},
	[IPC_MSG] = {"/proc/sysvipc/msg", "message queue", "-q", 3, 4, 5, 6, 7, 13, 13},
};
/* clang-format on */

const char *ipc_words(enum ipc_type type)
{
	return types[type].what;
}

const char *ipc_ipcrm_option(enum ipc_type type)
{
	return types[type].option;
}

/* The key is shown as a signed number, the mode in octal. */
static bool parse_line(const char *line, enum ipc_type type, struct ipc_row *r)
{
	int64_t v[MAX_COLUMNS] = {0};
	unsigned nr = 0;
	char *end;

	for (; nr < MAX_COLUMNS; nr++, line = end) {
		v[nr] = strtoll(line, &end, nr == 2 ? 8 : 10);
		if (end == line)
			break;
	}
	if (nr < MIN_COLUMNS || v[1] < 0 || v[1] > INT32_MAX || v[3] < 0)
		return false;
	*r = (struct ipc_row){
		.type = type,
		.key = (uint32_t)v[0],
		.id = (int32_t)v[1],
		.mode = (uint32_t)v[2],
		.size = (uint64_t)v[types[type].size],
		.nr = types[type].count ? (uint64_t)v[types[type].count] : 0,
		.pids = {(pid_t)(types[type].first_pid ? v[types[type].first_pid] : 0),
			 (pid_t)(types[type].second_pid ? v[types[type].second_pid] : 0)},
		.uid = (uint32_t)v[types[type].uid],
		.gid = (uint32_t)v[types[type].uid + 1],
		.cuid = (uint32_t)v[types[type].uid + 2],
		.cgid = (uint32_t)v[types[type].uid + 3],
		.used_at = v[types[type].time],
		.changed_at = v[types[type].changed],
	};
	return true;
}

static int add_row(struct ipc_rows *rows, const struct ipc_row *r, struct stasis_error *err)
{
	struct ipc_row *grown;

	if (rows->nr == rows->room) {
		rows->room = rows->room ? 2 * rows->room : 16;
		grown = reallocarray(rows->v, rows->room, sizeof(*grown));
		if (!grown)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for System V objects");
		rows->v = grown;
	}
	rows->v[rows->nr++] = *r;
	return 0;
}

/* A kernel without a kind has no table of it. */
static int read_table(enum ipc_type type, struct ipc_rows *rows, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	struct ipc_row r;
	size_t len;

	if (access(types[type].path, F_OK) < 0)
		return 0;
	if (io_read_file_at(AT_FDCWD, types[type].path, MAX_TABLE, &text, &len, err) < 0)
		return -1;
	for (char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
		if (parse_line(line + 1, type, &r) && add_row(rows, &r, err) < 0)
			return -1;
	return 0;
}

int ipc_read_rows(struct ipc_rows *ret, struct stasis_error *err)
{
	memset(ret, 0, sizeof(*ret));
	for (int type = 0; type < IPC_NR_TYPES; type++)
		if (read_table(type, ret, err) < 0)
			return -1;
	return 0;
}

const struct ipc_row *ipc_row_of(const struct ipc_rows *rows, enum ipc_type type, int32_t id)
{
	for (size_t i = 0; i < rows->nr; i++)
		if (rows->v[i].type == type && rows->v[i].id == id)
			return &rows->v[i];
	return NULL;
}

void ipc_rows_done(struct ipc_rows *rows)
{
	free(rows->v);
	rows->v = NULL;
}
