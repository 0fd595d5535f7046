#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3 fills a database in one transaction, with a rollback journal and with a write-ahead log. Its cache
# is small, so pages reach the file, and their old content the journal, long before the end. It keeps others
# out by POSIX record locks; of the log there is an index in memory that all connections map.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs sqlite3)" ] || test_skip_all "needs sqlite3"

# shellcheck disable=SC2317 # is called
real_setup() {
	cat >fill.sql <<END
PRAGMA cache_size = 200;
PRAGMA journal_mode = $journal;
BEGIN;
CREATE TABLE measured(id INTEGER PRIMARY KEY, place INTEGER, value INTEGER, note TEXT);
WITH RECURSIVE n(i, x) AS (
	SELECT 1, 4711 UNION ALL SELECT i + 1, (x * 1103515245 + 12345) & 0x7fffffff FROM n WHERE i < $rows)
	INSERT INTO measured SELECT i, x % 1009, x, printf('%08x of %d', x, i) FROM n;
CREATE INDEX by_place ON measured(place, value);
UPDATE measured SET value = value / 3, note = note || ' thirds' WHERE place % 7 = 3;
DELETE FROM measured WHERE place % 11 = 5;
CREATE TABLE sums AS SELECT place, count(*) AS n, sum(value) AS total FROM measured GROUP BY place;
COMMIT;
SELECT count(*), sum(total) FROM sums;
END
}
real_command=(sqlite3 -bail -init /dev/null data.db ".read $real_input/fill.sql")
# shellcheck disable=SC2317 # is called
real_finish() {
	[ ! -e data.db-journal ] && [ ! -e data.db-wal ] &&
		[ "$(sqlite3 data.db 'PRAGMA integrity_check')" = ok ] &&
		sqlite3 data.db .dump >data.sql && [ -s data.sql ] && rm -f data.db-wal data.db-shm
}

journal=delete rows=1000000
real_program 'sqlite3, rollback journal'
journal=wal rows=400000
real_program 'sqlite3, write-ahead log'

# ---- others are kept out of a transaction that was checkpointed in its middle

# A writer in the middle of a transaction as a tree of its own: sets writer.
start_writer() { # MODE
	mkdir "$test_scratch/$1" && cd "$test_scratch/$1" || return
	sqlite3 data.db "PRAGMA journal_mode = $1; CREATE TABLE t(x); INSERT INTO t VALUES(1);" || return
	cat >write.sql <<-END
		BEGIN IMMEDIATE;
		INSERT INTO t VALUES(2);
		.shell : >begun; while ! [ -e go ]; do sleep 0.05; done
		INSERT INTO t VALUES(3);
		COMMIT;
		.shell : >done
	END
	(real_close_inherited && exec setsid sqlite3 -bail -init /dev/null data.db ".read write.sql" >out 2>&1 </dev/null 3>&-) &
	writer=$!
	wait_for '[ -e begun ]'
}

is_locked() {
	sqlite3 data.db 'INSERT INTO t VALUES(4)' 2>err && return 1
	grep -q 'database is locked' err
}

sum() {
	[ "$(sqlite3 -cmd ".timeout 20000" data.db "SELECT sum(x) FROM t")" = "$1" ]
}

for mode in delete wal; do
	test_expect_success "journal mode $mode: a second writer is kept out before and after, and then let in" '
		start_writer $mode && is_locked && sum 1 && mkdir images &&
		chkpnt -r -K KILL -d images -f root "$writer" && ! wait "$writer" &&
		timeout -k 5 60 restart -W images/root 3>&- && is_locked && sum 1 && : >go && wait_for "[ -e done ]" &&
		sum 6 && wait_for "! is_locked" && sum 10
	'
	test_kill_all 2>/dev/null
	cd "$test_scratch" || exit
done

real_program_as_user 'sqlite3, write-ahead log'
test_done
