# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A real program, checkpointed at random moments of its run, killed each time, restarted each time, must
# end with the very result of an uninterrupted run. A test defines what it needs of
#
#	real_setup	makes inputs in $real_input (the current folder)
#	real_command	array: the program and its arguments. It runs in a folder that has the same path
#			in every run; its stdout and stderr become files there.
#	real_finish	turns what the run left in the folder (the current one) into what is to be
#			compared: exports a database, removes logs that contain times
#	real_owner	uid that real_command runs as, when it does not run as ourselves
#
# and calls real_program TITLE, and perhaps real_program_as_user TITLE after it. All files of the folder are compared byte for byte.
#
# Moments are fractions of the processor time of the uninterrupted run (or of the length of its
# $real_progress, a file of the folder that grows evenly), one in each fifth of it, drawn with a seed that
# is printed; REAL_SEED=N repeats them. Generations are chained: what was restarted is
# checkpointed next.

# shellcheck source=testsuite/lib/test-lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/test-lib.sh"

real_seed=${REAL_SEED:-$((RANDOM * 32768 + RANDOM))}
real_nr_moments=5
real_session=$top_builddir/testsuite/real/session
real_programs=$top_builddir/testsuite/real
real_input=$test_scratch/input
real_work=$test_scratch/work
real_images=$test_scratch/images
real_limit=${REAL_LIMIT:-120} # seconds for whatever we wait for
real_command=(false)
real_progress=
real_owner= # uid that the folder of the run belongs to, when real_command runs as somebody else
export real_input
real_setup() { :; }
real_finish() { :; }

real_say() {
	echo "# $*" >&3
}

real_complain() {
	echo "$*"
	return 1
}

# Whoever runs the tests may have left descriptors open that lead out of the tree.
real_close_inherited() {
	local fd
	for fd in /proc/"$BASHPID"/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
}

# Start the program in a new folder as leader of a session of its own: sets real_pid.
real_start() {
	rm -rf "$real_work"
	mkdir "$real_work"
	[ -z "$real_owner" ] || chown "$real_owner" "$real_work"
	(
		cd "$real_work" || exit
		real_close_inherited
		# shellcheck disable=SC2016
		exec setsid "${as_user[@]}" sh -c 'exec "$@" >stdout 2>stderr </dev/null' sh "${real_command[@]}" 3>&-
	) &
	real_pid=$!
	wait_for '! real_is_gone' 10
}

real_is_gone() {
	[ -z "$("$real_session" list "$real_pid")" ]
}

# The folder that a run left becomes $1, ready for comparison.
real_keep() {
	(cd "$real_work" && real_finish) || real_complain "the run left something unexpected" || return
	rm -rf "${test_scratch:?}/$1"
	mv "$real_work" "$test_scratch/$1"
}

