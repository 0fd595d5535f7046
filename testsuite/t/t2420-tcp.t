#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TCP sockets without a connection; a port that is in use at the restart.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix tcp-listen

# Holds the port that the subject's listener had.
hold_port() {
	python3 -c '
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
open("held", "w").close()
time.sleep(600)' "$1" 3>&- &
	holder=$!
	wait_for '[ -e held ]'
}

test_expect_success 'a port in use at the restart is refused by name, before anything is changed' '
	subject_start tcp-listen &&
	port=$(ss -Hltnp | sed -n "s/.*127.0.0.1:\([0-9]*\).*pid=$SUBJECT_PID,.*/\1/p" | head -1) &&
	matrix_chkpnt_kill img && hold_port "$port" &&
	test_expect_status 1 restart -W "$SUBJECT_DIR/img" 2>err &&
	grep -F "address 127.0.0.1:$port is in use" err &&
	[ -z "$(subject_pids)" ]
'
test_expect_success 'and the restart succeeds when it is free' '
	kill "$holder" && { wait "$holder"; true; } &&
	restart -W "$SUBJECT_DIR/img" && subject_verify
'
test_kill_all

test_done
