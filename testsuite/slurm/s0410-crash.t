#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A batch script with an srun of six tasks on three nodes, in a loop and a pipeline, is checkpointed by itself; then the
# whole cluster is without power. Brought up again it goes on, on other nodes.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >job.sh <<'END'
#!/bin/bash
for round in 1 2 3; do
	echo begin $round
	srun -l bash ./step.sh $round | sort -k3n -k1 | tee sorted.$round | tail -1
	echo end $round ${PIPESTATUS[*]}
done
END
cat >step.sh <<'END'
for ((i = 1; i <= 300; i++)); do
	echo "$1 $i"
	[ "$1.$i" != 2.150 ] || : >at.$SLURM_PROCID
	[ "$1.$i" != 2.150 ] || while [ -e stop ]; do read -r -t 0.05 <>fifo; done
done
END
newest() { # of JOB
	find "$home/got/$1" -maxdepth 1 -name 'gen.*' 2>/dev/null | sed 's/.*gen\.//' | sort -n | tail -1
}
begin() { # FOLDER OPTION...
	local f=$1
	shift
	as_alice mkdir "$home/$f" && (cd "$home/$f" && mkfifo -m 666 fifo && cp "$test_scratch"/*.sh . && { [ "$f" != got ] || : >stop; }) &&
		job=$(as_alice sbatch --parsable -D "$home/$f" -N3 -n6 -o out "$@" job.sh)
}

test_expect_success 'a cluster of six nodes, checkpoints every two seconds' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 6 &&
	for n in 1 2 3 4 5 6; do printf "journal: %s/log/journal\nmin-interval: 1\n" "$slurm_dir" >"$slurm_dir/etc/stasis-n$n.yaml"; done && stasisd_start
'
test_expect_success 'the job undisturbed' '
	begin want && slurm_await_state $job COMPLETED && [ "$(wc -l <"$home/want/sorted.2")" = 1800 ]
'
test_expect_success 'a checkpoint is made by itself while all its tasks are in the middle' '
	begin got --checkpoint=0:02 && wait_for "[ \"\$(ls \"$home\"/got/at.* 2>/dev/null | wc -l)\" = 6 ]" && was=$(newest $job) &&
	wait_for "[ \"\$(newest $job)\" -ge $((${was:-0} + 2)) ]" 60 && as_root scontrol show job $job >show && grep -q "NodeList=n\[1-3\]" show &&
	[ "$(ls "$home/got/$job/gen.$(newest $job)"/step.1/task.?.ckpt | wc -l)" = 6 ]
'
test_expect_success 'nobody but the script makes checkpoints of its step' '
	ls -d "$home"/got/$job* && [ ! -e "$home/got/$job.1" ]
'
test_expect_success 'no power; then all is brought up again, but for its nodes, which are given up' '
	: >marker && as_root scontrol update jobid=$job comment=x && wait_for "find \"$slurm_dir/state/job_state\" -newer marker | grep -q ." &&
	"$slurm_cluster" crash "$slurm_dir" && [ -z "$(pgrep -u 4243 -f "step.sh 2")" ] && "$slurm_cluster" again "$slurm_dir" 3>&- &&
	wait_for "[ \"\$(as_root sinfo -h -N -p low -t idle,alloc,mix,comp -o %N | sort -u | wc -l)\" = 6 ]" 60 &&
	for s in drain down; do as_root scontrol update nodename=n[1-3] state=$s reason=power || break; done && stasisd_start && rm "$home/got/stop" && as_root squeue
'
test_expect_success 'its output is the same as without' '
	{ slurm_await_state $job PENDING; slurm_await_state $job COMPLETED 90; } && as_root scontrol show job $job >show && grep -E "NodeList|Restarts" show &&
	grep -q "NodeList=n\[4-6\]" show && grep -q "Restarts=1" show && cat "$home/got/out" && cmp <(said "$home/want/out") <(said "$home/got/out") &&
	for r in 1 2 3; do cmp "$home/want/sorted.$r" "$home/got/sorted.$r" || break; done && [ $r = 3 ]
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
