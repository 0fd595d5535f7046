#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3 fills a database in one transaction. Its cache is small, so pages reach the file, and their
# old content the journal, long before the end.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs sqlite3)" ] || test_skip_all "needs sqlite3"

real_setup() {
	cat >fill.sql <<'END'
PRAGMA cache_size = 200;
BEGIN;
CREATE TABLE measured(id INTEGER PRIMARY KEY, place INTEGER, value INTEGER, note TEXT);
WITH RECURSIVE n(i, x) AS (
	SELECT 1, 4711 UNION ALL SELECT i + 1, (x * 1103515245 + 12345) & 0x7fffffff FROM n WHERE i < 1000000)
	INSERT INTO measured SELECT i, x % 1009, x, printf('%08x of %d', x, i) FROM n;
CREATE INDEX by_place ON measured(place, value);
UPDATE measured SET value = value / 3, note = note || ' thirds' WHERE place % 7 = 3;
DELETE FROM measured WHERE place % 11 = 5;
CREATE TABLE sums AS SELECT place, count(*) AS n, sum(value) AS total FROM measured GROUP BY place;
COMMIT;
SELECT count(*), sum(total) FROM sums;
END
}
# Without record locks, which come with the issue "Resources" and are refused until then.
real_command=(sqlite3 -vfs unix-none -bail -init /dev/null data.db ".read $real_input/fill.sql")
# shellcheck disable=SC2317 # is called
real_finish() {
	[ ! -e data.db-journal ] && [ "$(sqlite3 data.db 'PRAGMA integrity_check')" = ok ] &&
		sqlite3 data.db .dump >data.sql && [ -s data.sql ]
}

real_program sqlite3
real_program_as_user sqlite3
test_done