# Run it uninterrupted: sets real_total, in ms or bytes.
real_measure() {
	local TIMEFORMAT='%3R %3U %3S' wall user sys
	{ time { real_start && wait "$real_pid"; }; } 2>"$test_scratch/times" || {
		tail -n 20 "$real_work/stderr"
		real_complain "uninterrupted, it ends with an error"
		return
	}
	read -r wall user sys <"$test_scratch/times"
	real_total=$((10#${user/./} + 10#${sys/./}))
	real_say "uninterrupted: $wall s, $real_total ms of processor time"
	[ -n "$real_progress" ] || [ "$real_total" -gt 500 ] || real_complain "too short for five checkpoints" || return
	real_keep reference || return
	[ -z "$real_progress" ] || real_total=$(stat -c %s "$test_scratch/reference/$real_progress")
}

# Sets the array real_moments.
real_draw_moments() {
	local i permille text=
	real_moments=()
	for ((i = 0; i < real_nr_moments; i++)); do
		permille=$(((i * 1000 + RANDOM % 1000) * 9 / (10 * real_nr_moments) + 10))
		real_moments+=($((real_total * permille / 1000)))
		text+=" $((permille / 10)).$((permille % 10)) %"
	done
	real_say "moments:$text"
}

# Whoever started the root sees it killed.
real_reap_killed() {
	local status
	wait "$1"
	status=$?
	[ "$status" = 137 ] || real_complain "the parent of the killed root got status $status"
}

# Status 2 when chkpnt failed, with that status, because the program was done just then.
real_has_ended_meanwhile() {
	local nap
	for nap in 1 2 3 4 5; do
		[ -n "$("$real_session" list "$real_pid" running)" ] || return 2
		sleep 0.1
	done
	real_complain "chkpnt ended with status $1"
}

real_chkpnt_kill() { # GENERATION PARENT
	mkdir "$real_images/$1"
	[ -z "$real_owner" ] || chown "$real_owner" "$real_images/$1"
	"${as_user[@]}" timeout -k 5 "$real_limit" chkpnt -r -K KILL -d "$real_images/$1" -f root "$real_pid" </dev/null ||
		real_has_ended_meanwhile $? || return
	[ -s "$real_images/$1/root" ] || real_complain "generation $1: there is no image" || return
	wait_for real_is_gone 20 || real_complain "generation $1: not all are dead" || return
	real_reap_killed "$2"
}

# Restart in the background: sets real_restart.
real_restart_from() { # GENERATION
	rm -f restart.out
	(
		real_close_inherited
		exec "${as_user[@]}" timeout --foreground -k 5 $((real_limit * 2)) restart -v "$real_images/$1/root" </dev/null
	) >restart.out 2>&1 &
	real_restart=$!
	# -v says when the last process has been let go
	wait_for 'grep -qs ": restarted .* root pid " restart.out || ! kill -0 $real_restart 2>/dev/null' 30 ||
		real_complain "generation $1: nothing was restarted" || return
	# in a pid namespace of its own: as it is called here
	real_pid=$(sed -n 's/.*: restarted .* root pid //p' restart.out)
	[ -n "$real_pid" ] || real_complain "generation $1: $(cat restart.out)"
}

# The restarted program ends by itself, well, and restart had nothing to say.
real_end() {
	local status
	wait "$real_restart"
	status=$?
	grep '^restart: ' restart.out
	if [ "$status" != 0 ]; then
		tail -n 20 "$real_work/stderr"
		real_complain "restart ended with status $status"
		return
	fi
	! grep -q '^restart: warning' restart.out && wait_for real_is_gone 10
}

# What was restarted begins to count its time anew. Fails when the program ended before.
real_await() { # FROM TO
	if [ -n "$real_progress" ]; then
		"$real_session" await "$real_pid" "$2" "$real_work/$real_progress"
	else
		"$real_session" await "$real_pid" $(($2 - $1))
	fi
}

# It must have ended well all the same.
real_was_done_early() { # GENERATION PARENT
	if [ "$1" != 0 ]; then
		real_end || return 1
	else
		wait "$2" || real_complain "it ended with an error" || return
	fi
	return 2
}

# One checkpoint after the other. Status 2: the program was faster than its moments.
real_chain() {
	local generation=0 parent at=0 moment status=0
	rm -rf "$real_images"
	mkdir "$real_images"
	real_start
	parent=$real_pid
	for moment in "${real_moments[@]}"; do
		real_await "$at" "$moment" || status=2
		generation=$((generation + 1))
		[ "$status" = 2 ] || real_chkpnt_kill $generation "$parent" || status=$?
		if [ "$status" = 2 ]; then
			real_was_done_early $((generation - 1)) "$parent"
			return
		fi
		at=$moment
		[ "$status" = 0 ] && real_restart_from $generation || return 1
		parent=$real_restart
	done
	real_end
}

# A program that was done before its last checkpoint is run again with earlier moments.
real_run() {
	local round
	for round in 1 2 3 4; do
		real_draw_moments
		real_chain
		case $? in
		0) return 0 ;;
		1) return 1 ;;
		esac
		real_say 'it was faster this time: once more'
		real_total=$((real_total * 3 / 4))
	done
	real_complain 'it always ended before its last checkpoint'
}

real_describe_images() {
	local size
	size=$(du -sm "$real_images" | cut -f 1)
	real_say "images of $real_nr_moments generations: $size MB in $(find "$real_images" -type f | wc -l) files"
	[ -z "$(find "$real_images" -type f ! -perm 600)" ] || real_complain "an image is not of mode 0600"
}

real_same_result() {
	real_keep result && diff -r "$test_scratch/reference" "$test_scratch/result"
}

real_program() { # TITLE
	RANDOM=$((real_seed % 32768))
	real_say "REAL_SEED=$real_seed"
	test_expect_success "$1: the uninterrupted run" '
		mkdir -p "$real_input" && (cd "$real_input" && real_setup) && real_measure
	'
	[ "$test_failed" = 0 ] || test_done
	real_interrupted "$1"
}

# The same, killed and restarted by a user without privilege; what root found to be the result counts.
real_program_as_user() { # TITLE
	test_is_root || return 0
	test_become_user
	if ! test_user_namespaces_work; then
		test_skip "$1, as an ordinary user" "no user namespaces for ordinary users here"
		return
	fi
	real_owner=$test_uid
	real_interrupted "$1, as an ordinary user"
}

real_interrupted() { # TITLE
	test_expect_success "$1: killed and restarted at $real_nr_moments moments" '
		real_run && real_describe_images
	'
	[ "$test_failed" = 0 ] || test_done
	test_expect_success "$1: the result is the same" real_same_result
}
