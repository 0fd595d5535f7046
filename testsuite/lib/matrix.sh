# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# One subject through every way of checkpointing it:
#
#	matrix SUBJECT [ARGUMENT...]
#
#	is not disturbed     checkpoint, goes on, checks itself
#	restarts             checkpoint and kill, restart in the foreground, checks itself, exit status 0
#	three generations    checkpoint, kill, restart -W; of what was restarted again; and again
#
# After test_become_user as an ordinary user. matrix_as_on_old_kernel: without what Linux 6.1 (Debian 12's)
# lacks, where fault points are compiled in.

matrix_seconds=${matrix_seconds:-30}

# Checkpoint the subject's tree: matrix_chkpnt NAME [OPTION...]
matrix_chkpnt() {
	local name=$1 root
	shift
	root=$(subject_root_pid) || return 1
	"${as_user[@]}" timeout -k 5 60 chkpnt -r "$@" -f "$SUBJECT_DIR/$name" "$root" </dev/null || {
		echo "chkpnt -r $* -f $name $root: status $?"
		return 1
	}
	[ -f "$SUBJECT_DIR/$name" ] || {
		echo "there is no image '$name'"
		return 1
	}
}

matrix_chkpnt_kill() {
	matrix_chkpnt "$1" -K KILL || return 1
	wait_for '[ -z "$(subject_pids)" ]' 10 && subject_pid_is_free
}

# Restart the image "img" in the background: the subject must be content.
restart_and_verify() { # OPTION...
	timeout -k 5 60 restart -W "$@" "$SUBJECT_DIR/img" </dev/null >restart.out 2>&1 3>&- || {
		cat restart.out
		return 1
	}
	subject_verify "$matrix_seconds"
}

# restart fails with these words, and changes nothing.
restart_refuses() { # WORDS
	timeout -k 5 60 restart -W "$SUBJECT_DIR/img" </dev/null >restart.out 2>&1 3>&- && return 1
	cat restart.out
	grep -q "$1" restart.out && [ -z "$(subject_pids)" ]
}

matrix_is_not_disturbed() {
	local before after
	subject_start "$@" || return 1
	before=$(subject_footprint)
	matrix_chkpnt img || return 1
	after=$(subject_footprint)
	if [ "$before" != "$after" ]; then
		printf 'before: %s\nafter:  %s\n' "$before" "$after"
		return 1
	fi
	subject_is_clean && subject_verify "$matrix_seconds" && wait_for '! kill -0 $SUBJECT_PID 2>/dev/null' &&
		wait "$SUBJECT_PID"
}

matrix_restarts() {
	local status restart_pid
	subject_start "$@" && matrix_chkpnt_kill img || return 1
	"${as_user[@]}" timeout -k 5 120 restart "$SUBJECT_DIR/img" </dev/null 3>&- &
	restart_pid=$!
	wait_for '[ -n "$(subject_pids)" ] || ! kill -0 '$restart_pid' 2>/dev/null' 20 || return 1
	subject_verify "$matrix_seconds" || return 1
	wait "$restart_pid"
	status=$?
	[ "$status" = 0 ] && return
	echo "restart ended with status $status"
	return 1
}

matrix_generations() {
	local g
	subject_start "$@" || return 1
	for g in 1 2 3; do
		matrix_chkpnt_kill "gen$g" || return 1
		"${as_user[@]}" timeout -k 5 60 restart -W "$SUBJECT_DIR/gen$g" </dev/null >restart.out 2>&1 3>&- || {
			echo "restart -W gen$g: status $?: $(cat restart.out)"
			return 1
		}
	done
	subject_verify "$matrix_seconds"
}

matrix_as_on_old_kernel() {
	local matrix_where='with the means of an old kernel'
	local -x STASIS_FAULT=fail:session.old-kernel
	matrix "$@"
}

matrix() {
	local who=${matrix_where:+ $matrix_where}
	test_expect_success "$1$who is not disturbed by a checkpoint" 'matrix_is_not_disturbed '"$(printf '%q ' "$@")"
	test_kill_all 2>/dev/null
	test_expect_success "$1$who restarts" 'matrix_restarts '"$(printf '%q ' "$@")"
	test_kill_all 2>/dev/null
	test_expect_success "$1$who lives through three generations" 'matrix_generations '"$(printf '%q ' "$@")"
	test_kill_all 2>/dev/null
}
