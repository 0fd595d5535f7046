#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Locks with somebody outside: who takes one between checkpoint and restart, for whom the program waits, and
# with whom it shares a description.
TEST_LIMIT=400
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# Somebody else locks a file of the subject: taker KIND FILE; sets taker_pid.
taker() {
	rm -f "$2.taken"
	(exec 3>&- && exec "${as_user[@]}" "$test_subjects/lock-taker" "$1" "$2") &
	taker_pid=$!
	wait_for '[ -e "'"$2"'.taken" ]'
}

taker_leaves() {
	kill -KILL "$taker_pid" && ! wait "$taker_pid"
}

# The restart is refused with one line that has all the words given; nothing is left of it.
refused() {
	local word begin=$SECONDS
	"${as_user[@]}" timeout -k 5 90 restart -W "$SUBJECT_DIR/img" >out 2>err </dev/null 3>&-
	local status=$?
	cat out err
	[ $status = 1 ] && [ -z "$(subject_pids)" ] && [ "$(wc -l <err)" = 1 ] || return
	[ $((SECONDS - begin)) -ge 8 ] || return # it was waited for
	grep -qF "held by lock-taker($taker_pid)" err || grep -q "open elsewhere" err || return
	for word; do
		grep -qF -- "$word" err || { echo "no word of '$word'"; return 1; }
	done
}

restarts() {
	"${as_user[@]}" timeout -k 5 90 restart -W "$SUBJECT_DIR/img" </dev/null && subject_verify
}

lock_is_taken() { # SUBJECT KIND FILE WORD...
	local subject=$1 kind=$2 file=$3
	shift 3
	subject_start "$subject" && matrix_chkpnt_kill img && taker "$kind" "$SUBJECT_DIR/$file" &&
		refused "$SUBJECT_DIR/$file" "$@" && taker_leaves && restarts
}

test_expect_success 'who lets go in time is waited for' '
	subject_start flock && matrix_chkpnt_kill img && taker flock "$SUBJECT_DIR/exclusive" || return 1
	(sleep 1; kill -KILL $taker_pid) &
	restarts
'
test_kill_all 2>/dev/null
test_expect_success 'restart -F goes on without the lock, and says so' '
	subject_start posix-locks && matrix_chkpnt_kill img && taker posix "$SUBJECT_DIR/many" &&
	"${as_user[@]}" timeout -k 5 90 restart -F -W "$SUBJECT_DIR/img" 2>err; s=$?; head -3 err; [ $s = 0 ] &&
	grep -q "many.: write lock of bytes 0 to 4 is held by lock-taker.*goes on without" err &&
	[ -n "$(subject_pids)" ] && ! subject_verify
'
test_kill_all 2>/dev/null
test_expect_success 'files that somebody has locked are not cut back' '
	subject_start posix-locks && matrix_chkpnt_kill img && echo more >>"$SUBJECT_DIR/many" &&
	size=$(stat -c %s "$SUBJECT_DIR/many") && taker flock "$SUBJECT_DIR/many" &&
	! "${as_user[@]}" restart -W --rollback-files "$SUBJECT_DIR/img" 2>err; s=$?; cat err; [ $s = 0 ] &&
	grep -q "many.: exclusive flock is held by lock-taker" err &&
	[ "$(stat -c %s "$SUBJECT_DIR/many")" = "$size" ] && taker_leaves &&
	"${as_user[@]}" restart -W --rollback-files "$SUBJECT_DIR/img" && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'a flock taken by somebody else: refused, names him, nothing is lost' '
	lock_is_taken flock flock exclusive "exclusive flock is held by lock-taker("
'
test_kill_all 2>/dev/null
test_expect_success 'a POSIX lock taken by somebody else' '
	lock_is_taken posix-locks posix many "read lock of bytes 10 to 14 is held by lock-taker("
'
test_kill_all 2>/dev/null
test_expect_success 'an OFD lock taken by somebody else' '
	lock_is_taken ofd-locks ofd file "write lock of bytes 0 to 9 is held by lock-taker("
'
test_kill_all 2>/dev/null
test_expect_success 'a POSIX lock where an OFD lock was' '
	lock_is_taken ofd-locks posix flown "write lock of byte 5 is held by lock-taker("
'
test_kill_all 2>/dev/null
test_expect_success 'a file with a lease is open elsewhere' '
	lock_is_taken lease open read "read lease: the file is open elsewhere"
'
test_kill_all 2>/dev/null

# Between the look at a lock and its being taken; needs --enable-fault-points.
stopped_child() {
	local p
	for p in $(pgrep -P "$restart_pid"); do
		grep -q "^State:.T" "/proc/$p/status" && builder=$p && return
	done
	return 1
}
has_fault_points() {
	! STASIS_FAULT=fail:restore.opened restart -W "$SUBJECT_DIR/img" 2>err 3>&- &&
		grep -q "fault point" err
}
test_expect_success 'set-up: an image' 'subject_start posix-locks && matrix_chkpnt_kill img'
if has_fault_points; then
	test_expect_success 'a POSIX lock taken in the last moment: refused as well' '
		{ STASIS_FAULT=stop:restore.opened restart -W "$SUBJECT_DIR/img" 2>err </dev/null 3>&- & } &&
		restart_pid=$! && wait_for stopped_child && taker posix "$SUBJECT_DIR/many" &&
		kill -CONT "$builder" && ! wait "$restart_pid"; s=$?; cat err; [ $s = 0 ] && [ "$(wc -l <err)" = 1 ] &&
		grep -q "many.: .* lock of bytes [0-9]* to [0-9]* was just taken by somebody else" err &&
		[ -z "$(subject_pids)" ] && taker_leaves && restarts
	'
fi
test_kill_all 2>/dev/null

# ---- an ordinary user's restart, which is in a pid namespace, names who is outside of it
if test_is_root; then
	test_become_user
	if test_user_namespaces_work; then
		test_expect_success 'an ordinary user: a flock taken by somebody else' '
			lock_is_taken flock flock exclusive "exclusive flock is held by lock-taker("
		'
		test_kill_all 2>/dev/null
		test_expect_success 'an ordinary user: a POSIX lock taken by somebody else' '
			lock_is_taken posix-locks posix many "read lock of bytes 10 to 14 is held by lock-taker("
		'
		test_kill_all 2>/dev/null
	fi
fi
test_done
