#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checkpoints of steps and scripts by scheckpoint: one node, several, all or none; who may, and when not.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >count.sh <<'END'
# Counts ten a second into a file of its own; ends when "go" is there.
for ((i = 1; ; i++)); do
	echo $i >>count.$SLURM_PROCID
	[ ! -e go ] || break
	read -r -t 0.1 <>fifo
done
echo "task $SLURM_PROCID counted to $i"
END
count_start() { # SRUN-OPTION...: sets job and step 0
	as_alice rm -f "$home/go" "$home"/count.*
	(cd "$home" && [ -p fifo ] || mkfifo -m 666 fifo && cp "$test_scratch/count.sh" .)
	as_alice srun -D "$home" -J count "$@" bash count.sh </dev/null >"$test_scratch/srun.out" 2>&1 &
	srun=$!
	wait_for 'job=$(as_root squeue -h -n count -t R -o %A | head -1) && [ -n "$job" ]' 30 &&
		wait_for '[ "$(cat "$home"/count.* | wc -l)" -gt 3 ]' 30
}
count_goes_on() {
	local n
	n=$(cat "$home"/count.* | wc -l)
	wait_for "[ \$(cat \"$home\"/count.* | wc -l) -gt $n ]"
}
count_end() {
	: >"$home/go"
	wait $srun
}

test_expect_success 'a cluster and its daemons' 'slurm_up 3 && stasisd_start'
test_expect_success 'a step on one node: saved, and runs on' '
	count_start -n1 && scheckpoint able $job.0 >out && grep -qx Yes out &&
	scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt" &&
	ls -lR "$slurm_dir/ckpt" && [ "$(stat -c %U:%a "$slurm_dir/ckpt/$job.0/gen.1/task.0.ckpt")" = UNKNOWN:600 ] &&
	[ "$(stat -c %u "$slurm_dir/ckpt/$job.0/gen.1/task.0.ckpt")" = 4243 ] &&
	stasis verify "$slurm_dir/ckpt/$job.0/gen.1/task.0.ckpt" && count_goes_on &&
	scheckpoint error $job.0 >out && grep -qx "error(0): " out
'
test_expect_success 'two generations are kept' '
	scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt" &&
	scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt" &&
	[ "$(ls -A "$slurm_dir/ckpt/$job.0" | tr "\n" " ")" = "gen.2 gen.3 " ] && count_goes_on
'
test_expect_success 'disabled as often as enabled, with a floor' '
	scheckpoint dis $job.0 && scheckpoint dis $job.0 && scheckpoint enable $job.0 &&
	scheckpoint able $job.0 >out && grep -qx No out &&
	test_expect_status 1 scheckpoint create $job.0 2>err && cat err &&
	grep -qx "scontrol_checkpoint error: Requested operation is presently disabled" err &&
	scheckpoint en $job.0 && scheckpoint en $job.0 && scheckpoint able $job.0 >out && grep -qx Yes out &&
	scheckpoint disable $job.0 && scheckpoint able $job.0 >out && grep -qx No out && scheckpoint enable $job.0
'
test_expect_success 'a stranger may do nothing, root anything' '
	for op in able create vacate disable enable error; do
		test_expect_status 1 as_mallory "$top_builddir/scheckpoint" $op $job.0 2>err || break
		grep -qx "scontrol_checkpoint error: Access/permission denied" err || break
	done && [ $op = error ] && as_root "$top_builddir/scheckpoint" able $job.0 | grep -qx Yes
'
test_expect_success 'a folder that the user may not write to is no way to get root to do it' '
	install -d -m 755 "$slurm_dir/roots" && ls -ld "$slurm_dir/roots" &&
	test_expect_status 1 scheckpoint --wait create $job.0 ImageDir="$slurm_dir/roots" 2>err; cat err
	grep -q "Permission denied" err && [ -z "$(ls -A "$slurm_dir/roots")" ] && count_goes_on &&
	scheckpoint error $job.0 >out && grep -q "^error(13): .*Permission denied" out
'
test_expect_success 'it ended as it would have' 'count_end && grep "task 0 counted to" srun.out'
test_expect_success 'an ended step, an ended job, no job, a waiting job' '
	test_expect_status 1 scheckpoint create $job 2>err && grep -q "already completing or completed" err &&
	test_expect_status 1 scheckpoint create 999999 2>err && grep -q "Invalid job id specified" err &&
	held=$(slurm_sbatch -H --wrap "true") && test_expect_status 1 scheckpoint vacate $held 2>err &&
	grep -q "Job is pending execution" err && slurm_cancel $held &&
	other=$(slurm_sbatch --wrap "exec sleep 600") && slurm_await_state $other RUNNING &&
	test_expect_status 1 scheckpoint able $other.7 2>err && grep -q "Invalid job id specified" err && slurm_cancel $other
'
test_expect_success 'a step of six tasks on three nodes: all saved, all run on' '
	count_start -N3 -n6 && scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt" &&
	[ "$(ls "$slurm_dir/ckpt/$job.0/gen.1")" = "$(printf "task.%s.ckpt\n" 0 1 2 3 4 5)" ] && count_goes_on
'
test_expect_success 'the journal tells the phases, and what it took in messages' '
	grep -E "create job=$job step=0 done: .*, 6 tasks, stopped [1-9][0-9]* us \(freeze [0-9]+, save [1-9][0-9]*, resume [1-9][0-9]*\), commit [1-9][0-9]* us, round [0-9]+ ms: 3 nodes, depth 1, 12 messages$" "$slurm_dir/log/journal"
'
test_expect_success 'a node whose daemon is gone: nothing is saved, all run on' '
	on n2 root kill -KILL $(stasisd_pid n2) &&
	test_expect_status 1 scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt" 2>err; cat err
	grep -q "stasisd of n2" err && [ "$(ls -A "$slurm_dir/ckpt/$job.0")" = gen.1 ] && count_goes_on &&
	wait_for "! grep -sh \"TracerPid:.[1-9]\" /proc/[0-9]*/status" 10
'
test_expect_success 'back again it knows its tasks; vacated, they end, on all nodes' '
	stasisd_start n2 && scheckpoint --wait vacate $job.0 ImageDir="$slurm_dir/ckpt" &&
	[ "$(ls "$slurm_dir/ckpt/$job.0/gen.2")" = "$(printf "task.%s.ckpt\n" 0 1 2 3 4 5)" ] &&
	{ wait $srun; [ $? = 137 ]; } && cat srun.out && stasis verify "$slurm_dir/ckpt/$job.0/gen.2"/task.?.ckpt
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
