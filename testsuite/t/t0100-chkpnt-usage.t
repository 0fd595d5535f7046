#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command line of chkpnt: each rule of the CONVEX guide with its message and exit status. Nothing
# here gets as far as stopping a process.
. "$(dirname "$0")/../lib/test-lib.sh"

# fails STATUS MESSAGE ARGUMENT...: chkpnt ends with that status and says "chkpnt: MESSAGE" first.
fails() {
	local status=$1 message="chkpnt: $2"
	shift 2
	test_expect_status "$status" chkpnt "$@" >out 2>err || {
		cat err
		return 1
	}
	[ ! -s out ] || {
		echo "stdout: $(cat out)"
		return 1
	}
	[ "$(head -n 1 err)" = "$message" ] && return
	echo "stderr: $(cat err)"
	echo "wanted: $message"
	return 1
}

# The signal is looked at before the pid.
takes_signals() {
	local s
	for s; do
		fails 1 "0: No such process" -k "$s" 0 || return 1
	done
}

sleep 1000 3>&- &
target=$!
gone=$(bash -c 'echo $$')

test_expect_success '--help goes to stdout' '
	chkpnt --help >out 2>err && [ ! -s err ] && head -n 1 out | grep -q "^Usage: chkpnt "
'
test_expect_success '--version names the command' '
	chkpnt --version | grep -qx "chkpnt (stasis) [0-9.]*"
'
test_expect_success 'a full device is noticed' '
	test_expect_status 1 chkpnt --help >/dev/full
'
test_expect_success 'an unknown option points to --help' '
	fails 2 "invalid option -- '\''Z'\''" -Z $target &&
	grep -qx "Try '\''chkpnt --help'\'' for more information." err
'
test_expect_success 'a pid is required' '
	fails 2 "missing process id specification"
'
test_expect_success 'one pid is enough' '
	fails 2 "unexpected argument '\''2'\''" $target 2
'
test_expect_success 'text that is no pid is refused' '
	fails 2 "abc: Invalid argument" abc &&
	fails 2 "12x: Invalid argument" 12x &&
	fails 2 ": Invalid argument" "" &&
	fails 2 " 1: Invalid argument" " 1" &&
	fails 2 "99999999999999999999: Invalid argument" 99999999999999999999
'
test_expect_success 'a pid without process is refused' '
	fails 1 "0: No such process" 0 &&
	fails 1 "-5: No such process" -- -5 &&
	fails 1 "$gone: No such process" $gone
'
test_expect_success 'chkpnt does not stop itself' '
	test_expect_status 2 bash -c "exec chkpnt \$\$" 2>err &&
	grep -qx "chkpnt: [0-9]*: Resource deadlock avoided" err
'
test_expect_success '-P takes a pidfd only' '
	fails 2 "invalid process file descriptor: fd 77: Bad file descriptor" -P 77 &&
	fails 2 "invalid process file descriptor: fd 0: Invalid argument" -P 0 &&
	fails 2 "invalid process file descriptor: fd x: Bad file descriptor" --pidfd=x &&
	fails 2 "unexpected argument '\''$target'\''" -P 0 $target
'
test_expect_success 'a signal is a name or a number' '
	fails 2 "invalid signal '\''FOO'\''" -k FOO $target &&
	fails 2 "invalid signal '\''65'\''" -K 65 $target &&
	fails 2 "invalid signal '\''-1'\''" --signal-root=-1 $target &&
	fails 2 "invalid signal '\''RTMIN+99'\''" --signal-all=RTMIN+99 $target &&
	fails 2 "invalid signal '\''SIGRTMIN-1'\''" -k SIGRTMIN-1 $target &&
	takes_signals KILL SIGKILL sigkill 9 0 64 USR1 RTMIN SIGRTMIN+1 RTMAX-2 rtmax
'
test_expect_success 'options that exclude each other are refused' '
	fails 2 "invalid option combination: -k option specified with -K" -k 9 -K 9 $target &&
	fails 2 "invalid option combination: -p option specified with -r or -j" -rp $target &&
	fails 2 "invalid option combination: -p option specified with -r or -j" -p -j $target &&
	fails 2 "invalid option combination: -I option specified with -L" -I a -L b $target &&
	fails 2 "invalid option combination: -I option specified with -i" -i -I a $target
'
test_expect_success 'the checkpoint directory must exist and be one' '
	: >file &&
	fails 1 "nowhere: No such file or directory" -d nowhere $target &&
	fails 1 "nowhere: No such file or directory" -f nowhere/x $target &&
	fails 1 "file: Not a directory" -d file $target
'
test_expect_success '-d and -f must mean the same directory' '
	mkdir -p a/chk b &&
	fails 2 "checkpoint directory \"a\" conflicts with checkpoint file path \"b/x\"" -d a -f b/x $target &&
	fails 2 "checkpoint directory \"$PWD/a\" conflicts with checkpoint file path \"chk/simul1\"" \
		-d "$PWD/a" -f chk/simul1 $target
'
test_expect_success 'directories are compared by their real path' '
	ln -sfn a link && : >a/x &&
	fails 1 "a/x: file exists" -d a -f "$PWD/link/../a/x" $target &&
	fails 1 "link/x: file exists" -d link -f a/x $target
'
test_expect_success 'an existing file is not overwritten' '
	echo precious >old && mkdir -p sub && ln -sfn nowhere sub/dangling &&
	fails 1 "old: file exists" -f old $target &&
	fails 1 "sub/dangling: file exists" -f sub/dangling $target &&
	fails 1 "old: file exists" -i -f old $target &&
	[ "$(cat old)" = precious ]
'
test_expect_success 'a path without file name is refused' '
	fails 2 "checkpoint file path \"sub/\" names no file" -f sub/ $target &&
	fails 2 "checkpoint file path \"..\" names no file" -f .. $target
'
test_expect_success 'a path that is too long is refused' '
	fails 2 "checkpoint file path exceeds max of 4095" -f $(printf "./%.0s" $(seq 2100))x $target &&
	fails 2 "checkpoint file name exceeds max of 255" -f $(printf %0256d 0) $target
'
test_expect_success 'the target was left alone' '
	[ "$(sed -n "s/^State:.\(.\).*/\1/p" /proc/$target/status)" = S ] &&
	[ -z "$(find . -name "sleep.*")" ]
'

test_done
