#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Redis with redis-benchmark inside of the tree: 30 connections count to 300,000 together; not one
# request is lost or done twice.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs redis-server redis-benchmark)" ] || test_skip_all "needs the package redis-server"
test_is_root || test_skip_all "needs root: established TCP connections are restored with CAP_NET_ADMIN"
export redis_port=$((16000 + $$ % 1000))

real_setup() {
	cat >job.sh <<'END'
set -e
redis-server --port "$redis_port" --unixsocket "$PWD/redis.sock" --save '' --appendonly yes \
	--appendfsync no --dir "$PWD" >log 2>&1 &
until redis-cli -s redis.sock ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
redis-benchmark -q -p "$redis_port" -c 20 -n 200000 incr counter >tcp.out 2>&1 &
tcp=$!
redis-benchmark -q -s redis.sock -c 10 -n 100000 incr counter >unix.out 2>&1
wait $tcp
redis-cli -s redis.sock get counter
redis-cli -s redis.sock shutdown nosave || true
wait
END
}
real_command=(bash "$real_input/job.sh")
# shellcheck disable=SC2317 # is called
real_finish() {
	! grep -iE 'error|reset|refused' tcp.out unix.out && rm -rf log tcp.out unix.out appendonly* redis.sock
}

real_program Redis
test_done
