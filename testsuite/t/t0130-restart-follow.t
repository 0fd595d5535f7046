#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# restart stands for the restarted process: exit status, signals, job control (figure 1-6 of the
# CONVEX guide).
. "$(dirname "$0")/../lib/test-lib.sh"

# Descriptors that whoever started the test left open would be saved with the process.
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -le 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done

# Runs until a signal tells it how to end; has no children.
cat >loop <<'EOF_LOOP'
trap 'echo usr1 >>told; exit 5' USR1
trap 'echo usr2 >>told' USR2
trap 'echo hup >>told' HUP
exec 9<>gate
echo started >>told
while :; do read -r -t 0.1 _ <&9; done
EOF_LOOP
mkfifo gate

told() {
	wait_for "grep -qx $1 told" 10
}

# Has loop saved in img, killed.
save_loop() {
	rm -f img told
	bash loop </dev/null >/dev/null 2>&1 3>&- &
	target=$!
	told started && chkpnt -k KILL -f img $target || return 1
	wait $target
	[ $? = 137 ] && [ -s img ]
}

# Starts restart in the background and waits until the loop goes round again.
restart_loop() {
	rm -f told
	restart -q "$@" img </dev/null 3>&- &
	restart_pid=$!
	# until it has its signals blocked, SIGUSR2 would kill it
	wait_for 'grep -q "^SigBlk:.*[8-9a-f]..$" /proc/$restart_pid/status' 20 || return 1
	kill -USR2 $restart_pid && told usr2
}

# The restarted loop, by the gate that it holds.
root_pid() {
	local p
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/fd/9" 2>/dev/null)" = "$PWD/gate" ] && echo "${p#/proc/}"
	done
}

ends_with() {
	wait $restart_pid
	local status=$?
	[ $status = "$1" ] && return
	echo "restart ended with status $status, not $1"
	return 1
}

test_expect_success 'a process is saved and killed' 'save_loop'
test_expect_success 'restart ends with the exit status of the process' '
	restart_loop && kill -USR1 $restart_pid && ends_with 5 && told usr1
'
test_expect_success 'restart dies of the signal that kills the process' '
	restart_loop && kill -TERM $restart_pid && ends_with 143 && [ -z "$(find . -name "core*")" ]
'
test_expect_success 'a kill of the process itself is seen, too' '
	restart_loop && kill -KILL $(root_pid) && ends_with 137
'
test_expect_success 'SIGHUP is passed on' '
	restart_loop && kill -HUP $restart_pid && told hup &&
	kill -USR1 $restart_pid && ends_with 5
'
test_expect_success '-k sends another signal than SIGCONT' '
	rm -f told && test_expect_status 5 restart -q -k USR1 img </dev/null 3>&- && told usr1
'
test_expect_success '-W prints the pid and does not wait' '
	rm -f told && restart -q -W img </dev/null 3>&- >out && pid=$(cat out) &&
	[ "$pid" = "$(root_pid)" ] && kill -USR1 $pid && told usr1 &&
	wait_for "[ -z \"\$(root_pid)\" ]" 10
'
test_expect_success '-z leaves the process stopped' '
	rm -f told && restart -q -z -W img </dev/null 3>&- >out && pid=$(cat out) &&
	wait_for "grep -q \"^State:.T\" /proc/$pid/status" 10 &&
	kill -USR1 $pid && [ ! -e told ] && kill -CONT $pid && told usr1 &&
	wait_for "[ -z \"\$(root_pid)\" ]" 10
'
test_expect_success 'restart -i asks as in figure 2-17 and restarts' '
	rm -f told && printf "r\nu\nu\nu\nR\n" >answers &&
	test_expect_status 5 restart -q -i -k USR1 img <answers 3>&- >transcript &&
	[ "$(sed -n 1p transcript)" = "Restart interactive mode. Type '\''?'\'' for help." ] &&
	grep -qE "^bash - pid = $target pgrp = [0-9]+ ppid = $$ \[ipr\]:r$" transcript &&
	[ "$(grep -cE "^fd .* \[ium\]:u$" transcript)" = 3 ]
