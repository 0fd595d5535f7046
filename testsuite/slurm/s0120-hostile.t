#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Requests as they should not be: garbage, too long, too slow, unsigned, altered, replayed, for another node,
# of somebody else. The daemon lives, does not grow, and no job notices.
. "$(dirname "$0")/slurm-lib.sh"

[ -z "$(test_missing_programs python3)" ] || test_skip_all 'needs python3'
hostile() { # WHO WHAT [ARGUMENT...]
	local who=$1
	shift
	on ctl "$who" timeout 60 python3 "$top_srcdir/testsuite/slurm/hostile.py" n1 6821 "$@"
}
answers() { # TEXT COMMAND...
	local want=$1 got
	shift
	got=$("$@" | xargs)
	[ "$got" = "$want" ] && return
	echo "$*: '$got', not '$want'"
	return 1
}
daemon_kb() {
	on n1 root sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' /proc/"$(stasisd_pid n1)"/status
}

# What is freed stays in quarantine there. Their reports go where the daemon and its workers write.
has_sanitizers() {
	grep -q '^SANITIZE_CFLAGS = .*-fsanitize' "$top_builddir/Makefile"
}

test_expect_success 'a cluster and a job' '
	slurm_up 1 && stasisd_start && job=$(slurm_sbatch -o /dev/null --wrap "exec sleep 600") && slurm_await_state $job RUNNING &&
	able="op=able,step=4294967294,job=$job,node=n1" && answers "rc=0 start=0" hostile alice sealed $able && daemon=$(stasisd_pid n1) && before=$(daemon_kb)
'
test_expect_success 'without a credential nobody is answered' '
	answers closed hostile alice plain "$able" && answers closed hostile root plain "$able" && answers closed hostile alice plain "op=prepare,node=n1"
'
test_expect_success 'an altered one, one that comes again, one for another node' '
	answers closed hostile alice altered "$able" && answers "rc=0 start=0 closed" hostile alice replay "$able" &&
	answers closed hostile alice sealed "op=able,step=4294967294,job=$job,node=n2" && answers closed hostile alice sealed "op=able,step=4294967294,job=$job"
'
test_expect_success 'somebody else, also one who claims to be a daemon' '
	answers "rc=2002" hostile mallory sealed "op=vacate,step=4294967294,job=$job,node=n1" &&
	prepare="op=prepare,node=n1,job=$job,step=4294967291,uid=4243,gid=65534,vacate=1,folder=/tmp,draft=.draft-0000000000000001,final=gen.1" &&
	answers closed hostile mallory sealed "$prepare" && answers closed hostile alice sealed "$prepare" && [ "$(slurm_state $job)" = RUNNING ]
'
test_expect_success 'nonsense in a good envelope' '
	answers "rc=22" hostile alice sealed "op=nothing,job=$job,node=n1" && answers "rc=2017" hostile alice sealed "op=able,job=0,node=n1" &&
	answers "rc=22 message=job is not a number up to 4294967295" hostile alice sealed "op=able,job=x,node=n1" &&
	answers closed hostile alice sealed "op=able,op=vacate,job=$job,node=n1" && answers closed hostile alice sealed "x"
'
test_expect_success 'too long' 'answers closed hostile mallory huge'
test_expect_success 'garbage, two thousand times' '
	answers sent hostile mallory garbage 2000 && answers "rc=0 start=0" hostile alice sealed "$able"
'
test_expect_success 'three hundred that say nothing: others are served, they are cut off' '
	answers "rc=0 start=0 still open: 0" hostile alice slow 300 "$able"
'
test_expect_success 'two hundred who ask at the same time are all answered' '
	answers "200 answered" hostile alice crowd 200 "$able"
'
test_expect_success 'over the Unix socket: who asks is what the kernel says' '
	on n1 mallory "$top_builddir/scheckpoint" able $job 2>err; grep -q "Access/permission denied" err && on n1 alice "$top_builddir/scheckpoint" able $job | grep -qx Yes
'
test_expect_success 'it is the same daemon, it has not grown, and left no process; the job runs' '
	[ "$(stasisd_pid n1)" = $daemon ] && wait_for "[ \$(on n1 root pgrep -c -x stasisd) -le 2 ]" && after=$(daemon_kb) && echo "$before KB, $after KB" &&
	{ has_sanitizers || { [ $((after - before)) -lt 8000 ] && [ "$after" -lt 30000 ]; }; } && [ "$(slurm_state $job)" = RUNNING ] &&
	[ "$(on n1 root find /proc/$daemon/fd | wc -l)" -lt 20 ]
'
test_expect_success 'no sanitizer has complained' '
	! grep -E "AddressSanitizer|runtime error" "$slurm_dir"/log/stasisd-*.log
'
[ "$test_failed" = 0 ] || tail -50 "$slurm_dir/log/journal" | sed "s,^,# ," >&3
test_done
