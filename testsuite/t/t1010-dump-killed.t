#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# chkpnt killed at any instant: the program goes on, and no file stands under the final name.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# Kill a checkpoint after so many microseconds; it may have ended before.
kill_after() { # MICROSECONDS IMAGE
	local pid status
	chkpnt -r -f "$2" "$SUBJECT_PID" 2>chkpnt.err 3>&- &
	pid=$!
	[ "$1" = 0 ] || sleep "$(printf '0.%06d' "$1")"
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	status=$?
	if [ "$status" = 0 ]; then
		rm -f "$2"*
		return
	fi
	if [ "$status" != 137 ]; then
		echo "chkpnt ended with status $status: $(cat chkpnt.err)"
		return 1
	fi
	# A root file that is there means a whole dump: it is renamed last.
	if [ -e "$2" ]; then
		stasis verify "$2" || return 1
		rm -f "$2"*
	fi
	wait_for subject_is_clean 10
}

survives_kills() { # SUBJECT STEP-MICROSECONDS [ARGUMENT]
	local before after i
	subject_start "$1" ${3:+"$3"} || return 1
	before=$(subject_footprint)
	for ((i = 0; i < 30; i++)); do
		kill_after $((i * $2)) "$SUBJECT_DIR/img" || {
			echo "killed after $((i * $2)) us"
			return 1
		}
	done
	wait_for 'after=$(subject_footprint); [ "$before" = "$after" ]' 5 || {
		printf 'before: %s\nafter:  %s\n' "$before" "$(subject_footprint)"
		return 1
	}
	chkpnt -r -F -f "$SUBJECT_DIR/img" "$SUBJECT_PID" && subject_verify
}

test_expect_success 'a computation survives' 'survives_kills registers 300'
test_kill_all 2>/dev/null
test_expect_success '200 threads survive' 'survives_kills futex-200 2000'
test_kill_all 2>/dev/null
test_expect_success 'a tree with much memory survives' 'survives_kills cow 1000'
test_kill_all 2>/dev/null
test_expect_success 'blocked system calls survive' 'survives_kills syscalls 700 eintr'
test_kill_all 2>/dev/null
test_expect_success 'restartable sequences survive' 'survives_kills rseq 300'
test_done
