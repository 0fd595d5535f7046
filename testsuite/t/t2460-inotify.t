#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# inotify instances.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

if test_is_root; then
	matrix inotify
else
	matrix inotify quiet
fi
matrix inotify pending

test_expect_success 'after a restart, IN_Q_OVERFLOW stands for what was queued' '
	subject_start inotify pending && matrix_chkpnt_kill img >err 2>&1 && cat err &&
	grep -q "events that wait in an inotify instance are not saved" err &&
	restart -W "$SUBJECT_DIR/img" </dev/null >/dev/null 3>&- && subject_verify &&
	[ -e "$SUBJECT_DIR/overflow" ]
'
test_kill_all 2>/dev/null
# stopped between two looks at the program
take_meanwhile() {
	STASIS_FAULT=stop:dump.patient chkpnt -r -K KILL -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err 3>&- &
	local pid=$!
	wait_for "grep -q \"^State:.T\" /proc/$pid/status" 20 && : >"$SUBJECT_DIR/take" &&
		wait_for "[ -e \"$SUBJECT_DIR/taken\" ]" 20 || return 1
	kill -CONT $pid
	wait $pid
}
if subject_start inotify later && STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
	test_skip "events taken meanwhile" "built without fault points"
else
	test_expect_success 'a checkpoint waits a moment for a program to take its events' '
		take_meanwhile && cat err && [ ! -s err ] && wait_for "[ -z \"\$(subject_pids)\" ]" 20 &&
		restart -W "$SUBJECT_DIR/img" </dev/null >/dev/null 3>&- && subject_verify
	'
fi
test_kill_all 2>/dev/null
test_expect_success 'a program that goes on finds its events' '
	subject_start inotify pending && matrix_chkpnt img 2>err && subject_verify &&
	[ ! -e "$SUBJECT_DIR/overflow" ]
'
test_kill_all 2>/dev/null

cat >gone.py <<"END"
import ctypes, os, struct, time
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
for name in (b"a", b"b", b"c"):
    open(name, "w").close()
    assert libc.inotify_add_watch(fd, name, 0x402) > 0 # IN_MODIFY | IN_DELETE_SELF
os.open("watching", os.O_CREAT)
seen = []
while len(seen) < 5:
    data = os.read(fd, 4096)
    while data:
        wd, mask, cookie, n = struct.unpack("iIII", data[:16])
        data = data[16 + n:]
        seen.append("%d:%x" % (wd, mask))
open("seen", "w").write(" ".join(seen))
END
test_expect_success 'files that are gone or one by now: the program sees them deleted' '
	python3 gone.py </dev/null 3>&- & job=$!
	wait_for "[ -e watching ]" 20 && chkpnt -K KILL -f img $job && wait_for "! kill -0 $job 2>/dev/null" 20 &&
	rm b && ln -f a c && restart -W img </dev/null >/dev/null 2>err 3>&- && cat err &&
	grep -q "b. cannot be watched any more (No such file" err &&
	grep -q "c. cannot be watched any more (File exists" err &&
	echo more >>a && wait_for "[ -s seen ]" 20 && cat seen &&
	[ "$(cat seen)" = "2:400 2:8000 3:400 3:8000 1:2" ]
'
test_expect_success 'tail -f goes on' '
	: >log
	tail -n 0 -f log </dev/null >shown 2>tail.err 3>&- & job=$!
	wait_for "grep -qs ^inotify /proc/$job/fdinfo/*" 20 && echo before >>log &&
	wait_for "[ -s shown ]" 20 && chkpnt -K KILL -f tailed $job && wait_for "! kill -0 $job 2>/dev/null" 20 &&
	restart -W tailed </dev/null >/dev/null 3>&- && echo after >>log &&
	wait_for "grep -q after shown" 20 && [ "$(cat shown)" = "$(printf "before\nafter")" ]
'
test_kill_all 2>/dev/null

if test_is_root && test_become_user && test_user_namespaces_work; then
	matrix inotify quiet
	matrix inotify pending
	# It may see other tests searching by then, and so be not content with itself.
	test_expect_success 'a folder in one that sees every look is refused by name to an ordinary user' '
		subject_start inotify &&
		test_expect_status 3 "${as_user[@]}" chkpnt -q -f none "$SUBJECT_PID" 2>err; cat err
		grep -q "no path found for the file of watch 8 (inode [0-9]*); checkpoint as root" err
	'
	test_kill_all 2>/dev/null
fi

test_done
