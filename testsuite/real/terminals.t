#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What people do at terminals: tmux with an interactive bash that counts, one with a background job and a
# stopped one, vim with a text that was not written yet, and script with a shell of its own inside.
# Checkpointed, killed and restarted twice, each time typed at; then each must show that nothing was lost.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/own-devpts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"

[ -z "$(test_missing_programs tmux vim script setsid)" ] || test_skip_all "needs the packages tmux, vim and bsdutils"

tm() {
	"${as_user[@]}" env LC_ALL=C.UTF-8 tmux -S "$PWD/work/socket" "$@" 3>&-
}

type_at() { # WINDOW KEY...
	local window=$1
	shift
	tm send-keys -t "s:$window" "$@"
}

# A text on the screen of a window: see WINDOW EXTENDED-REGEX
see() {
	tm capture-pane -p -t "s:$1" | grep -qE "$2"
}

window() { # NAME COMMAND
	tm new-window -d -t s -n "$1" -c "$PWD/work" "$2"
}

start_tmux() {
	rm -rf work
	mkdir work
	[ ${#as_user[@]} = 0 ] || chown "$test_uid:$test_uid" work
	# PS1 of its own: a prompt is what tells that a shell is listening
	printf '%s\n' "PS1='ready: '" 'HISTFILE=' >work/rc
	# new-session does not come back before the server is there; the server has left our session then
	HOME=$PWD/work TERM=xterm SHELL=/bin/bash tm -f /dev/null new-session -d -s s -n count -x 100 -y 30 \
		-c "$PWD/work" 'bash --rcfile rc -i' || return
	server=$(tm display-message -p '#{pid}') && window jobs 'bash --rcfile rc -i' &&
		window edit 'vim -u NONE -n text' && window script "script -q -f -c 'bash --rcfile rc -i' log" &&
		wait_for 'see count ready: && see jobs ready: && see script ready: && see edit text'
}

# What is typed in before the first checkpoint.
begin_work() {
	type_at count 'for ((n = 0; n < 10000; n++)); do echo $n >>count; sleep 0.01; [ ! -e stop ] || break; done' Enter
	type_at jobs 'sleep 1000 & cat >typed' Enter
	wait_for '[ -e work/typed ]' || return
	type_at jobs 'before it was stopped' Enter
	wait_for 'see jobs "^before it was stopped"' || return
	type_at jobs C-z
	wait_for 'see jobs "Stopped +cat"' || return
	type_at edit ifirst Space line Enter
	type_at script 'x=kept; echo "in script: $$"' Enter
	wait_for 'see script "^in script: [0-9]+" && see edit "^first line" && [ -s work/count ]'
}

chkpnt_and_restart() { # GENERATION
	"${as_user[@]}" timeout -k 5 60 chkpnt -r -K KILL -f "$PWD/work/img$1" "$server" </dev/null 3>&- || return
	wait_for '! kill -0 $server 2>/dev/null' &&
		server=$("${as_user[@]}" timeout -k 5 60 restart -W "$PWD/work/img$1" </dev/null 3>&-) &&
		wait_for 'tm has-session -t s'
}

# The shells, the editor and the jobs are where they were, and take what is typed.
is_as_it_was() {
	local lines
	lines=$(wc -l <work/count)
	see edit '^first line' && see jobs 'Stopped +cat' && wait_for '[ $(wc -l <work/count) -gt '"$lines"' ]'
}

type_more() { # N
	type_at edit "line $1" Enter
	type_at jobs 'jobs -l | tee jobs' Enter
	type_at script 'echo "$x '"$1"'" | tee -a said' Enter
	wait_for "grep -q $1 work/said 2>/dev/null" && grep -qx "kept $1" work/said &&
		wait_for '[ $(wc -l 2>/dev/null <work/jobs) = 2 ]' && cat work/jobs &&
		grep -q 'Running *sleep 1000' work/jobs && grep -q 'Stopped  *cat' work/jobs && rm work/jobs
}

end_work() {
	type_at jobs 'fg %2' Enter
	wait_for 'see jobs "^cat > typed"' || return
	type_at jobs 'and after' Enter C-d
	type_at jobs 'kill %1; wait %1; echo "status $?" >status' Enter
	type_at edit Escape ':wq' Enter
	type_at script 'exit' Enter
	: >work/stop
	wait_for '[ -s work/status ] && [ -s work/text ] && grep -q "Script done" work/log' || return
	type_at count 'exit' Enter
	type_at jobs 'exit' Enter
	wait_for '! kill -0 $server 2>/dev/null'
}

nothing_is_lost() {
	printf '%s\n' 'before it was stopped' 'and after' | diff - work/typed &&
		printf '%s\n' 'first line' 'line 1' 'line 2' '' | diff - work/text &&
		seq 0 $(($(wc -l <work/count) - 1)) | diff - work/count &&
		grep -qx 'status 143' work/status && printf 'kept %s\n' 1 2 | diff - work/said
}

terminals() { # WHO
	test_expect_success "$1tmux, shells, vim and script at work" 'start_tmux && begin_work'
	[ "$test_failed" = 0 ] || test_done
	test_expect_success "$1killed and restarted, they go on" 'chkpnt_and_restart 1 && is_as_it_was && type_more 1'
	test_expect_success "$1and once more" 'chkpnt_and_restart 2 && is_as_it_was && type_more 2'
	test_expect_success "$1a checkpoint in between disturbs nobody" '
		"${as_user[@]}" timeout -k 5 60 chkpnt -r -f "$PWD/work/img3" "$server" </dev/null 3>&- && is_as_it_was
	'
	test_expect_success "$1they end, and nothing is lost" 'end_work && nothing_is_lost'
	tm kill-server 2>/dev/null
	test_kill_all 2>/dev/null
}

as_user=()
terminals
if test_is_root; then
	test_become_user
	test_user_namespaces_work && terminals "as an ordinary user: "
fi
test_done
