#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Netlink, raw and packet sockets.
TEST_LIMIT=300

# Root has a network of its own: what others send does not come in, and everybody may ping.
if [ "$(id -u)" = 0 ] && [ -z "$TEST_INNER$TEST_NETWORK" ] && unshare -n true 2>/dev/null; then
	TEST_NETWORK=1 exec unshare -n bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

if [ -n "$TEST_NETWORK" ]; then
	ip link set lo up && echo "0 2147483647" >/proc/sys/net/ipv4/ping_group_range
fi

may() { # PYTHON EXPRESSION
	"${as_user[@]}" "$(command -v python3)" -c "import socket; $1" 2>/dev/null
}

matrix netlink
test_expect_success 'a netlink socket with an unread answer is refused, and forced loses it' '
	subject_start netlink unread &&
	test_expect_status 3 chkpnt -q -f img "$SUBJECT_PID" 2>err && cat err && [ ! -e img ] &&
	grep -q "fd [0-9]*: netlink socket with unread messages" err &&
	chkpnt -q -F -f img "$SUBJECT_PID" 2>err && cat err && subject_verify
'
test_kill_all 2>/dev/null

if may "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"; then
	matrix raw
else
	test_skip "raw" "no raw sockets here"
fi
if may "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"; then
	matrix packet
	cat >ring.py <<"END"
import os, socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.setsockopt(263, 5, struct.pack("IIII", 4096, 1, 2048, 2)) # PACKET_RX_RING
os.open("ring", os.O_CREAT)
time.sleep(100)
END
	test_expect_success 'a packet socket with a ring is refused by name' '
		python3 ring.py </dev/null 3>&- & job=$!
		wait_for "[ -e ring ]" 20 && test_expect_status 3 chkpnt -q -f img2 $job 2>err; cat err
		grep -q "fd [0-9]*: packet socket with a ring" err
	'
	test_kill_all 2>/dev/null
else
	test_skip "packet" "no packet sockets here"
fi
if may "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)"; then
	matrix raw ping
else
	test_skip "ping" "net.ipv4.ping_group_range allows nobody"
fi

if test_is_root && test_become_user && test_user_namespaces_work; then
	matrix netlink
	[ -z "$TEST_NETWORK" ] || matrix raw ping
fi
test_done
