#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How many checkpoints are kept; what is whole stays; a damaged one is passed over; a job that ends at once after every
# restart is held.
. "$(dirname "$0")/slurm-lib.sh"
. "$(dirname "$0")/work-lib.sh"

home=$slurm_dir/home/alice
gens() { # FOLDER: the numbers, in order
	find "$1" -maxdepth 1 -name 'gen.*' | sed 's/.*gen\.//' | sort -n | paste -sd' '
}
create() { # TARGET [TIMES]
	local i
	for ((i = 0; i < ${2:-1}; i++)); do
		scheckpoint --wait create "$1" || return
	done
}
damage() { # IMAGE: its end is lost
	truncate -s -5000 "$1"
}
said() { # TEXT: in the journal
	grep -qF "$1" "$slurm_dir/log/journal"
}

test_expect_success 'a cluster with the plugin' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && echo RequeueExit=9 >"$slurm_dir/slurm.conf.more" && slurm_up 1 &&
	printf "%s\n" "journal: $slurm_dir/log/journal" "max-wait: 120" "max-keep: 4" "restarts: 1" >"$slurm_dir/etc/stasis-n1.yaml" && stasisd_start
'
test_expect_success 'wrong numbers are refused' '
	for n in 0 -1 two 1001 2x ""; do
		as_alice sbatch --checkpoint-keep="$n" --wrap true 2>err && break; cat err
		grep -q "Invalid --checkpoint-keep specification" err || break
		n=last
	done && [ "$n" = last ]
'
test_expect_success 'as many as the user wants, at most what the administrator allows, two by default' '
	for k in 3 1000 "" ; do
		work_fresh && job=$(slurm_sbatch -o "$home/out" ${k:+--checkpoint-keep=$k} work.sh) && work_await 2 && create $job 5 && gens "$home/$job" || break
		: >"$home/finish" && slurm_await_state $job COMPLETED || break
	done >out; cat out; printf "3 4 5\n2 3 4 5\n4 5\n" | cmp - out
'
test_expect_success 'one that is damaged does not count: what is whole stays' '
	work_fresh && job=$(slurm_sbatch -o "$home/out" work.sh) && work_await 2 && create $job 2 && damage "$home/$job/gen.2/script.ckpt" &&
	create $job && [ "$(gens "$home/$job")" = "1 2 3" ] && create $job && [ "$(gens "$home/$job")" = "3 4" ]
'
test_expect_success 'the newest one is damaged when the job is restarted: it goes on from the one before, and says so' '
	scheckpoint --wait vacate $job && slurm_await_state $job PENDING && [ "$(gens "$home/$job")" = "4 5" ] && damage "$home/$job/gen.5/script.ckpt" &&
	before=$(work_done) && scheckpoint restart $job && work_await $((before + 2)) && : >"$home/finish" && slurm_await_state $job COMPLETED &&
	cat "$home/out" && grep "stasis-shepherd: restarted from the older checkpoint .*/$job/gen.4/script.ckpt: image .script.ckpt.: has " "$home/out" &&
	said "job=$job restarted from the older checkpoint 4: " && sed -i "/^stasis-shepherd: /d" "$home/out" && work_check $job
'
test_expect_success 'tasks of a step go back together' '
	work_fresh && { as_alice srun -D "$home" -n2 -l ./work.sh >"$home/out" </dev/null & } && srun=$! && work_await 2 &&
	job=$(as_root squeue -h -t R -o %A) && create $job.0 && scheckpoint --wait vacate $job.0; wait $srun; [ "$(gens "$home/$job.0")" = "1 2" ] &&
	damage "$home/$job.0/gen.2/task.1.ckpt" && : >"$home/finish" &&
	as_alice srun -D "$home" -n2 -l --restart-dir="$home/$job.0" true >out2 2>&1 </dev/null; cat out2
	[ "$(grep -c ": stasis-shepherd: restarted from the older checkpoint .*/$job.0/gen.1/task.[01].ckpt: image .task.1.ckpt.: has " out2)" = 2 ] && [ "$(grep -c worked out2)" = 2 ]
'
test_expect_success 'a job that ends at once after each restart is held' '
	work_fresh && job=$(slurm_sbatch -o "$home/out" work.sh) && work_await 2 && scheckpoint --wait vacate $job && slurm_await_state $job PENDING &&
	: >"$home/poison" && scheckpoint restart $job && wait_for "grep -q \"stasis-shepherd: ended at once after each of 1 restarts from checkpoint 1; held\" \"$home/out\"" 60 &&
	slurm_await_state $job PENDING && as_root scontrol show job $job >show && cat show && grep -q "Reason=job_requeued_in_held_state\|Reason=JobHeld" show &&
	grep -q "AdminComment=stasis: ended at once after each of 1 restarts from checkpoint 1" show && said "job=$job ended at once after each of 1 restarts from checkpoint 1; "
'
test_expect_success 'one that is ended by others each time is not' '
	: >"$home/heeding" && for n in 1 2; do
		rm -f "$home/poison" && as_alice scontrol release $job; slurm_await_state $job RUNNING && wait_for "[ -e \"$home/$job/.tries\" ]" &&
		before=$(work_done) && work_await $((before + 1)) && as_alice scontrol requeue $job && slurm_await_state $job PENDING || break
		as_alice scontrol update jobid=$job starttime=now+2
	done && [ "$n" = 2 ] && slurm_await_state $job RUNNING && as_alice scontrol requeuehold $job && slurm_await_state $job PENDING
'
test_expect_success 'released, it has new tries' '
	rm -f "$home/poison" "$home/signals" && : >"$home/finish" && as_alice scontrol release $job && slurm_await_state $job COMPLETED && cat "$home/out" && [ ! -e "$home/$job/.tries" ] &&
	sed -i "/^stasis-shepherd: /d" "$home/out" && work_check $job
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
