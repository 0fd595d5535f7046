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

# A server with a client, itself, that it accepts when told.
start_server() {
	rm -f ready accept accepted
	(exec 3>&- && exec setsid /usr/bin/python3 -c '
import os, socket, time
l = socket.socket()
l.bind(("127.0.0.1", 0))
l.listen()
c = socket.socket()
c.connect(l.getsockname())
open("ready", "w").close()
while not os.path.exists("accept"):
	time.sleep(0.01)
a = l.accept()
open("accepted", "w").close()
time.sleep(600)' >out 2>&1 </dev/null) &
	server=$!
	wait_for '[ -e ready ]'
}

# chkpnt stands still between two looks, and the server accepts meanwhile.
if start_server && STASIS_FAULT=fail:dump.planned chkpnt -f probe "$server" 2>/dev/null; then
	test_skip 'a connection that is about to be accepted is waited for' 'no fault points'
else
	test_expect_success 'a connection that is about to be accepted is waited for' '
		{ STASIS_FAULT=stop:dump.patient chkpnt -f img "$server" </dev/null 2>err 3>&- & c=$!; } &&
		wait_for "grep -q \"^State:.T\" /proc/$c/status" && : >accept && wait_for "[ -e accepted ]" &&
		kill -CONT $c && { wait $c; s=$?; cat err; [ $s = 0 ]; } && ! grep -q accepted err && [ -s img ]
	'
fi
test_kill_all 2>/dev/null

test_done
