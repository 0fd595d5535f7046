#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --checkpoint-on=limit: jobs that outlive the time limit of their queue.
. "$(dirname "$0")/slurm-lib.sh"
. "$(dirname "$0")/work-lib.sh"

home=$slurm_dir/home/alice

# The limit of JOB is near: Slurm counts it in minutes, root may give the second. A quarter of that is for work.
limit_near() {
	as_root scontrol update jobid="$1" endtime="$(date -d "+14 sec" +%FT%T)"
}
test_expect_success 'a cluster with the plugin' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 1 &&
	printf "journal: %s/log/journal\nwatch: 1\nlimit-margin: 60\n" "$slurm_dir" >"$slurm_dir/etc/stasis-n1.yaml" && stasisd_start
'
test_expect_success 'five times at its time limit, it goes on each time from where it was' '
	work_fresh && job=$(slurm_sbatch -t 1 -n4 -o "$home/out" --checkpoint-on=limit work.sh) && work_await 5 &&
	for round in 1 2 3 4 5; do
		limit_near $job && work_await_restart $job $round || break
	done && [ "$round" = 5 ] && : >"$home/finish" && slurm_await_state $job COMPLETED && work_check $job
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
