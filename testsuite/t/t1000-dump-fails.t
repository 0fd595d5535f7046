#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A checkpoint that fails says why, leaves nothing under a final name and the program running.
TEST_LIMIT=180
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# A failed checkpoint of the running subject: status, words in the message, no file left in DIR.
fails_cleanly() { # STATUS WORD DIR COMMAND...
	local want=$1 word=$2 dir=$3
	shift 3
	test_expect_status "$want" "$@" 2>err || {
		cat err
		return 1
	}
	cat err
	[ "$(wc -l <err)" = 1 ] || {
		echo "the message is not one line"
		return 1
	}
	grep -qiE "$word" err || {
		echo "the message does not say '$word'"
		return 1
	}
	[ ! -d "$dir" ] || [ -z "$(ls -A "$dir")" ] || {
		echo "left in $dir:" && ls -lA "$dir"
		return 1
	}
	subject_is_clean
}

test_expect_success 'set-up' 'subject_start cow && mkdir empty'

test_expect_success 'a process that is not there' '
	fails_cleanly 1 "no such process|not exist|process" empty chkpnt -d empty 4194000
'
test_expect_success 'a pid that is no number' '
	test_expect_status 2 chkpnt -d empty 12x34 2>err && [ -s err ]
'
test_expect_success 'no pid at all' '
	test_expect_status 2 chkpnt 2>err && [ -s err ]
'
test_expect_success 'a folder that is not there' '
	fails_cleanly 1 "no-such-folder" empty chkpnt -r -d no-such-folder $SUBJECT_PID
'
test_expect_success 'a name that is too long' '
	fails_cleanly 2 "max" empty chkpnt -r -f "empty/$(printf "%0300d" 1)" $SUBJECT_PID
'
test_expect_success 'a name that is a folder' '
	mkdir -p here/img &&
	test_expect_status 1 chkpnt -r -f here/img $SUBJECT_PID 2>err; cat err; [ -s err ] &&
	[ -z "$(find here -type f)" ] && subject_is_clean
'
test_expect_success 'an existing file is kept without -F' '
	mkdir old && echo precious >old/img &&
	test_expect_status 1 chkpnt -r -f old/img $SUBJECT_PID 2>err; cat err; [ -s err ] &&
	[ "$(cat old/img)" = precious ] && [ "$(ls -A old)" = img ] && subject_is_clean
'
test_expect_success 'and replaced with -F' '
	chkpnt -r -F -f old/img $SUBJECT_PID && [ "$(head -c 4 old/img | tail -c 3)" = ELF ]
'
test_expect_success '-n writes nothing' '
	chkpnt -r -n -d empty $SUBJECT_PID && [ -z "$(ls -A empty)" ] && subject_is_clean
'
test_expect_success 'more than the limit of file sizes allows' '
	fails_cleanly 1 "too large" empty prlimit --fsize=4096 chkpnt -r -f empty/img $SUBJECT_PID
'
mkdir mnt
if test_is_root && mount -t tmpfs -o size=1m none mnt 2>/dev/null; then
	test_expect_success 'a full disk' '
		fails_cleanly 1 "space" mnt chkpnt -r -f mnt/img $SUBJECT_PID
	'
	mount -o remount,ro mnt
	test_expect_success 'a read-only file system' '
		fails_cleanly "1" "read-only" mnt chkpnt -r -f mnt/img $SUBJECT_PID
	'
	umount mnt
else
	test_skip 'a full disk' 'cannot mount a tmpfs'
	test_skip 'a read-only file system' 'cannot mount a tmpfs'
fi

test_expect_success 'a process that is already traced' '
	gdb -batch -p $SUBJECT_PID -ex "shell touch attached; sleep 2" >gdb.log 2>&1 & gdb=$!
	wait_for "[ -e attached ]" &&
	test_expect_status 4 chkpnt -f empty/img $SUBJECT_PID 2>err; s=$?; cat err; wait $gdb;
	[ $s = 0 ] && grep -q gdb err && [ -z "$(ls -A empty)" ]
'
test_expect_success 'after all this the program is right' 'subject_verify'

test_expect_success "a limit of the program's own for file sizes is none for its checkpoint" '
	subject_wrap="prlimit --fsize=4096" && subject_start chain && subject_wrap= &&
	chkpnt -f "$SUBJECT_DIR/img" "$SUBJECT_PID" && subject_is_clean && matrix_chkpnt_kill img2 &&
	restart -W "$SUBJECT_DIR/img2" && subject_verify
'

if test_is_root; then
	test_expect_success 'the process of another user is refused' '
		subject_start chain && mkdir -m 777 theirs &&
		(as_user=(setpriv --reuid=$test_uid --regid=$test_uid --clear-groups --)
		 cp "$(command -v chkpnt)" theirs/ && chmod 755 theirs/chkpnt &&
		 test_expect_status 4 "${as_user[@]}" theirs/chkpnt -f theirs/img $SUBJECT_PID 2>err); s=$?
		cat err; [ $s = 0 ] && [ ! -e theirs/img ] && subject_is_clean && subject_verify
	'
fi
test_done
