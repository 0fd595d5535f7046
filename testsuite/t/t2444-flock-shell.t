#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# flock(1) in shell scripts: who took the lock is gone and the shell has it, others wait; inside of what is
# checkpointed and outside.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"

[ -z "$(test_missing_programs flock setsid)" ] || test_skip_all "needs flock(1) of util-linux"
nr=0

# A folder for a test, to be in.
fresh() {
	nr=$((nr + 1))
	mkdir -p "$test_scratch/$nr/images" && cd "$test_scratch/$nr" || return
	: >lock
}

# Start a script as a tree of its own: sets tree.
start() {
	(exec 3>&- && exec setsid sh -c "$1" >out 2>&1 </dev/null) &
	tree=$!
}

# Somebody outside who has the lock until he is killed: sets outsider.
start_outsider() {
	(exec 3>&- && exec flock lock sh -c 'echo >outsider; exec sleep 300') &
	outsider=$!
	wait_for '[ -e outsider ]'
}

end_outsider() {
	pkill -KILL -P "$outsider"
	wait "$outsider"
	wait_for '! is_held' # who waited for it may have it for a moment
}

is_held() {
	! flock -n lock true
}

# A process of the tree is in flock(2).
is_waiting() {
	local p
	for p in $(pgrep -s "$tree"); do
		grep -qs '^73 ' "/proc/$p/syscall" && return
	done
	return 1
}

is_gone() {
	[ -z "$(pgrep -s "$tree")" ]
}

checkpoint() {
	rm -f images/* && chkpnt -r -K KILL -d images -f img "${1:-$tree}"
}

resume() {
	local status
	timeout -k 5 60 restart -W images/img >restart.out 2>&1 3>&-
	status=$?
	cat restart.out
	return $status
}

says() { # LINE...: all that the log has
	printf '%s\n' "$@" | cmp - log
}

both='exec 9>lock
flock 9
(exec 9>&-; exec flock lock sh -c "echo second >>log") &
echo first >>log
while ! [ -e go ]; do sleep 0.05; done
echo letting go >>log
exec 9>&-
wait
echo done >>log'

test_expect_success 'a shell with a lock, and a second that waits for it' '
	fresh && start "$both" && wait_for "[ -e log ] && is_waiting" && checkpoint && wait_for is_gone &&
	! is_held && wait $tree; resume && is_held && wait_for is_waiting && says first && : >go &&
	wait_for "grep -qx done log" && says first "letting go" second done
'
test_kill_all 2>/dev/null
test_expect_success 'the same, twice' '
	fresh && start "$both" && wait_for "[ -e log ] && is_waiting" && checkpoint && wait_for is_gone &&
	wait $tree; resume && wait_for is_waiting && checkpoint && wait_for is_gone && ! is_held && resume &&
	is_held && wait_for is_waiting && says first && : >go &&
	wait_for "grep -qx done log" && says first "letting go" second done
'
test_kill_all 2>/dev/null

waiting='exec 9>lock
flock 9
echo got it >>log'

test_expect_success 'waiting for somebody outside: waits again, and gets it' '
	fresh && start_outsider && start "$waiting" && wait_for is_waiting && checkpoint && wait_for is_gone &&
	wait $tree; resume && wait_for is_waiting && ! [ -e log ] && end_outsider &&
	wait_for "[ -e log ]" && says "got it"
'
test_kill_all 2>/dev/null
test_expect_success 'he has gone before the restart: gets it at once' '
	fresh && start_outsider && start "$waiting" && wait_for is_waiting && checkpoint && wait_for is_gone &&
	wait $tree; end_outsider && resume && wait_for "[ -e log ]" && says "got it"
'
test_kill_all 2>/dev/null

# ---- a description that somebody outside has as well; only the inner shell is checkpointed

inherited='exec 8>lock
flock 8
sh -c "echo ready >>log; while ! [ -e go ]; do sleep 0.05; done; echo done >>log; :"
while ! [ -e over ]; do sleep 0.05 8>&-; done'

test_expect_success 'a lock inherited from outside: refused while he has it, and he is named' '
	fresh && start "$inherited" && wait_for "[ -e log ]" && is_held && inner=$(pgrep -P $tree) &&
	checkpoint "$inner" && wait_for "! kill -0 $inner" && is_held && ! resume &&
	grep -q "lock.: exclusive flock is held by sh($tree)" restart.out && kill -0 $tree
'
test_expect_success 'taken again when he is gone' '
	: >over && wait $tree && ! is_held && resume && is_held && : >go &&
	wait_for "grep -qx done log" && wait_for "! is_held" && says ready done
'
test_done
