#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# chkpnt -i, -L and -I: prompts, texts and log files of figures 2-3 to 2-12 of the CONVEX guide.
. "$(dirname "$0")/../lib/test-lib.sh"

export TZ=UTC

# Descriptors that whoever started the test left open would show up.
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -le 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done

# Target: one process with a device, two regular files and a path that needs care.
: >in
printf '%06872d' 0 >ttys
chmod 644 ttys
touch -d '1990-04-11 16:39:17' ttys
odd='od:d name'
: >"$odd"
sleep 1000 </dev/null >out 2>"$odd" 3>&- 5<ttys &
target=$!
wait_for '[ "$(cat /proc/$target/comm)" = sleep ]' || test_skip_all 'no target'

owner=$(id -un)
group=$(($(ps -o pgid= -p $$)))
head="sleep - pid = $target pgrp = $group ppid = $$"
line5="fd 5 -rw-r--r-- $owner Apr 11 16:39:17 1990 6872/0 $PWD/ttys"

# asks ANSWER... -- ARGUMENT...: run chkpnt with these answers, one a line; transcript in `told`.
asks() {
	local answers=()
	while [ "$1" != -- ]; do
		answers+=("$1")
		shift
	done
	shift
	[ ${#answers[@]} = 0 ] || printf '%s\n' "${answers[@]}" >answers
	[ ${#answers[@]} != 0 ] || : >answers
	chkpnt "$@" $target <answers >told 2>err
}

# told LINE: the transcript has exactly this line.
told() {
	grep -qxF -- "$1" told && return
	echo "no line '$1' in:"
	cat told err
	return 1
}

no_image() {
	[ -z "$(find . -name 'sleep.*' -o -name 'img*')" ]
}

test_expect_success 'the session opens as in figure 2-3' '
	test_expect_status 1 asks Q -- -i &&
	[ "$(sed -n 1p told)" = "Chkpnt interactive mode. Type '\''?'\'' for help." ] &&
	[ "$(sed -n 2p told)" = "$head [cip]:Q" ] && no_image
'
test_expect_success 'the end of the input quits' '
	test_expect_status 1 asks -- -i && told "$head [cip]:" && no_image
'
test_expect_success '? lists the commands for processes (figure 2-4)' '
	cat >want <<-END &&
	$head [cip]:?
	(Q)uit - exit without performing any checkpointing
	(C)heckpoint - exit interactive mode and proceed with checkpointing
	(G)oto - make a specified pid the current process
	(P)rint - display information about all processes
	(?) - display help message
	(c)heckpoint - make the current process eligible for checkpointing
	(i)gnore - make the current process ineligible for checkpointing
	(p)rint - print information about the current process

	$head [cip]:Q
	END
	test_expect_status 1 asks "?" Q -- -i && tail -n +2 told | diff want -
'
test_expect_success '? lists the commands for descriptors (figure 2-5)' '
	cat >want <<-END &&

	(Q)uit - exit without performing any checkpointing
	(C)heckpoint - exit interactive mode and proceed with checkpointing
	(G)oto - make a specified pid the current process
	(P)rint - display information about all processes
	(?) - display this help message
	(s)ave - store data about the file in the checkpoint file.
	(i)gnore - no information about the file will be stored

	END
	test_expect_status 1 asks c "?" Q -- -i &&
	sed -n "/^fd 0.*:?$/,/^fd 0.*:Q$/p" told | sed "1d;\$d" | diff want -
'
test_expect_success 'prompts show a device by its numbers and a file by its size' '
	test_expect_status 1 asks c s s s Q -- -i &&
	grep -qE "^fd 0 crw[-rwxst]{7} [a-z0-9]+ [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4} 1 3 /dev/null \[is\]:s$" told &&
	told "$line5 [cis]:Q"
'
test_expect_success 'a device cannot be copied' '
	test_expect_status 1 asks c c Q -- -i && told "Type '\''?'\'' for help."
'
test_expect_success 'p prints the process (figure 2-6)' '
	test_expect_status 1 asks p Q -- -i && told "$head" && told "$line5" &&
	told "$head [cip]:p" && told "$head [cip]:Q"
'
test_expect_success 'wrong answers ask again' '
	test_expect_status 1 asks x "" cc "Q 1" "G x" "G 1" Q -- -i &&
	[ "$(grep -cxF "Type '\''?'\'' for help." told)" = 5 ] &&
	told "No process 1 in the hierarchy." && [ "$(grep -cF "[cip]:" told)" = 7 ]
'
test_expect_success 'G goes back to a process' '
	test_expect_status 1 asks c s "G $target" c s G Q -- -i &&
	[ "$(grep -cF "$head [cip]:" told)" = 3 ]
'
test_expect_success 'no process left to checkpoint is an error' '
	test_expect_status 2 asks i -- -i && grep -qx "chkpnt: no process is selected" err && no_image
'
test_expect_success '-n -L writes the log and no image' '
	asks c s c i c -- -n -L log &&
	cat >want <<-END &&
	$target sleep checkpoint
	0 :/dev/null: path
	1 :$PWD/out: copy
	2 :$PWD/$odd: ignore
	5 :$PWD/ttys: copy
	END
	diff want log && no_image
'
test_expect_success 'Q leaves no log file behind' '
	test_expect_status 1 asks c Q -- -L log2 && [ -z "$(find . -name "log2*")" ]
'
test_expect_success 'a log file goes to the checkpoint directory' '
	mkdir -p dir && asks C -- -n -d dir -L log3 && [ -s dir/log3 ] &&
	test_expect_status 1 asks -- -d nodir -L log4
'
test_expect_success '-I shows what it does (figure 2-12)' '
	asks -- -n -I log && told "$head checkpoint" &&
	grep -qE "^fd 0 .* /dev/null pathname$" told &&
	grep -qE "^fd 1 .* $PWD/out copy$" told &&
	grep -qE "^fd 2 .* $PWD/$odd ignore$" told && told "$line5 copy"
'
test_expect_success 'a log file serves another run of the program' '
	sed "s/^$target /1 /" log >other &&
	asks -- -n -I other && grep -qE "^fd 1 .* copy$" told && [ ! -s err ]
'
test_expect_success 'what the log file does not name is saved with a warning' '
	sed "1s/sleep/other/" log >other &&
	asks -- -n -I other && grep -qE "^fd 1 .* pathname$" told &&
	grep -qxF "chkpnt: sleep($target): not in the logfile, checkpointing it" err &&
	asks -- -n -q -I other && [ ! -s err ]
'
test_expect_success 'another file is not ignored by mistake' '
	sed "s/^2 :.*/2 :\/etc\/passwd: ignore/" log >other &&
	asks -- -n -I other && grep -qE "^fd 2 .* pathname$" told &&
	grep -qxF "chkpnt: sleep($target) fd 2: is now $PWD/$odd, not ignoring it" err
'
refuses_logs() {
	local line
	for line; do
		printf '%s\n' "$line" >bad
		test_expect_status 1 asks -- -n -I bad &&
			grep -qx 'chkpnt: logfile read failed: bad line 1 is no entry' err || {
			echo "line '$line': $(cat err)"
			return 1
		}
	done
}

test_expect_success 'a damaged log file is refused' '
	refuses_logs junk "1 sleep" "1 sleep maybe" "0 :/x: path" "x sleep ignore" "1 a\\999 ignore" &&
	: >bad && test_expect_status 1 asks -- -n -I bad &&
	grep -q "^chkpnt: logfile read failed" err &&
	test_expect_status 1 asks -- -n -I nolog &&
	grep -qx "chkpnt: unable to open logfile nolog: No such file or directory" err
'
test_expect_success 'a checkpoint follows the choices' '
	asks c s c s s -- -i -f img && [ -s img ] && [ -e "sleep.$target.out.1" ] &&
	[ ! -e "sleep.$target.ttys.5" ] && rm -f img sleep.*
'
test_expect_success 'playing back repeats it' '
	sed "s/: ignore/: path/" log >again &&
	asks -- -I again -f img && [ -s img ] && [ -e "sleep.$target.out.1" ] &&
	[ -e "sleep.$target.ttys.5" ] && rm -f img sleep.*
'
test_expect_success 'C proceeds at once' '
	asks C -- -i -f img && [ -s img ] && rm -f img
'

# A hierarchy: a shell that waits for two children.
mkfifo gate
bash -c 'sleep 1000 & sleep 1000 & read -r x <gate' </dev/null >out 2>&1 3>&- &
target=$!
wait_for '[ "$(pgrep -c -P $target sleep)" = 2 ]'
children=($(pgrep -P $target sleep))

test_expect_success 'the walk of a hierarchy leaves out what is ignored' '
	test_expect_status 1 asks i c Q -- -ri &&
	told "bash - pid = $target pgrp = $group ppid = $$ [cip]:i" &&
	told "sleep - pid = ${children[0]} pgrp = $group ppid = $target [cip]:c" &&
	grep -qE "^fd 0 .*:Q$" told
'
test_expect_success 'P prints all processes (figure 2-9)' '
	test_expect_status 1 asks P Q -- -ri &&
	told "sleep - pid = ${children[0]} pgrp = $group ppid = $target" &&
	told "sleep - pid = ${children[1]} pgrp = $group ppid = $target"
'
test_expect_success 'without -r there is one process' '
	test_expect_status 1 asks P Q -- -i && ! grep -q "^sleep" told
'
test_expect_success 'ignored processes are in the log' '
	asks c s s s "G ${children[1]}" i -- -r -n -L treelog &&
	grep -qx "${children[1]} sleep ignore" treelog &&
	grep -qx "${children[0]} sleep checkpoint" treelog
'
if [ -n "$(test_missing_programs script)" ]; then
	test_skip 'a terminal shows the same' 'script(1) is missing'
else
	test_expect_success 'a terminal shows the same' '
		printf "P\nQ\n" >answers &&
		script -qec "chkpnt -i $target" /dev/null <answers 3>&- | tr -d "\r" >told &&
		grep -qF "Chkpnt interactive mode." told &&
		grep -qF "bash - pid = $target pgrp = $group ppid = $$ [cip]:" told
	'
fi

test_done
