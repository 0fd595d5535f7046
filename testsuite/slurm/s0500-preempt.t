#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --checkpoint-on=preempt: a job that Slurm preempts is checkpointed within its time of grace and goes on later.
. "$(dirname "$0")/slurm-lib.sh"
. "$(dirname "$0")/work-lib.sh"

home=$slurm_dir/home/alice

# The high job needs every node, so it preempts; true as soon as it has ended.
preempt() {
	local high
	high=$(slurm_sbatch -p high -N2 -n8 -o /dev/null --wrap true) && slurm_await_state "$high" COMPLETED 40
}

test_expect_success 'a cluster with the plugin; daemons that ask Slurm but once in an hour' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 2 &&
	for n in n1 n2; do
		printf "journal: %s/log/journal\nwatch: 3600\n" "$slurm_dir" >"$slurm_dir/etc/stasis-$n.yaml"
	done && stasisd_start
'
test_expect_success 'wrong lists are refused' '
	for l in soon preempt,soon preempt, ,limit ""; do
		as_alice sbatch --checkpoint-on="$l" --wrap true 2>err && break; cat err
		grep -q "Invalid --checkpoint-on specification" err || break
		l=last
	done && [ "$l" = last ]
'
test_expect_success 'preempted five times in a row, it goes on each time from where it was' '
	work_fresh && job=$(slurm_sbatch -p low -n4 -o "$home/out" --checkpoint-on=preempt work.sh) && work_await 10 &&
	for round in 1 2 3 4 5; do
		preempt && work_await_restart $job $round && work_await $(($(work_done) + 10)) || break
	done && [ "$round" = 5 ] && : >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job
'
test_expect_success 'no work was lost: less than a second at each preemption' '
	work_lost >lost && cat lost && [ "$(cat "$slurm_dir/log/journal" | grep -c "preempt job=$job step=-1: 0")" = 5 ] &&
	awk "\$1 >= 1.0 { bad = 1 } END { exit bad }" lost
'
test_expect_success 'asked for by an #SBATCH line, and without a daemon to tell: it is preempted as any other' '
	work_fresh && sed -i "2i #SBATCH --checkpoint-on=preempt" "$home/work.sh" && stasisd_kill n1 && stasisd_kill n2 &&
	as_root scontrol update partitionname=low gracetime=1 &&
	job=$(slurm_sbatch -p low -n4 -o "$home/out" "$home/work.sh") && work_await 10 && preempt && slurm_await_state $job RUNNING &&
	grep -q "Slurm is about to end the job, but stasisd at" "$home/out" && ! [ -e "$home/$job" ]; was=$?; slurm_cancel $job; as_root scontrol update partitionname=low gracetime=10 &&
	slurm_await_state $job CANCELLED && stasisd_start && [ $was = 0 ]
'
test_expect_success 'asked for by an #SBATCH line' '
	work_fresh && sed -i "2i #SBATCH --checkpoint-on=preempt" "$home/work.sh" &&
	job=$(slurm_sbatch -p low -n4 -o "$home/out" "$home/work.sh") && work_await 10 && preempt && work_await_restart $job 1 &&
	: >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
