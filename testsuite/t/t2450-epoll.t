#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Epoll instances and what is waited for with them: timerfds, signalfds, pidfds.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix timerfd
matrix signalfd
matrix epoll
matrix pidfd

test_expect_success 'a pidfd of a process outside is refused by name' '
	sleep 60 & outside=$!
	python3 -c "import os, sys, time
fd = os.pidfd_open(int(sys.argv[1]))
open(\"status\", \"w\").write(\"ready\")
time.sleep(60)" $outside </dev/null 3>&- & job=$!
	wait_for "[ -s status ]" 10 && test_expect_status 3 chkpnt -q -f img $job 2>err && cat err &&
	grep -q "fd [0-9]*: pidfd of process $outside, which is outside" err && [ ! -e img ]
'
cat >watch.py <<"END"
import os, select, socket, time
a, b = socket.socketpair()
e = select.epoll()
r, w = os.pipe()
keep = os.dup(r)
e.register(r, select.EPOLLIN)
socket.send_fds(a, [b"x"], [keep])
os.close(keep)
os.close(r)
open("watching", "w").write("ready")
time.sleep(60)
END
test_expect_success 'an epoll instance that watches what nobody has open is refused by name' '
	python3 watch.py </dev/null 3>&- & job=$!
	wait_for "[ -s watching ]" 10 && test_expect_status 3 chkpnt -q -f img $job 2>err; cat err
	grep -q "epoll instance watches a file under the number" err && [ ! -e img ]
'
test_done
