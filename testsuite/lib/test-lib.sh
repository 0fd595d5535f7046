# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# TAP harness. A test starts with
#
#	. "$(dirname "$0")/../lib/test-lib.sh"
#
# and ends with test_done. It runs in a scratch folder of its own that is removed at the end with every
# process the test left, under a time limit (TEST_LIMIT, in seconds, set before the line above).
# Options of a test run by hand:
#
#	-v   show what each body printed, when it is done
#	-k   keep the scratch folder of a failed test
#
# Where the programs are: $top_builddir, or the nearest of ./ and ./build that has been configured.

test_script=$(readlink -f "$0")
top_srcdir=${top_srcdir:-$(readlink -f "$(dirname "$test_script")/../..")}
if [ -z "$top_builddir" ]; then
	for top_builddir in "$PWD" "$PWD/build" "$top_srcdir/build" "$top_srcdir"; do
		[ -e "$top_builddir/config.status" ] && break
	done
fi
test_subjects=$top_builddir/testsuite/subjects
export top_srcdir top_builddir

# Descriptors of whoever started us (a job server's pipe) would be a subject's too.
test_close_inherited() {
	local fd
	for fd in /proc/$$/fd/*; do
		fd=${fd##*/}
		[ "$fd" -lt 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
	done
}
[ -n "$TEST_INNER" ] || test_close_inherited

# Run again below a time limit, with this script as the parent of all orphans it makes.
if [ -z "$TEST_INNER" ]; then
	if [ ! -x "$test_subjects/subreaper" ]; then
		echo "Bail out! $test_subjects is not built: run 'make subjects'"
		exit 99
	fi
	# What make, a terminal or a CI runner left open is no part of any test.
	for test_fd in /proc/$$/fd/*; do
		test_fd=${test_fd##*/}
		[ "$test_fd" -gt 2 ] && [ "$test_fd" != 255 ] && eval "exec $test_fd>&-"
	done
	export TEST_INNER=1
	export STASIS_TEST_MARK=$$.$RANDOM
	exec timeout -k 20 "${TEST_LIMIT:-240}" "$test_subjects/subreaper" bash "$test_script" "$@"
fi

test_name=$(basename "$test_script" .t)
test_is_verbose=${TEST_VERBOSE:+1}
test_is_kept=
for test_arg; do
	case $test_arg in
	-v) test_is_verbose=1 ;;
	-k) test_is_kept=1 ;;
	esac
done

test_count=0
test_failed=0
test_is_done=
test_scratch=$(mktemp -d "${TMPDIR:-/tmp}/stasis-$test_name.XXXXXX") || exit 99
chmod 755 "$test_scratch"
cd "$test_scratch" || exit 99
exec 3>&1 # TAP goes here; what the bodies print goes to a log
test_log=$test_scratch/.log

PATH=$top_builddir:$top_builddir/src/cmds:$PATH
export PATH LC_ALL=C