'
test_expect_success '? lists the commands of restart -i (figures 2-15 and 2-16)' '
	printf "?\nr\n?\nm\nm nowhere\nQ\n" >answers &&
	test_expect_status 1 restart -q -i img <answers 3>&- >transcript &&
	grep -qxF "(R)estart - exit interactive mode and proceed with restart" transcript &&
	grep -qxF "(i)gnore - make the current process ineligible for restart" transcript &&
	grep -qxF "(u)se - use the file descriptor" transcript &&
	grep -qxF "(m)odify - change the pathname of a file descriptor" transcript &&
	grep -qxF "nowhere: No such file or directory" transcript && [ -z "$(root_pid)" ]
'
test_expect_success 'the end of the input quits' '
	test_expect_status 1 restart -q -i img </dev/null 3>&- >transcript && [ -z "$(root_pid)" ]
'

# ---- a terminal with a shell that has job control

type_keys() {
	printf '%b' "$1" >&8
}

shows() {
	wait_for "grep -qE '$1' screen" 20 || {
		cat -v screen
		return 1
	}
}

if [ -n "$(test_missing_programs script)" ]; then
	test_skip 'job control works as in figure 1-6' 'script(1) is missing'
	test_done
fi

mkfifo keys
export PS1='$ ' TERM=dumb
# A background job of this shell ignores SIGINT, and so would everything below it.
as_foreground=(env --default-signal=INT)
"${as_foreground[@]}" true 2>/dev/null || as_foreground=()
"${as_foreground[@]}" script -qfc 'bash --norc --noprofile -i' screen <keys >/dev/null 2>&1 3>&- &
exec 8>keys

test_expect_success 'a process of a terminal is saved' '
	rm -f img told && type_keys "bash loop &\n" && told started &&
	type_keys "chkpnt -k KILL -f img \$! && echo sav\"\"ed\n" && shows "^saved" && [ -s img ]
'
test_expect_success 'CONTROL-Z stops the restart job' '
	rm -f told && type_keys "restart -q img\n" && wait_for "[ -n \"\$(root_pid)\" ]" 20 &&
	wait_for "[ \$(ps -o tpgid= -p \$(root_pid)) = \$(ps -o pgid= -p \$(root_pid)) ]" 10 &&
	type_keys "\032" && shows "Stopped +restart -q img" &&
	grep -q "^State:.T" /proc/$(root_pid)/status
'
test_expect_success 'fg continues both' '
	type_keys "fg\n" && wait_for "grep -q \"^State:.S\" /proc/\$(root_pid)/status" 10 &&
	kill -USR2 $(root_pid) && told usr2
'
test_expect_success 'kill of the stopped job ends both' '
	: >screen && type_keys "\032" && shows "Stopped +restart -q img" &&
	type_keys "kill -TERM %%; fg\n" && wait_for "[ -z \"\$(root_pid)\" ]" 10 &&
	type_keys "jobs; echo no\"\"thing\n" && shows "^nothing"
'
if [ ${#as_foreground[@]} = 0 ]; then
	test_skip 'CONTROL-C reaches the process' 'env(1) has no --default-signal'
else
	test_expect_success 'CONTROL-C reaches the process, and the shell gets the terminal back' '
		: >screen && type_keys "restart -q img; echo status=\$?\n" &&
		wait_for "[ -n \"\$(root_pid)\" ]" 20 &&
		wait_for "[ \$(ps -o tpgid= -p \$(root_pid)) = \$(ps -o pgid= -p \$(root_pid)) ]" 10 &&
		type_keys "\003" && wait_for "[ -z \"\$(root_pid)\" ]" 10 &&
		type_keys "echo ali\"\"ve\n" && shows "^alive"
	'
fi
type_keys 'exit\n'
exec 8>&-

test_done
