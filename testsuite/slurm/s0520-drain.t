#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --checkpoint-on=drain: jobs leave nodes that are to be drained. What the administrator allows and has as default;
# jobs that may not be requeued; steps without a script.
. "$(dirname "$0")/slurm-lib.sh"
. "$(dirname "$0")/work-lib.sh"

home=$slurm_dir/home/alice
configure() { # LINE...
	local n
	for n in n1 n2; do
		printf '%s\n' "journal: $slurm_dir/log/journal" "watch: 1" "$@" >"$slurm_dir/etc/stasis-$n.yaml"
	done
}
reconfigure() { # LINE...: of daemons that run; both have read it when this returns
	local before
	before=$(grep -c 'configuration read again' "$slurm_dir/log/journal")
	configure "$@" && on n1 root pkill -HUP -o -x stasisd && on n2 root pkill -HUP -o -x stasisd &&
		wait_for "[ \"\$(grep -c 'configuration read again' '$slurm_dir/log/journal')\" = $((before + 2)) ]"
}
drain() { as_root scontrol update nodename="$1" state=drain reason=test; }
resume() { as_root scontrol update nodename="$1" state=resume; }
watched() { # JOB: time of the last look, by n1
	on n1 root sed -n 's/^watched=//p' "/run/stasis/state/$1"
}

test_expect_success 'a cluster with the plugin' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 2 && configure && stasisd_start
'
test_expect_success 'its node is to be drained: a job goes on on the other one' '
	work_fresh && job=$(slurm_sbatch -x n2 -o "$home/out" --checkpoint-on=drain work.sh) && work_await 5 &&
	drain n1 && slurm_await_state $job PENDING && as_alice scontrol update jobid=$job excnodelist= && work_await_restart $job 1 &&
	as_root scontrol show job $job | grep -q BatchHost=n2 && : >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job; was=$?
	slurm_cancel $job; resume n1 && [ $was = 0 ]
'
test_expect_success 'what the administrator does not allow is not done until he does' '
	reconfigure "checkpoint-on-allowed: limit" && work_fresh && job=$(slurm_sbatch -w n1 -o "$home/out" --checkpoint-on=LIMIT,drain work.sh) &&
	work_await 5 && drain n1 && since=$(date +%s) && wait_for "[ \"\$(watched $job)\" -ge $((since + 2)) ]" && [ "$(slurm_state $job)" = RUNNING ] &&
	! grep "drain job=$job" "$slurm_dir/log/journal" && reconfigure "checkpoint-on-allowed: drain" && slurm_await_state $job PENDING &&
	grep "drain job=$job step=-1: 0" "$slurm_dir/log/journal"; was=$?
	slurm_cancel $job; resume n1 && [ $was = 0 ]
'
test_expect_success 'jobs that do not say have his default; what may not be requeued is saved, and runs on' '
	reconfigure "checkpoint-on: drain" && work_fresh && job=$(slurm_sbatch -w n1 --no-requeue -o "$home/out" work.sh) && work_await 5 &&
	drain n1 && wait_for "grep -q \"drain job=$job step=-1: 0\" \"$slurm_dir/log/journal\"" && [ -e "$home/$job/gen.1/script.ckpt" ] &&
	grep "drain job=$job step=-1: create only: it was submitted with --no-requeue" "$slurm_dir/log/journal" &&
	: >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job; was=$?
	resume n1 && [ $was = 0 ]
'
test_expect_success 'who says none has none' '
	work_fresh && job=$(slurm_sbatch -w n1 -o "$home/out" --checkpoint-on=none work.sh) && work_await 5 &&
	other=$(slurm_sbatch -w n1 -o /dev/null --wrap "exec sleep 600") && slurm_await_state $other RUNNING &&
	drain n1 && slurm_await_state $other PENDING && [ "$(slurm_state $job)" = RUNNING ] &&
	: >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job; was=$?
	slurm_cancel $other; resume n1 && [ $was = 0 ]
'
test_expect_success 'a step without a script is checkpointed and ended; srun --restart-dir goes on' '
	work_fresh && { as_alice srun -D "$home" -w n1 --checkpoint-on=drain ./work.sh >"$home/out" </dev/null & } && srun=$! &&
	work_await 5 && job=$(as_root squeue -h -t R -o %A) && drain n1 && { wait $srun; [ $? = 137 ]; } && : >"$home/finish" &&
	as_alice srun -D "$home" -w n2 --restart-dir="$home/$job.0" true >>"$home/out" </dev/null && work_check $job; was=$?
	resume n1 && [ $was = 0 ]
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
