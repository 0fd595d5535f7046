#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Blocking system calls, one thread in each.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix syscalls

# On a machine with other work a restarted thread may be late on its way to its call.
nobody_wakes_early() {
	local i hogs=
	subject_start sleepers || return
	for i in 1 2 3 4; do
		(exec 3>&-; while :; do :; done) &
		hogs+=" $!"
	done
	for i in 1 2 3 4 5 6 7 8 9 10; do
		matrix_chkpnt_kill "gen$i" && timeout -k 5 60 restart -W "$SUBJECT_DIR/gen$i" </dev/null 3>&- || break
	done
	# shellcheck disable=SC2086
	kill $hogs
	[ "$i" = 10 ] && subject_verify
}
test_expect_success 'nobody who sleeps with a time-out wakes early' nobody_wakes_early
test_kill_all 2>/dev/null

test_done
