#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A checkpoint and a restart are made to fail, and are killed, at each of their named points.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

dump_points="dump.planned dump.before-inject dump.injected dump.task-written dump.all-written
	dump.before-commit"
restore_points="restore.opened restore.task restore.ready restore.stopped"

probe() {
	subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null
}
probe || test_skip_all "built without --enable-fault-points"
test_kill_all 2>/dev/null

no_image() {
	local found
	found=$(cd "$SUBJECT_DIR" && ls -d img* 2>/dev/null)
	[ -z "$found" ] || { echo "there is: $found"; return 1; }
}

dump_survives() { # HOW:NAME STATUS
	local before
	subject_start threads && before=$(subject_footprint) || return 1
	STASIS_FAULT=$1 test_expect_status "$2" chkpnt -r -K KILL -f "$SUBJECT_DIR/img" "$SUBJECT_PID" || return 1
	no_image && wait_for '[ "$(subject_footprint)" = "'"$before"'" ]' 10 || {
		printf 'before: %s\nafter: %s\n' "$before" "$(subject_footprint)"
		return 1
	}
	[ "$2" = 137 ] || [ -z "$(ls -A "$SUBJECT_DIR" | grep draft)" ] || return 1
	subject_verify 30
}

for point in $dump_points; do
	test_expect_success "a dump that fails at $point leaves the program as it was" "dump_survives fail:$point 1"
	test_kill_all 2>/dev/null
	test_expect_success "a dump killed at $point leaves the program running" "dump_survives kill:$point 137"
	test_kill_all 2>/dev/null
done

restart_leaves_nothing() { # HOW:NAME
	subject_start mem-shared && matrix_chkpnt_kill img || return 1
	! STASIS_FAULT=$1 restart -W "$SUBJECT_DIR/img" >out 2>err 3>&- || return 1
	cat err
	[ "$(wc -l <err)" = 1 ] || return 1
	wait_for '[ -z "$(subject_pids)" ]' 10 || return 1
	restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify 30
}

# The command itself is killed, which nobody can catch: what there is of the tree goes with it.
head_killed_leaves_nothing() { # NAME SUBJECT
	subject_start "$2" && matrix_chkpnt_kill img || return 1
	STASIS_FAULT=head:$1 test_expect_status 137 restart -W "$SUBJECT_DIR/img" >out 2>err 3>&- || return 1
	# a process that is being made has our image on its command line until it gets its memory
	wait_for '[ -z "$(subject_pids)" ] && ! grep -qsaF "$SUBJECT_DIR/img" /proc/[0-9]*/cmdline' 10 || {
		subject_where
		return 1
	}
	subject_pid_is_free && restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify 30
}

for point in restore.opened restore.ready restore.stopped; do
	for subject in sessions creds dead-leader; do
		test_expect_success "restart killed at $point leaves nothing of $subject" \
			"head_killed_leaves_nothing $point $subject"
		test_kill_all 2>/dev/null
	done
done

for point in $restore_points; do
	test_expect_success "a restart that fails at $point leaves nothing, the next one works" \
		"restart_leaves_nothing fail:$point"
	test_kill_all 2>/dev/null
	test_expect_success "a restart killed at $point leaves nothing, the next one works" \
		"restart_leaves_nothing kill:$point"
	test_kill_all 2>/dev/null
done
test_done
