#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Threads and processes that share or have what no image can hold: refused by name, with the way out.
. "$(dirname "$0")/../lib/test-lib.sh"

refused() { # ARGUMENT TEXT
	subject_start odd-tasks "$1" || return 1
	test_expect_status 3 stasis check -r "$SUBJECT_PID" >report 2>&1; cat report
	grep -q "$2" report || return 1
	test_expect_status 3 chkpnt -q -r -f img "$SUBJECT_PID" 2>err; cat err
	grep -q "$2" err && [ ! -e img ] && subject_is_clean && subject_verify
}

test_expect_success 'a thread with a descriptor table of its own' '
	refused thread-table "thread [0-9]* has a descriptor table of its own .*; create it with CLONE_FILES"
'
test_kill_all 2>/dev/null
test_expect_success 'a child with the descriptor table of its parent' '
	refused shared-table "shares its descriptor table with process [0-9]* .*; wait until"
'
test_kill_all 2>/dev/null
if subject_start odd-tasks uring >/dev/null && [ -e "$SUBJECT_DIR/none" ]; then
	test_skip "io_uring" "switched off here"
else
	test_expect_success 'io_uring, as descriptor and as mapping' '
		test_kill_all 2>/dev/null
		refused uring "ring of io_uring" &&
		grep -q "io_uring is not supported: its rings cannot be put back .*UV_USE_IO_URING=0" report
	'
fi
test_kill_all 2>/dev/null
if [ "$(printf "6.4\n%s\n" "$(uname -r)" | sort -V | head -1)" != 6.4 ]; then
	test_skip "syscall user dispatch" "cannot be seen from outside before Linux 6.4"
else
	test_expect_success 'syscall user dispatch' '
		refused dispatch "thread [0-9]* uses syscall user dispatch, .*; turn it off"
	'
fi
test_done
