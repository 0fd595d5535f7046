#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PostgreSQL, as an ordinary user. With pgbench inside of the tree, over a Unix socket and over TCP at once: no
# client sees an error, and no transaction is lost or done twice. And alone, with clients outside: a
# session over TCP goes on in the restarted server; one over the Unix socket ends, and the next one works.
TEST_LIMIT=900
. "$(dirname "$0")/real-lib.sh"

postgres_bin=$(find /usr/lib/postgresql -name postgres -path '*/bin/*' 2>/dev/null | sort -V | tail -n 1)
postgres_bin=${postgres_bin%/*}
[ -n "$postgres_bin" ] || test_skip_all "needs the package postgresql"
test_is_root || test_skip_all "needs root: established TCP connections are restored with CAP_NET_ADMIN"
id nobody >/dev/null 2>&1 || test_skip_all "needs the user nobody, since PostgreSQL does not run as root"
export postgres_port=$((18000 + $$ % 1000)) postgres_bin
real_owner=$(id -u nobody)
as_owner=(setpriv "--reuid=$real_owner" "--regid=$(id -g nobody)" --clear-groups -- env HOME=/nonexistent)

real_setup() {
	chown "$real_owner" . && "${as_owner[@]}" "$postgres_bin/initdb" -D "$real_input/cluster" -U bench -A trust \
		-E UTF8 --locale=C >initdb.out || return
	cat >>cluster/postgresql.conf <<END
listen_addresses = '127.0.0.1'
port = $postgres_port
unix_socket_directories = '$real_work'
shared_buffers = 16MB
max_connections = 20
fsync = off
autovacuum_naptime = 1s
END
	cat >job.sh <<'END'
set -e
export PGUSER=bench PGDATABASE=postgres PGPORT=$postgres_port
cp -a "$real_input/cluster" data
"$postgres_bin/postgres" -D data >log 2>&1 &
server=$!
until "$postgres_bin/pg_isready" -q -h "$PWD"; do sleep 0.1; done
"$postgres_bin/pgbench" -h "$PWD" -i -s 2 >init.out 2>&1
"$postgres_bin/pgbench" -h 127.0.0.1 -n -c 3 -j 2 -t 4000 --random-seed=1 >tcp.out 2>&1 &
tcp=$!
"$postgres_bin/pgbench" -h "$PWD" -n -c 3 -t 4000 --random-seed=2 >unix.out 2>&1
wait $tcp
"$postgres_bin/psql" -h "$PWD" -At <<'SQL'
select sum(abalance) from pgbench_accounts;
select sum(tbalance) from pgbench_tellers;
select sum(bbalance) from pgbench_branches;
select sum(delta), count(*) from pgbench_history;
SQL
kill -TERM $server
wait $server
END
}
real_command=("${as_owner[@]}" bash "$real_input/job.sh")
# Much of the uninterrupted run's time is that of processes which have ended, and of those that made the database:
# what is counted while it runs comes to about a third.
# shellcheck disable=SC2317 # is called
real_await() { # FROM TO
	"$real_session" await "$real_pid" $((($2 - $1) / 4))
}
# shellcheck disable=SC2317 # is called
real_finish() {
	! grep -E 'ERROR|PANIC' log && ! grep -E 'ERROR|FATAL|aborted|failed transactions: [1-9]' tcp.out unix.out &&
		[ "$(sort -u -t '|' -k 1,1 stdout | cut -d '|' -f 1 | sort -u | wc -l)" = 1 ] &&
		grep -q '|24000$' stdout && rm -rf data log init.out tcp.out unix.out
}

real_program PostgreSQL

# ---- alone, with clients outside

server_is_up() {
	"$postgres_bin/pg_isready" -q -h "$real_work" -p "$postgres_port"
}

server_start() {
	rm -rf "$real_work" && mkdir "$real_work" && chown "$real_owner" "$real_work" || return
	cp -a "$real_input/cluster" "$real_work/data" || return
	(
		cd "$real_work" || exit
		real_close_inherited
		exec setsid "${as_owner[@]}" "$postgres_bin/postgres" -D "$real_work/data" >log 2>&1 </dev/null 3>&-
	) &
	real_pid=$!
	wait_for server_is_up 60
}

# A session outside: reads statements from its pipe; NAME is also the file of its answers.
session_start() { # NAME HOST
	mkfifo "$1.in" && { "$postgres_bin/psql" -h "$2" -p "$postgres_port" -U bench -At postgres <"$1.in" >"$1" 2>&1 3>&- & } &&
		eval "exec {$1}>'$1.in'"
}

ask() { # NAME STATEMENT ANSWER
	local -n fd=$1
	echo "$2" >&"$fd" && wait_for "grep -q '$3' $1" 60
}

test_expect_success 'PostgreSQL alone: two sessions of clients outside' '
	server_start && session_start by_tcp 127.0.0.1 && session_start by_unix "$real_work" &&
	ask by_tcp "create temp table t as select generate_series(1,1000) as n; begin; update t set n = n + 1;
		select sum(n) as before from t;" 501500 &&
	ask by_unix "select 4711;" 4711
'
test_expect_success 'the session over the Unix socket is an obstacle' '
	! chkpnt -r -n "$real_pid" 2>err && cat err && grep -q -- "--external=unix" err
'
test_expect_success 'killed and restarted' '
	mkdir img && timeout -k 5 "$real_limit" chkpnt -r -K KILL --external=unix -d img -f root "$real_pid" &&
	wait_for real_is_gone 20 && timeout -k 5 "$real_limit" restart -W img/root </dev/null >restart.out 2>&1
	status=$?; cat restart.out; [ $status = 0 ]
'
test_expect_success 'the session over TCP goes on, with its temporary table and its transaction' '
	ask by_tcp "update t set n = n * 2; commit; select sum(n) from t;" 1003000 && ! grep -i error by_tcp
'
test_expect_success 'the session over the Unix socket is over, and the next one works' '
	ask by_unix "select 4712;" "closed the connection" && server_is_up &&
	[ "$("$postgres_bin/psql" -h "$real_work" -p "$postgres_port" -U bench -Atc "select 1+1" postgres)" = 2 ]
'
test_expect_success 'the server ends well' '
	kill -INT "$real_pid" && wait_for real_is_gone 60 && grep -q "database system is shut down" "$real_work/log" &&
	! grep -E "PANIC|ERROR" "$real_work/log"
'
test_done
