#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command line of restart: each rule of the CONVEX guide with its message and exit status.
. "$(dirname "$0")/../lib/test-lib.sh"

# fails STATUS MESSAGE ARGUMENT...: restart ends with that status and says "restart: MESSAGE" first.
fails() {
	local status=$1 message="restart: $2"
	shift 2
	test_expect_status "$status" restart "$@" >out 2>err 3>&- || {
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

# Descriptors that whoever started the test left open would show up.
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -le 3 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done

test_expect_success '--help goes to stdout' '
	restart --help >out 2>err && [ ! -s err ] && head -n 1 out | grep -q "^Usage: restart "
'
test_expect_success '--version names the command' '
	restart --version | grep -qx "restart (stasis) [0-9.]*"
'
test_expect_success 'an unknown option points to --help' '
	fails 2 "unrecognized option '\''--nope'\''" --nope x &&
	grep -qx "Try '\''restart --help'\'' for more information." err
'
test_expect_success 'one checkpoint file is required' '
	fails 2 "missing checkpoint file specification" &&
	fails 2 "unexpected argument '\''b'\''" a b
'
test_expect_success 'options that exclude each other are refused' '
	fails 2 "invalid option combination: -t option specified without -W" -t x &&
	fails 2 "invalid option combination: -z option specified with -k or -K" -z -k CONT x &&
	fails 2 "invalid option combination: -z option specified with -k or -K" -z -K 0 x &&
	fails 2 "invalid option combination: -k option specified with -K" -k 1 -K 1 x &&
	fails 2 "invalid option combination: -w option specified with -W" -wW x
'
test_expect_success 'a wrong signal is refused' '
	fails 2 "invalid signal '\''NOSUCH'\''" -k NOSUCH x &&
	fails 2 "invalid signal '\''-9'\''" --signal-all=-9 x
'
test_expect_success 'a file that is not there is named' '
	fails 1 "nofile: open failed: No such file or directory" nofile &&
	fails 1 "nodir/file: No such file or directory" nodir/file &&
	: >plain && fails 1 "plain: not a directory" plain/file
'
test_expect_success 'a file that is no checkpoint is refused' '
	fails 5 "plain: not checkpoint file format" plain &&
	head -c 100000 /dev/zero >zeros && fails 5 "zeros: not checkpoint file format" zeros &&
	fails 5 ".: not checkpoint file format" . &&
	mkfifo pipe && fails 5 "pipe: not checkpoint file format" pipe
'
test_expect_success 'a program is no checkpoint' '
	cp "$(command -v sleep)" program &&
	test_expect_status 5 restart program 2>err 3>&-
'
test_expect_success 'inherited descriptors are warned of, unless -q' '
	test_expect_status 1 restart nofile 2>err 3>&- 7</dev/null &&
	grep -qx "restart: warning: inherited open file descriptor 7" err &&
	test_expect_status 1 restart -q nofile 2>err 3>&- 7</dev/null &&
	[ "$(cat err)" = "restart: nofile: open failed: No such file or directory" ]
'
if test_is_root; then
	test_skip 'a file without read permission is denied' 'root may read it'
else
	test_expect_success 'a file without read permission is denied' '
		: >secret && chmod 0 secret &&
		fails 4 "secret: open failed: Permission denied" secret
	'
fi

test_done
