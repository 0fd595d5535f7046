#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# scheckpoint and contribs/scontrol: the words, texts and exit status of `scontrol checkpoint` up to 19.05.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
scontrol() {
	as_alice env PATH="$top_srcdir/contribs:$top_builddir:$PATH" scontrol "$@"
}
says() { # TEXT COMMAND...: exactly that on stderr, status 1, nothing on stdout
	local text=$1
	shift
	test_expect_status 1 "$@" >out 2>err || return
	[ ! -s out ] && [ "$(cat err)" = "$text" ] && return
	cat out err
	return 1
}

test_expect_success 'a cluster, its daemons and a job' '
	slurm_up 1 && stasisd_start && job=$(slurm_sbatch -o /dev/null --wrap "exec sleep 600") && slurm_await_state $job RUNNING
'
test_expect_success 'everything else is for the real scontrol' '
	scontrol show job $job | grep -q "JobId=$job" && scontrol ping | grep -q ctl && ! scontrol nonsense 2>err; grep -q "invalid keyword" err
'
test_expect_success 'too few, too many, unknown' '
	says "too few arguments for keyword:checkpoint" scontrol checkpoint &&
	says "too few arguments for keyword:checkpoint" scontrol ch able &&
	says "too many arguments for keyword:checkpoint" scontrol checkpoint create 1 a b c &&
	says "Invalid checkpoint operation: xyz" scontrol checkpoint xyz $job &&
	says "Invalid checkpoint operation: c" scontrol checkpoint c $job &&
	for id in 1x 1.2.3 x 1. .1 1.x "" last; do
		says "Invalid job step name" scontrol checkpoint able "$id" || break
	done && [ "$id" = last ]
'
test_expect_success 'options, each where it belongs' '
	bad() { says "scontrol: error: Invalid input: $1
scontrol: error: Request aborted" scontrol checkpoint $2 $job "$1"; }
	bad maxwait=x create && bad MaxWait=-1 create && bad MaxWait=70000 vacate && bad Stick create && bad MaxWait=1 able &&
	bad StickToNodes vacate && bad ImageDir=/x enable && bad MaxWait=3 restart && bad Stic restart
'
test_expect_success 'abbreviations, in any case' '
	scontrol CHECK A $job | grep -qx Yes && scontrol ch dis $job && scontrol ch AB $job | grep -qx No &&
	says "scontrol_checkpoint error: Requested operation is presently disabled" scontrol ch cr $job &&
	scontrol -Q ch cr $job 2>err; [ $? = 1 ] && [ ! -s err ] && scontrol ch enab $job && scontrol ch er $job | grep -qx "error(0): "
'
test_expect_success 'errors in the old words' '
	says "scontrol_checkpoint error: Invalid job id specified" scontrol checkpoint able 4711 &&
	says "scontrol_checkpoint error: Invalid job id specified" scontrol checkpoint able $job.3 &&
	says "scontrol_checkpoint error: Job is not finished" scontrol checkpoint restart $job &&
	says "scontrol_checkpoint error: Requested operation not supported on this system" scontrol checkpoint rest $job.0 StickToNodes
'
test_expect_success 'create returns at once, able tells since when, error the outcome' '
	scontrol checkpoint create $job MaxWait=60 imagedir="$slurm_dir/ckpt" >out && [ ! -s out ] &&
	wait_for "scontrol checkpoint able $job | grep -qx Yes" && ls "$slurm_dir/ckpt/$job/gen.1/script.ckpt" &&
	scheckpoint --json error $job >out && cat out && grep -q "\"rc\":0" out && grep -q "\"error_code\":0" out
'
test_expect_success 'list tells of the last checkpoint, also as JSON' '
	scheckpoint list $job >out && cat out && grep -qE "^20..-..-..T..:..:..  [1-9][0-9]* bytes  1 tasks  $slurm_dir/ckpt/$job/gen.1$" out &&
	scheckpoint --json list $job >out && cat out && grep -q "\"folder\":\"$slurm_dir/ckpt/$job/gen.1\"" out && grep -q "\"tasks\":1" out
'
test_expect_success 'what cannot be saved is named, and the job runs on' '
	srun=$(slurm_sbatch -o /dev/null --wrap "srun --pty sleep 600; true") && wait_for "as_root squeue -h -s -j $srun -o %i | grep -qx $srun.0" &&
	test_expect_status 1 scheckpoint --wait vacate $srun 2>err; cat err; grep -q "has a pseudo-terminal" err &&
	scheckpoint error $srun | grep "error(2036): .*has a pseudo-terminal" && [ "$(slurm_state $srun)" = RUNNING ]
'
test_done
