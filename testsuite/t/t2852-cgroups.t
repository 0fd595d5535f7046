#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# restart --cgroup: processes in control groups of both versions.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/cgroups.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_expect_success 'an argument of --cgroup that means nothing is status 2' '
	test_expect_status 2 restart --cgroup=some img 2>err && grep -q "keep, ignore or join=PATH" err &&
	test_expect_status 2 restart --cgroup=join=relative img 2>err && grep -q "absolute path" err
'
if ! test_is_root || ! cgroups_begin a b; then
	test_skip 'restart --cgroup' 'needs root and a cgroup file system'
	test_done
fi
thread_group=${group1:+$group1/b}

# round TITLE [OPTION...]: killed and restarted with these options, then $where must be so.
where=
round() {
	local status
	# shellcheck disable=SC2086 # no thread group, no argument
	subject_start cgroups "$group2/a" "$group2/b" $thread_group && matrix_chkpnt_kill img || return 1
	! declare -F between >/dev/null || between || return 1
	printf '%s' "$where" >"$SUBJECT_DIR/where"
	[ -n "$where" ] || rm "$SUBJECT_DIR/where"
	"${as_user[@]}" timeout -k 5 60 restart -W "$@" "$SUBJECT_DIR/img" </dev/null 3>&- || {
		status=$?
		echo "restart $*: status $status"
		return "$status"
	}
	subject_verify
}

test_expect_success 'keep: processes and threads are where they were' 'round --cgroup=keep'
test_kill_all 2>/dev/null
test_expect_success 'keep, three generations' '
	subject_start cgroups "$group2/a" "$group2/b" $thread_group &&
	for g in 1 2 3; do
		matrix_chkpnt_kill gen$g && restart -W --cgroup=keep "$SUBJECT_DIR/gen$g" </dev/null 3>&- || break
	done && subject_verify
'
test_kill_all 2>/dev/null
where=":$name2/a"
test_expect_success 'join: the folder of a cgroup' 'round --cgroup=join="$group2/a"'
test_kill_all 2>/dev/null
test_expect_success 'join: the name of a cgroup, in every hierarchy that has it' '
	where=":$name2/a${name1:+
$hierarchy1:$name1/a}" && round --cgroup=join="$name2/a"
'
test_kill_all 2>/dev/null
where=$(grep '^0:' /proc/self/cgroup)
test_expect_success 'the default: those of restart' 'round'
test_kill_all 2>/dev/null
test_expect_success 'ignore: the same' 'round --cgroup=ignore'
test_kill_all 2>/dev/null
where=
between() {
	rmdir "$group2/b"
}
test_expect_success 'keep: a cgroup that is not there any more is an error that tells the way out' '
	test_expect_status 1 round --cgroup=keep 2>err; status=$?; cat err; mkdir "$group2/b"
	[ "$status" = 0 ] && grep -q "stasis-test.*/b.*--cgroup=join=PATH" err && [ -z "$(subject_pids)" ]
'
test_kill_all 2>/dev/null
where=":$name2/a"
test_expect_success 'with -F a warning: the child stays where its parent is' '
	where=":/" && round -F --cgroup=keep 2>err; status=$?; cat err; mkdir "$group2/b"
	[ "$status" = 0 ] && grep -q "stay in the cgroup of restart" err
'
test_kill_all 2>/dev/null
between() {
	echo 1 >"$group2/b/cgroup.freeze"
}
where=
test_expect_success 'keep: a frozen cgroup is refused, not waited for' '
	test_expect_status 1 round --cgroup=keep 2>err; status=$?; cat err; echo 0 >"$group2/b/cgroup.freeze"
	[ "$status" = 0 ] && grep -q "frozen; thaw it" err && [ -z "$(subject_pids)" ]
'
test_kill_all 2>/dev/null
unset -f between
test_expect_success 'join: one that does not exist' '
	test_expect_status 1 round --cgroup=join=/no/such/group 2>err; status=$?; cat err
	[ "$status" = 0 ] && grep -q "there is no cgroup" err
'
test_kill_all 2>/dev/null

# unshare -C: the root of the namespace is the cgroup that the process was in then.
namespace_start() {
	rm -rf job && mkdir job && {
		(echo 0 >"$group2/a/cgroup.procs" && cd job && exec setsid unshare -C sh -c '
			cat /proc/self/cgroup >before; echo $$ >status; while [ ! -e go ]; do sleep 0.02; done
			cat /proc/self/cgroup >result' </dev/null >out 2>&1 3>&-) &
	} && wait_for '[ -s job/status ]' 20 && job=$(cat job/status) && grep -q '^0::/$' job/before
}
namespace_ends_well() {
	grep -q "^0::$name2/a\$" "/proc/$job/cgroup" && : >job/go && wait_for '[ -s job/result ]' 20 &&
		wait_for 'grep -q "^0::/$" job/result' 20
}
test_expect_success 'keep: the root of a cgroup namespace is what it was' '
	namespace_start && chkpnt -q -r -K KILL -f nimg "$job" && wait_for "! [ -e /proc/$job ]" 20 &&
	restart -W --cgroup=keep nimg </dev/null && namespace_ends_well
'
test_kill_all 2>/dev/null
test_become_user
if test_user_namespaces_work; then
	# a user may move processes about below what is his
	chown -R "$test_uid" "$group2"
	echo $$ >"$group2/cgroup.procs"
	thread_group=
	where=
	test_expect_success 'an ordinary user keeps cgroups that are his' 'round --cgroup=keep'
	test_kill_all 2>/dev/null
	where=:$name2/a
	test_expect_success 'an ordinary user joins one that is his' 'round --cgroup=join="$group2/a"'
	test_kill_all 2>/dev/null
	test_expect_success 'an ordinary user is refused one that is not' '
		test_expect_status 4 round --cgroup=join="${group2%/*}" 2>err; status=$?; cat err
		[ "$status" = 0 ] && grep -q "cgroup.*Permission denied" err
	'
	test_kill_all 2>/dev/null
	echo $$ >"${group2%/*}/cgroup.procs"
fi
test_expect_success 'nothing is left in the cgroups' 'cgroups_end'
test_done
