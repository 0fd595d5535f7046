#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pipes that are standard input and output of the whole tree, and lead out of it.
. "$(dirname "$0")/../lib/test-lib.sh"

# Counts to 3000 on stdout, in a child too, and waits in the middle for the file "go" (with its input
# redirected for a moment, as shells do); then says on stderr what was its input.
cat >count.sh <<'END'
for ((i = 1; i <= 1000; i++)); do echo $i; done
echo $$ >root
: >ready
until [ -e go ]; do read -r -t 0.01 <>fifo; done
for ((; i <= 2000; i++)); do echo $i; done
(for ((; i <= 3000; i++)); do echo $i; done)
cat >&2
END
mkfifo fifo
seq 3000 >want
count_start() {
	rm -f go ready
	: >out
	: >err
	(sleep 100 | setsid bash count.sh 2>>err | exec cat >>out) 3>&- &
	wait_for '[ -e ready ] && [ "$(wc -l <out)" = 1000 ]' && root=$(cat root)
}
count_chkpnt_kill() { # NAME
	chkpnt -r --external=stdio -K KILL -f "$1" "$root" && wait_for "! kill -0 $root 2>/dev/null"
}
end_all() {
	test_kill_all 2>/dev/null
	wait
}

test_expect_success 'without --external=stdio they are an obstacle' '
	count_start && test_expect_status 3 chkpnt -r -f img "$root" 2>msg; cat msg
	grep -qE "pipe (source|destination) is outside" msg
'
test_expect_success 'with it the program goes on undisturbed' '
	chkpnt -r --external=stdio -f img "$root" && : >go && wait_for "cmp -s out want"
'
end_all
test_expect_success 'a restart reads and writes what is there instead' '
	count_start && count_chkpnt_kill img2 && : >go &&
	printf "new input\n" | restart img2 3>&- | cat >out2 && cat out out2 | cmp - want &&
	grep -q "^new input" err
'
end_all
test_expect_success 'three generations of it' '
	count_start && for g in 3 4; do
		count_chkpnt_kill img$g || break
		(restart -v img$g 2>msg$g </dev/null 3>&- | exec cat >>out) 3>&- &
		wait_for "grep -q restarted msg$g"
	done && : >go && wait_for "cmp -s out want"
'
end_all
test_expect_success 'input that is not read yet is an obstacle' '
	count_start && count_chkpnt_kill img5 || false
	((printf "again\n"; sleep 100) | restart -v img5 2>msg5 | exec cat >>out3) 3>&- &
	wait_for "grep -qs restarted msg5" &&
	test_expect_status 3 chkpnt -r --external=stdio -f img6 "$root" 2>msg2; cat msg2
	grep -q "6 bytes of input from outside of selected processes are not read yet" msg2
'
end_all
test_expect_success 'what cannot take their place is refused, before anything runs' '
	test_expect_status 1 restart img5 </dev/null 1</dev/null 2>msg; cat msg
	grep -q "that of restart is not open for writing" msg
'
test_done