# Processes that have VARIABLE=VALUE in their environment: zombies have none, so they are not listed; one whose
# first thread alone has ended has it in the others.
test_processes_with() {
	local z
	{
		grep -lsazFx "$1" /proc/[0-9]*/environ
		for z in $(grep -ls '^State:.Z' /proc/[0-9]*/status); do
			grep -lsazFx "$1" "${z%status}"task/*/environ
		done
	} 2>/dev/null | sed 's,/proc/\([0-9]*\)/.*,\1,' | sort -un
}

# Every process that has our mark, restarted ones included.
test_processes() {
	test_processes_with "STASIS_TEST_MARK=$STASIS_TEST_MARK" | grep -vxF -e $$ -e "$PPID" -e "$BASHPID"
}

test_kill_all() {
	local round pids
	for round in 1 2 3 4 5; do
		# Not those that wait for us: the time limit and the subreaper are our ancestors.
		pids=$(test_processes)
		[ -n "$pids" ] || break
		# shellcheck disable=SC2086
		kill -KILL $pids 2>/dev/null
		sleep 0.02
	done
}

test_at_exit() {
	local status=$?
	trap - EXIT TERM INT HUP
	test_kill_all 2>/dev/null
	if [ -z "$test_is_done" ]; then
		echo "Bail out! $test_name ended early (status $status)" >&3
		[ "$status" != 0 ] || status=99
	fi
	cd /
	if mountpoint -q "$test_scratch/mnt" 2>/dev/null; then
		umount -l "$test_scratch/mnt"
	fi
	if [ -n "$test_is_kept" ] && [ "$test_failed" != 0 ]; then
		echo "# kept: $test_scratch" >&3
	else
		rm -rf "$test_scratch"
	fi
	exit "$status"
}
trap test_at_exit EXIT
trap 'echo "# time limit of ${TEST_LIMIT:-240} s or interrupt" >&3; exit 124' TERM INT HUP

test_diag() {
	sed 's/^/#   /' | head -c 6000 >&3
}

test_pass() {
	test_count=$((test_count + 1))
	echo "ok $test_count - $1" >&3
}

test_fail() {
	test_count=$((test_count + 1))
	test_failed=$((test_failed + 1))
	echo "not ok $test_count - $1" >&3
	tail -n 40 "$test_log" | test_diag
}

# Skip one: test_skip TITLE WHY
test_skip() {
	test_count=$((test_count + 1))
	echo "ok $test_count - $1 # SKIP $2" >&3
}

# Skip the whole file: test_skip_all WHY; exit status 77 without a test run.
test_skip_all() {
	echo "1..0 # SKIP $*" >&3
	test_is_done=1
	exit 0
}

# test_expect_success TITLE SCRIPT: the script runs in this shell, so what it sets stays set.
test_expect_success() {
	local status
	: >"$test_log"
	[ -z "$test_is_verbose" ] || echo "# $1" >&3
	eval "$2" >>"$test_log" 2>&1 </dev/null
	status=$?
	[ -z "$test_is_verbose" ] || cat "$test_log" >&2
	if [ "$status" = 0 ]; then
		test_pass "$1"
	else
		echo "(status $status)" >>"$test_log"
		test_fail "$1"
	fi
}

# test_expect_status STATUS COMMAND...: exactly that exit status.
test_expect_status() {
	local want=$1 got
	shift
	"$@"
	got=$?
	[ "$got" = "$want" ] && return
	echo "'$*' ended with status $got, not $want"
	return 1
}

test_done() {
	echo "1..$test_count" >&3
	test_is_done=1
	[ "$test_failed" = 0 ]
	exit
}

test_missing_programs() {
	local p
	for p; do
		command -v "$p" >/dev/null || echo "$p"
	done
}

# wait_for COND [SECONDS]: poll until the condition holds; fail with a message at the deadline.
wait_for() {
	local deadline=$((${EPOCHREALTIME/./} + ${2:-30} * 1000000))
	until eval "$1"; do
		if [ "${EPOCHREALTIME/./}" -gt "$deadline" ]; then
			echo "waited ${2:-30} s in vain for: $1"
			return 1
		fi
		sleep 0.01
	done
}

# ---- running as an ordinary user: as_user is a prefix for commands, empty for ourselves

test_uid=64999
as_user=()

test_is_root() {
	[ "$(id -u)" = 0 ]
}

# From here on subjects and commands run as an ordinary user (for root: as uid $test_uid). The
# programs are copied, as a build folder need not be open to everyone.
test_become_user() {
	mkdir -p bin subjects
	cp "$test_subjects"/* subjects/ 2>/dev/null
	local c
	for c in chkpnt restart stasis; do
		cp "$(command -v $c)" bin/ 2>/dev/null
	done
	test_subjects=$test_scratch/subjects
	PATH=$test_scratch/bin:$PATH
	if test_is_root; then
		chown "$test_uid:$test_uid" "$test_scratch"
		as_user=(setpriv --reuid=$test_uid --regid=$test_uid --clear-groups --)
	fi
}

# What an unprivileged restart needs of the system.
test_user_namespaces_work() {
	"${as_user[@]}" unshare -U -r -p -f --mount-proc true 2>/dev/null
}

# ---- subjects

# subject_start NAME [ARGUMENT...]: sets SUBJECT_PID and SUBJECT_DIR.
subject_start() {
	local name=$1
	shift
	SUBJECT_DIR=$(mktemp -d "$test_scratch/$name.XXXXXX")
	chmod 755 "$SUBJECT_DIR"
	! test_is_root || [ ${#as_user[@]} = 0 ] || chown $test_uid:$test_uid "$SUBJECT_DIR"
	if [ ! -x "$test_subjects/$name" ]; then
		echo "subject $name is not built"
		return 1
	fi
	(
		exec 3>&-
		cd "$SUBJECT_DIR" &&
			STASIS_SUBJECT_DIR=$SUBJECT_DIR exec ${subject_wrap:-} "${as_user[@]}" \
				sh -c 'exec "$@" >stdout 2>stderr </dev/null' sh "$test_subjects/$name" "$@"
	) &
	SUBJECT_PID=$!
	wait_for '[ -e "$SUBJECT_DIR/status" ] || ! kill -0 $SUBJECT_PID 2>/dev/null' "${subject_ready_seconds:-30}" || return 1
	subject_complain_early && return 1
	[ "$(cat "$SUBJECT_DIR/status")" = "ready $SUBJECT_PID" ] && return
	echo "subject $name did not get ready: $(cat "$SUBJECT_DIR"/status "$SUBJECT_DIR"/stderr 2>&1)"
	return 1
}

subject_complain_early() {
	[ -e "$SUBJECT_DIR/verdict" ] || return 1
	echo "verdict before go: $(cat "$SUBJECT_DIR/verdict")"
}

# Ask the subject to check itself.
subject_verify() {
	subject_complain_early && return 1
	: >"$SUBJECT_DIR/go"
	if ! wait_for '[ -e "$SUBJECT_DIR/verdict" ]' "${1:-30}"; then
		echo "--- stderr of the subject:"
		cat "$SUBJECT_DIR/stderr"
		subject_where
		return 1
	fi
	[ "$(cat "$SUBJECT_DIR/verdict")" = ok ] && return
	cat "$SUBJECT_DIR/verdict"
	return 1
}

# Its processes in our pid namespace.
subject_pids() {
	test_processes_with "STASIS_SUBJECT_DIR=$SUBJECT_DIR"
}

# Its root in our pid namespace: another number than SUBJECT_PID when an ordinary user restarted it.
subject_root_pid() {
	local p
	for p in $(subject_pids); do
		if [ "$(sed -n 's/^NSpid:.*[[:space:]]//p' "/proc/$p/status" 2>/dev/null)" = "$SUBJECT_PID" ]; then
			echo "$p"
			return 0
		fi
	done
	echo "the subject's root is not running" >&2
	return 1
}

subject_where() {
	local p t
	for p in $(subject_pids); do
		for t in /proc/"$p"/task/*; do
			echo "--- ${t#/proc/}: $(tr '\n' ' ' <"$t/comm") $(grep -E '^(State|TracerPid)' "$t/status" |
				tr '\n' ' ') $(cat "$t/wchan" 2>/dev/null)"
		done | head -20
	done
}

subject_kill() {
	local pids
	pids=$(subject_pids)
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
	wait_for '[ -z "$(subject_pids)" ]' 10 && subject_pid_is_free
}

# After a kill the zombies must be reaped before their pids are free.
subject_pid_is_free() {
	[ ${#as_user[@]} -gt 0 ] || wait_for '! [ -e /proc/$SUBJECT_PID ]' 10
}

# The subject runs untraced and has no descriptor or mapping of ours.
subject_is_clean() {
	local p
	for p in $(subject_pids); do
		if ! grep -q '^TracerPid:[[:space:]]*0$' "/proc/$p/status"; then
			echo "process $p still has a tracer"
			return 1
		fi
		if grep -E 'stasis|parasite' "/proc/$p/maps" | grep -vF "$test_scratch" |
			grep -vF "$top_builddir" | grep .; then
			echo "process $p has stray mappings"
			return 1
		fi
	done
}

# Number of mappings and descriptors of every process of the subject, to be compared.
subject_footprint() {
	local p
	for p in $(subject_pids); do
		echo "$p maps $(wc -l <"/proc/$p/maps") fds $(find "/proc/$p/fd" -mindepth 1 2>/dev/null | wc -l)"
	done
}
