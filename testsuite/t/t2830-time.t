#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Clocks that count since the machine's start, and restart --keep-monotonic.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

[ -e /proc/self/timens_offsets ] || test_skip_all "the kernel has no time namespaces"

# The time between is what counts: at least this long, in seconds.
gap=2

# restart_kept NAME [OPTION...]: after the gap
restart_kept() {
	local name=$1
	shift
	sleep $gap
	"${as_user[@]}" timeout -k 5 60 restart -W "$@" "$SUBJECT_DIR/$name" </dev/null 3>&-
}

clocks_are_kept() {
	subject_start clocks $gap && matrix_chkpnt_kill img && restart_kept img --keep-monotonic &&
		subject_verify
}

# The namespace is made again without being asked for.
clocks_are_kept_again() {
	subject_start clocks $((3 * gap)) &&
		matrix_chkpnt_kill gen1 && restart_kept gen1 --keep-monotonic &&
		matrix_chkpnt_kill gen2 && restart_kept gen2 &&
		matrix_chkpnt_kill gen3 && restart_kept gen3 &&
		subject_verify
}

used_seconds_are_shown() {
	subject_start task-extras && matrix_chkpnt img && stasis show --json "$SUBJECT_DIR/img" >shown &&
		python3 -c 'import json, sys
root = json.load(open("shown"))["processes"][0]
sys.exit(not 1 <= root["user_seconds"] + root["system_seconds"] < 60)'
}

matrix clocks
[ -n "$(test_missing_programs python3)" ] ||
	test_expect_success 'stasis show tells the processor time used' used_seconds_are_shown
test_kill_all 2>/dev/null
test_expect_success '--keep-monotonic: clocks go on from the checkpoint' clocks_are_kept
test_kill_all 2>/dev/null
test_expect_success 'three generations in time namespaces' clocks_are_kept_again
test_kill_all 2>/dev/null

if test_is_root; then
	test_become_user
	if test_user_namespaces_work; then
		test_expect_success 'the same as an ordinary user' clocks_are_kept
		test_kill_all 2>/dev/null
		test_expect_success 'three generations as an ordinary user' clocks_are_kept_again
		test_kill_all 2>/dev/null
	fi
fi

test_done
