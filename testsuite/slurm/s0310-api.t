#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each function of libslurmckpt on a live cluster: success, and every error of its manual page.
. "$(dirname "$0")/slurm-lib.sh"

[ -z "$(test_missing_programs cc)" ] && [ -e /usr/include/slurm/slurm.h ] || test_skip_all 'needs a C compiler and libslurm-dev'
export ASAN_OPTIONS=detect_leaks=0

lib=$top_builddir/.libs
# call WHO WANT OPERATION JOB STEP [ARGUMENT...]: "return errno [what it gave back]"
call() {
	local who=$1 want=$2 got
	shift 2
	got=$(on ctl "$who" env LD_LIBRARY_PATH="$lib" "$PWD/api-calls" "$@" 2>err)
	# shellcheck disable=SC2053
	[[ $got == $want ]] && return
	echo "$*: '$got', not '$want'"
	return 1
}
NO_VAL=0xfffffffe BATCH=0xfffffffb
hung() {
	as_alice srun -D "$home" -J "$1" -n1 python3 -c '
import time
x = b"x" * (40 << 20)
open("big", "w").close()
time.sleep(600)' </dev/null >/dev/null 2>&1 &
}
home=$slurm_dir/home/alice

test_expect_success 'a program of those days builds, with both libraries' '
	cc -Wall -Werror -I"$top_srcdir/include" -o api-calls "$top_srcdir/testsuite/slurm/api-calls.c" -L"$lib" -lslurmckpt -lslurm &&
	cc -Wall -Werror -I"$top_srcdir/include" -o api-calls "$top_srcdir/testsuite/slurm/api-calls.c" -L"$lib" -lslurm -lslurmckpt &&
	! LD_LIBRARY_PATH="$lib" ldd "$lib/libslurmckpt.so" | grep -q libslurm.so
'
test_expect_success 'a cluster, a step, a batch job, a job that waits, one that has ended' '
	slurm_plugin && slurm_up 2 && stasisd_start && mkdir -m 1777 ck ck2 && hung steps &&
	batch=$(slurm_sbatch -o /dev/null --wrap "exec sleep 600") && held=$(slurm_sbatch -H --wrap true) &&
	over=$(slurm_sbatch -o /dev/null --wrap true) && slurm_await_state $over COMPLETED && slurm_await_state $batch RUNNING &&
	wait_for "[ -e $home/big ]" 60 && step=$(as_root squeue -h -n steps -o %A)
'
test_expect_success 'able, disable, enable' '
	call alice "0 0 0" able $step 0 && call alice "0 0" disable $step 0 && call alice "2037 2037" able $step 0 &&
	call alice "2037 2037" create $step 0 "$PWD/ck" && call alice "0 0" enable $step 0 && call alice "0 0" enable $step 0 &&
	call alice "0 0 0" able $step 0 && call alice "0 0 0" able $batch $NO_VAL && call alice "0 0 0" able $batch $BATCH
'
if stasisd_has_faults; then
	test_expect_success 'create returns at once; able tells since when; a second one is EALREADY' '
		stasisd_restart_with stop:coordinate.before-commit && call alice "0 0" create $step 0 "$PWD/ck" &&
		wait_for "stasisd_stopped n1 || stasisd_stopped n2" && call alice "0 0 [1-9]*" able $step 0 &&
		call alice "114 114" create $step 0 "$PWD/ck" && stasisd_continue && wait_for "call alice \"0 0 0\" able $step 0 >/dev/null" 60 &&
		stasisd_restart_with "" && call alice "0 0 0 *" error $step 0 && stasis verify ck/$step.0/gen.1/task.0.ckpt
	'
else
	test_skip 'create returns at once; able tells since when' 'no fault points in this build'
fi
test_expect_success 'create, and its outcome' '
	call alice "0 0" create $step 0 "$PWD/ck2" && wait_for "[ -e ck2/$step.0/gen.1/task.0.ckpt ]" 60 &&
	wait_for "call alice \"0 0 0\" able $step 0 >/dev/null" 60 && call alice "0 0 0 *" error $step 0
'
test_expect_success 'outcomes: the highest code is kept, and its message' '
	call alice "0 0" complete $step 0 0 5 "five" && call alice "0 0" complete $step 0 0 3 "three" &&
	call alice "0 0 5 ?five?" error $step 0 && call alice "0 0" task_complete $step 0 9 "nine" && call alice "0 0 9 ?nine?" error $step 0 &&
	call alice "-1 2021" complete $step 0 12345 99 "of another operation" && call alice "0 0 9 ?nine?" error $step 0 &&
	call alice "-1 2017" complete $batch $NO_VAL 0 1 "a script" && call alice "22 22" error-null $step 0
'
test_expect_success 'tasks waits for the outcome' '
	call alice "0 0" tasks $step 0 "$PWD/ck" && ls ck/$step.0/gen.*/task.0.ckpt && call alice "0 0 0 *" error $step 0
'
test_expect_success 'what there is not' '
	for op in able disable enable create vacate restart error; do
		call alice "2017 2017*" $op 999999 0 || break
	done && [ $op = error ] && call alice "2017 2017" create $step 7 && call alice "2017 2017" requeue 999999 0 &&
	call alice "-1 2017" complete 999999 0 0 1 "x" && call alice "2017 2017 0 ??" error 999999 0
'
test_expect_success 'what is not his' '
	for op in able disable enable create vacate restart error tasks; do
		call mallory "2002 2002*" $op $step 0 || break
	done && [ $op = tasks ] && call mallory "2002 2002" requeue $batch 0 && call mallory "-1 2002" complete $step 0 0 1 "x" &&
	call root "0 0 0" able $step 0
'
test_expect_success 'not yet, not any more, not that way' '
	call alice "2024 2024" create $held $NO_VAL && call alice "2024 2024" vacate $held $BATCH && call alice "2024 2024" able $held $NO_VAL &&
	call alice "2021 2021" create $over $NO_VAL && call alice "2036 2036" requeue $step 0 && call alice "2036 2036" restart $step 0 &&
	call alice "2088 2088" restart $batch $NO_VAL && call alice "22 22" create $step 0 "a
b"
'
test_expect_success 'a suspended job: by the job and by the step' '
	as_root scontrol suspend $batch && slurm_await_state $batch SUSPENDED && call alice "2077 2077" create $batch $NO_VAL &&
	call alice "2037 2037" create $batch 0 && as_root scontrol resume $batch && slurm_await_state $batch RUNNING
'
test_expect_success 'vacate a batch job, restart it; requeue it' '
	call alice "0 0" vacate $batch $BATCH && slurm_await_state $batch PENDING && call alice "0 0" restart $batch $NO_VAL &&
	slurm_await_state $batch RUNNING && wait_for "[ -n \"\$(on n1 root pgrep -x stasis-shepherd; on n2 root pgrep -x stasis-shepherd)\" ]" &&
	wait_for "call alice \"0 0\" requeue $batch 0 >/dev/null" && slurm_await_state $batch PENDING && slurm_cancel $batch
'
test_expect_success 'vacate a step' '
	call alice "0 0" vacate $step 0 "$PWD/ck" && wait_for "[ -z \"\$(as_root squeue -h -s -j $step -o %i | grep $step.0)\" ]" 60 && stasis verify $(ls -d ck/$step.0/gen.* | tail -1)/task.0.ckpt
'
test_expect_success 'without a daemon: -1' '
	other=$(slurm_sbatch -o /dev/null --wrap "exec sleep 600") && slurm_await_state $other RUNNING &&
	for n in n1 n2; do on $n root kill $(stasisd_pid $n); done && call alice "-1 *" able $other $NO_VAL
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
