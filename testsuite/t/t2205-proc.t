#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Descriptors of files of /proc that tell of a process, and of namespaces.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix procfile

cat >hold.py <<"END"
import os, sys, time
os.open(sys.argv[1], os.O_RDONLY)
os.open(sys.argv[2], os.O_CREAT)
time.sleep(100)
END
hold() { # PATH
	rm -f held
	python3 hold.py "$1" held </dev/null 3>&- & job=$!
	wait_for "[ -e held ]" 20
}

test_expect_success 'a file of a process outside is refused by name' '
	hold /proc/$$/status && test_expect_status 3 chkpnt -q -f img $job 2>err; cat err
	grep -q "fd [0-9]*: ./proc/$$/status. tells of a process outside of the tree, or of a thread; close" err &&
	[ ! -e img ]
'
test_kill_all 2>/dev/null
test_expect_success 'a file whose process is gone is refused by name' '
	sleep 100 & stranger=$!
	hold /proc/$stranger/stat && kill $stranger && wait_for "! [ -e /proc/$stranger ]" 20
	test_expect_status 3 chkpnt -q -f img $job 2>err; cat err
	grep -q "fd [0-9]*: ./proc/$stranger/stat[^.]* tells of a process outside of the tree" err && [ ! -e img ]
'
test_kill_all 2>/dev/null
test_expect_success 'a process of which another one holds a file is missing at the restart' '
	rm -f held
	sh -c "exec 7</proc/\$\$/stat; $(command -v python3) hold.py /dev/null held; exit 3" </dev/null 3>&- & job=$!
	wait_for "[ -e held ]" 20 && chkpnt -r -f tree -K KILL $job && wait_for "! kill -0 $job 2>/dev/null" 20 &&
	child=$(ls tree.* | awk "length > length(last) { last = \$0 } END { print last }") && test_expect_status 1 restart -W "$child" 2>err; cat err
	grep -q "./proc/$job/stat.: that process is not restarted" err
'
test_kill_all 2>/dev/null

if test_is_root && unshare -n true 2>/dev/null; then
	test_expect_success 'a namespace that no process of the tree is in is refused by name' '
		unshare -n sleep 100 & stranger=$!
		wait_for "! [ /proc/$stranger/ns/net -ef /proc/$$/ns/net ]" 20 && hold /proc/$stranger/ns/net &&
		test_expect_status 3 chkpnt -q -f img $job 2>err; cat err
		grep -q "namespace .net:.[0-9]*... which no process of the tree is in" err
	'
	test_kill_all 2>/dev/null
	test_expect_success 'a namespace with a name is opened by it' '
		: >netns && unshare --net=netns true && hold netns && chkpnt -f named -K KILL $job &&
		wait_for "! kill -0 $job 2>/dev/null" 20 && restart -W named </dev/null >/dev/null 3>&- &&
		[ "$(stat -L -c %d:%i /proc/$job/fd/3)" = "$(stat -c %d:%i netns)" ] &&
		kill $job && wait_for "! kill -0 $job 2>/dev/null" 20 && umount netns &&
		test_expect_status 1 restart -W named 2>err; cat err; grep -q "is no namespace any more" err
	'
	test_kill_all 2>/dev/null
fi

if test_is_root && test_become_user && test_user_namespaces_work; then
	matrix procfile
fi

test_done
