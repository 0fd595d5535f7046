#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TCP connections to a server that is not in the tree.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "keeping connections takes CAP_NET_ADMIN"
[ -n "$(ldconfig -p | grep libnftables.so.1)" ] || test_skip_all "no libnftables here"
[ -z "$(test_missing_programs nft)" ] && nft list tables >/dev/null 2>&1 || test_skip_all "nftables may not be used here"

# Sends back what it gets, over each connection until its end; `start_server deaf` reads nothing. When it
# is killed, its connections are gone at once (SO_LINGER). Without our mark: what cleans up between tests is to leave it alone.
start_server() {
	rm -f port
	env -u STASIS_TEST_MARK python3 -c '
import os, socket, struct, sys, threading, time
def linger(s, on):
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, 0))
def serve(s):
	linger(s, 1)
	try:
		while sys.argv[1:] == ["deaf"]:
			time.sleep(1000)
		while True:
			data = s.recv(65536)
			if not data:
				break
			s.sendall(data)
		s.shutdown(socket.SHUT_WR)
	except OSError:
		os._exit(1)
	linger(s, 0)
	s.close()
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("127.0.0.1", 0))
l.listen()
open(".port", "w").write(str(l.getsockname()[1]))
os.rename(".port", "port")
while True:
	threading.Thread(target=serve, args=(l.accept()[0],)).start()' "$@" 3>&- &
	server=$!
	wait_for '[ -e port ]'
}

stop_server() {
	kill -KILL "$server"
	wait "$server" 2>/dev/null
	true
}

# Other tests have tables too: those that name our server's port.
is_blocked() {
	nft list ruleset | grep -F " . $(cat port) . "
}

no_table_is_left() {
	! is_blocked
}

test_expect_success 'a server outside' 'start_server'
matrix tcp-client "$(cat port)"
test_expect_success 'no table of nftables is left, and the server has seen no error' '
	no_table_is_left && kill -0 "$server"
'
matrix tcp-client "$(cat port)" eof

test_expect_success 'between checkpoint and restart a table drops the packets' '
	subject_start tcp-client "$(cat port)" && matrix_chkpnt_kill img &&
	is_blocked && kill -0 "$server"
'
test_expect_success 'the server is killed meanwhile: the program gets ECONNRESET, and the table goes' '
	stop_server && restart -W "$SUBJECT_DIR/img" && no_table_is_left &&
	: >"$SUBJECT_DIR/go" && wait_for "[ -e \"\$SUBJECT_DIR/verdict\" ]" &&
	grep "errno $(python3 -c "import errno; print(errno.ECONNRESET)")" "$SUBJECT_DIR/verdict"
'
test_kill_all 2>/dev/null

test_expect_success 'and so does who had bytes that were not sent yet' '
	start_server deaf && subject_start tcp-client "$(cat port)" unsent && matrix_chkpnt_kill img &&
	stop_server && restart -W "$SUBJECT_DIR/img" && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'who waits for a byte of a server that was killed meanwhile gets ECONNRESET too' '
	start_server && subject_start tcp-client "$(cat port)" gone && matrix_chkpnt_kill img &&
	stop_server && restart -W "$SUBJECT_DIR/img" && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'from an image of a program that went on, a connection is over' '
	start_server && subject_start tcp-client "$(cat port)" gone && matrix_chkpnt img &&
	no_table_is_left && subject_kill && kill -0 "$server" &&
	restart -W "$SUBJECT_DIR/img" 2>err && grep "is over: the program gets ECONNRESET" err && subject_verify
'
test_kill_all 2>/dev/null
stop_server

test_done
