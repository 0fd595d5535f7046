#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The stasis command: check, verify, show and ls.
. "$(dirname "$0")/../lib/test-lib.sh"

# fails STATUS MESSAGE ARGUMENT...: stasis ends with that status and says "stasis: MESSAGE" first.
fails() {
	local status=$1 message="stasis: $2"
	shift 2
	test_expect_status "$status" stasis "$@" >out 2>err || {
		cat err
		return 1
	}
	[ "$(head -n 1 err)" = "$message" ] && return
	echo "stderr: $(cat err)"
	echo "wanted: $message"
	return 1
}

sleep 1000 </dev/null >/dev/null 2>&1 3>&- &
target=$!
wait_for '[ "$(cat /proc/$target/comm)" = sleep ]'

test_expect_success '--help goes to stdout' '
	stasis --help >out 2>err && [ ! -s err ] && head -n 1 out | grep -q "^Usage: stasis check "
'
test_expect_success 'wrong usage is told' '
	fails 2 "missing subcommand" && fails 2 "unknown subcommand '\''frob'\''" frob &&
	fails 2 "missing process id specification" check &&
	fails 2 "missing checkpoint file specification" verify &&
	fails 2 "missing checkpoint file specification" show &&
	fails 2 "unexpected argument '\''b'\''" show a b &&
	fails 2 "option -r does not go with subcommand '\''ls'\''" ls -r &&
	fails 1 "0: No such process" check 0 && fails 1 "nowhere: No such file or directory" ls nowhere
'
test_expect_success 'check confirms' '
	stasis check $target >out && [ "$(cat out)" = "sleep($target) is checkpointable" ] &&
	[ -z "$(stasis check -q $target)" ]
'
test_expect_success 'check --json is JSON' '
	stasis check --json $target >out &&
	grep -q "\"checkpointable\": true" out && grep -q "\"pid\": $target" out &&
	{ [ -n "$(test_missing_programs jq)" ] ||
		[ "$(jq -r ".processes[0].fds[0].path" out)" = /dev/null ]; }
'
test_expect_success 'check names what is in the way' '
	python3 -c "import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
os.dup2(s.fileno(), 7)
os.execvp(\"sleep\", [\"sleep\", \"1000\"])" </dev/null >/dev/null 2>&1 3>&- &
	target2=$!
	wait_for "[ \"\$(cat /proc/$target2/comm)\" = sleep ]" &&
	test_expect_status 3 stasis check $target2 >out &&
	grep -qE "^sleep\($target2\) fd 7: [a-z]+: ." out &&
	test_expect_status 3 stasis check --json $target2 >out &&
	grep -q "\"checkpointable\": false" out &&
	test_expect_status 3 chkpnt -n $target2 2>err &&
	grep -qE "^chkpnt: sleep\($target2\) fd 7: [a-z]+: ." err
'
test_expect_success 'chkpnt -n -v confirms' '
	chkpnt -nv $target >out && grep -qx "sleep($target) is checkpointable" out &&
	[ -z "$(find . -name "sleep.*")" ]
'
test_expect_success 'ls of an empty folder is empty' '
	mkdir images && [ -z "$(stasis ls images)" ] && [ "$(stasis ls --json images)" = "[]" ]
'

bash -c 'sleep 1000 & wait' </dev/null >/dev/null 2>&1 3>&- &
root=$!
wait_for '[ "$(pgrep -c -P $root sleep)" = 1 ]'
child=$(pgrep -P $root sleep)

test_expect_success 'ls tells roots from members' '
	chkpnt -r -d images $root && chkpnt -d images $child && : >images/other &&
	stasis ls images >out &&
	grep -qE "^root +$root +bash +[0-9]+  bash\.$root$" out &&
	grep -qE "^member +$child +sleep +[0-9]+  bash\.sleep\.$child$" out &&
	grep -qE "^root +$child +sleep +[0-9]+  sleep\.$child$" out &&
	! grep -q other out
'
test_expect_success 'show prints the processes of an image' '
	stasis show images/bash.$root >out &&
	grep -qE "^bash - pid = $root pgrp = [0-9]+ ppid = $$\$" out &&
	grep -qE "^sleep - pid = $child pgrp = [0-9]+ ppid = $root\$" out &&
	grep -qE "^fd 0 crw.* 1 3 /dev/null$" out
'
test_expect_success 'verify accepts what chkpnt wrote' '
	stasis verify images/bash.$root images/sleep.$child >out &&
	[ "$(cat out)" = "images/bash.$root: ok
images/sleep.$child: ok" ]
'
test_expect_success 'verify finds one changed byte' '
	cp images/sleep.$child images/damaged &&
	printf "\252" | dd of=images/damaged bs=1 seek=5000 conv=notrunc 2>/dev/null &&
	! cmp -s images/damaged images/sleep.$child &&
	test_expect_status 5 stasis verify -q images/damaged images/sleep.$child >out 2>err &&
	[ ! -s out ] && grep -q "^stasis: images/damaged: " err &&
	test_expect_status 5 restart -q images/damaged 2>err 3>&-
'

test_done
