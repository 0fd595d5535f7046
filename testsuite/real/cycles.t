#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree of 50 processes with 200 threads, checkpointed, killed and restarted 100 times: nothing fails,
# nothing grows, nothing is left. CYCLES=N makes it another number.
TEST_LIMIT=${TEST_LIMIT:-1200}
. "$(dirname "$0")/../lib/own-pids.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

cycles=${CYCLES:-100}
test_subjects=$top_builddir/testsuite/real
parent=

# Mappings, descriptors, threads and resident KiB of every process of the tree, in the order of pids.
forest_footprint() {
	local p
	for p in $(subject_pids | sort -n); do
		echo "$p maps $(wc -l <"/proc/$p/maps") fds $(find "/proc/$p/fd" -mindepth 1 | wc -l)" \
			"threads $(find "/proc/$p/task" -mindepth 1 -maxdepth 1 | wc -l)"
	done
}

forest_resident() {
	local p sum=0
	for p in $(subject_pids); do
		sum=$((sum + $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$p/status")))
	done
	echo $sum
}

# Files in the usual places and mounts, but not what others on this machine make.
surroundings() {
	find /dev/shm /run /var/tmp -maxdepth 1 -iname '*stasis*' 2>/dev/null
	find "$test_scratch" -maxdepth 1 ! -name '.*' ! -name '*.out' -printf '%f\n' | sort
	wc -l <"/proc/self/mountinfo"
	(set -- "/proc/$$/fd"/* && echo $#) # not in a pipeline: its ends would be among them, or not
}

# Whatever this test has started but the shell itself and its time limit.
left_over() {
	local p name
	for p in $(test_processes); do
		read -r name <"/proc/$p/comm" || continue
		case $name in
		bash | timeout | subreaper | cycles.t) ;;
		*) echo "$p $name" ;;
		esac
	done 2>/dev/null
}

reaped_as_killed() {
	local status
	wait "$1"
	status=$?
	[ "$status" = 137 ] && return
	echo "the parent of the killed root got status $status"
	return 1
}

cycle() {
	local dir=$SUBJECT_DIR/images p pids
	pids=$(subject_pids)
	mkdir "$dir"
	timeout -k 5 60 chkpnt -r -K KILL -d "$dir" -f root "$SUBJECT_PID" </dev/null || {
		echo "chkpnt ended with status $?"
		return 1
	}
	reaped_as_killed "$parent" 2>/dev/null || return 1
	for p in $pids; do
		wait_for '! [ -e /proc/$p ]' 10 || return 1
	done
	[ "$(find "$dir" -type f | wc -l)" = 50 ] || { ls -la "$dir"; return 1; }
	rm -f restart.out
	(
		exec 3>&-
		exec timeout --foreground -k 5 300 restart -v "$dir/root" </dev/null >restart.out 2>&1
	) &
	parent=$!
	# -v says when the last process has been let go
	wait_for 'grep -qs ": restarted 50 .* root pid " restart.out || ! kill -0 $parent 2>/dev/null' 30
	if ! grep -q ': restarted 50 ' restart.out || has_complained; then
		grep '^restart: ' restart.out
		kill -0 "$parent" || wait "$parent" || echo "restart ended with status $?"
		return 1
	fi
	forest_runs && ! subject_complain_early && rm -r "$dir"
}

has_complained() {
	grep -q '^restart: warning' restart.out
}

# All are there, and nobody is traced any more.
forest_runs() {
	local p tracers
	tracers=$(for p in $(subject_pids); do echo "/proc/$p/status"; done | xargs grep -H '^TracerPid:')
	[ "$(grep -c 'TracerPid:[[:space:]]*0$' <<<"$tracers")" = 50 ] && return
	echo "of 50 processes, these:"
	echo "$tracers"
	return 1
}

run_cycles() {
	local i
	for ((i = 1; i <= cycles; i++)); do
		: >"$test_log" # the shell notes each killed parent there
		cycle || {
			echo "cycle $i of $cycles failed"
			return 1
		}
		[ $((i % 25)) != 0 ] || echo "# $i cycles after $SECONDS s" >&3
	done
}

test_expect_success 'a tree of 50 processes and 200 threads' '
	subject_start forest && parent=$SUBJECT_PID &&
	forest_footprint >first && cat first &&
	[ "$(wc -l <first)" = 50 ] && [ "$(grep -c "threads 4$" first)" = 50 ]
'
[ "$test_failed" = 0 ] || test_done
test_expect_success 'one cycle' '
	cycle && forest_footprint >one && diff first one && resident=$(forest_resident) && surroundings >around.out
'
[ "$test_failed" = 0 ] || test_done
test_expect_success "$cycles cycles" run_cycles
[ "$test_failed" = 0 ] || test_done
test_expect_success 'as many mappings, descriptors and threads as at first' '
	forest_footprint >last.out && diff first last.out
'
test_expect_success 'as much resident memory, give or take a tenth' '
	now=$(forest_resident) && echo "$resident KiB became $now KiB" && echo "# $resident KiB became $now KiB" >&3 &&
	[ $((now * 10)) -lt $((resident * 11)) ]
'
test_expect_success 'the same files, mounts and descriptors around it' 'surroundings >now.out && diff around.out now.out'
test_expect_success 'it still computes right, and ends well' '
	subject_verify && wait "$parent" && ! has_complained
'
test_expect_success 'no process is left' 'wait_for "[ -z \"\$(left_over)\" ]" 10 || { left_over; false; }'
test_done
