#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The plugin: options of sbatch and srun, restart of steps and of batch jobs under the same job id.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >count.sh <<'END'
#!/bin/bash
# Counts to 60 on stdout, ten a second, with a child in between; "stop-at-30" stops it there.
for ((i = 1; i <= 60; i++)); do
	echo "count $i"
	: >at.$i
	[ $i != 30 ] || while [ -e stop-at-30 ]; do read -r -t 0.1 <>fifo; done
	read -r -t 0.02 <>fifo
done
(echo "done $SLURM_JOB_ID")
END
fresh() {
	as_alice rm -rf "$home"/* && (cd "$home" && mkfifo -m 666 fifo && cp "$test_scratch/count.sh" . && : >stop-at-30)
}
want() {
	seq -f 'count %g' 60
	echo "done $1"
}

test_expect_success 'a cluster with the plugin' '
	mkdir -p "$slurm_dir" && slurm_plugin && slurm_up 3 && stasisd_start
'
test_expect_success 'its options are in --help; wrong ones are refused' '
	as_alice sbatch --help | grep -q -- "--checkpoint-dir=DIR" && as_alice srun --help | grep -q -- "--restart-dir=DIR" &&
	! as_alice sbatch --checkpoint=soon --wrap true 2>err; cat err; grep -q "Invalid --checkpoint specification" err &&
	for t in 5 1:30 2:00:00 1-2 1-2:3 1-2:3:4 UNLIMITED -1; do
		as_alice sbatch --test-only --checkpoint=$t --wrap true || break
	done && [ "$t" = -1 ]
'
test_expect_success 'tasks know, also of what an #SBATCH line said, and of the variables' '
	as_alice srun --checkpoint=7 --checkpoint-dir=/ckpt env >out && grep -qx SLURM_CHECKPOINT=7 out && grep -qx SLURM_CHECKPOINT_IMAGE_DIR=/ckpt out &&
	as_alice env SLURM_CHECKPOINT=8 SLURM_CHECKPOINT_DIR=/ck srun env >out && grep -qx SLURM_CHECKPOINT=8 out && grep -qx SLURM_CHECKPOINT_IMAGE_DIR=/ck out &&
	printf "%s\n" "#!/bin/sh" "#SBATCH --checkpoint=9 --checkpoint-dir=images" "srun env" >job && chmod 755 job &&
	j=$(slurm_sbatch -o "$home/env" "$PWD/job") && slurm_await_state $j COMPLETED && grep -qx SLURM_CHECKPOINT=9 "$home/env" &&
	grep -qx "SLURM_CHECKPOINT_IMAGE_DIR=$home/images" "$home/env"
'
test_expect_success 'a batch job is vacated: it waits, held' '
	fresh && job=$(slurm_sbatch -o "$home/out" count.sh) && wait_for "[ -e $home/at.30 ]" &&
	scheckpoint --wait vacate $job && slurm_await_state $job PENDING && as_root scontrol show job $job >show; cat show; grep -qE "Reason=(JobHeld|job_requeued_in_held)" show &&
	ls -lR "$home/$job" && [ "$(grep -c count "$home/out")" = 30 ]
'
test_expect_success 'released, it goes on under the same id where it was, on another node' '
	rm "$home/stop-at-30" && scheckpoint restart $job && as_root scontrol update nodename=n1 state=drain reason=test &&
	slurm_await_state $job COMPLETED && want $job | cmp - "$home/out" &&
	as_root scontrol show job $job | grep -q "BatchHost=n2"; was=$?; as_root scontrol update nodename=n1 state=resume && [ $was = 0 ]
'
test_expect_success 'requeued with a folder of the request: it goes on at once' '
	fresh && job=$(slurm_sbatch -o "$home/out" count.sh) && wait_for "[ -e $home/at.30 ]" &&
	scheckpoint --wait requeue $job ImageDir="$slurm_dir/ckpt" && rm "$home/stop-at-30" &&
	slurm_await_state $job COMPLETED && want $job | cmp - "$home/out" && [ -L "$home/$job.restart" ]
'
test_expect_success 'three generations of a job' '
	fresh && job=$(slurm_sbatch -o "$home/out" --checkpoint-dir="$slurm_dir/ckpt" count.sh) && wait_for "[ -e $home/at.30 ]" &&
	for g in 1 2 3; do
		scheckpoint --wait requeue $job && slurm_await_state $job PENDING && slurm_await_state $job RUNNING || break
		wait_for "as_root \"$top_builddir/scheckpoint\" able $job | grep -q Yes" || break
		wait_for "[ -n \"\$(pgrep -u 4243 -f slurm_script)\" ]" || break
	done && [ $g = 3 ] && rm "$home/stop-at-30" && slurm_await_state $job COMPLETED && want $job | cmp - "$home/out"
'
test_expect_success 'a step of six tasks is vacated, and restarted by srun --restart-dir on its nodes' '
	fresh && cd "$home" && { as_alice srun -D "$home" -J steps -N3 -n6 -l bash -c ". ./count.sh" >"$home/out" </dev/null & } && srun=$! && cd - &&
	wait_for "[ \"\$(grep -c \"count 30\" \"$home/out\")\" = 6 ]" && job=$(as_root squeue -h -n steps -t R -o %A) &&
	scheckpoint --wait vacate $job.0 ImageDir="$slurm_dir/ckpt" && { wait $srun; [ $? = 137 ]; } && rm "$home/stop-at-30" &&
	as_alice srun -D "$home" -N3 -n6 -l --restart-dir="$slurm_dir/ckpt/$job.0" true >"$home/out2" </dev/null && cat "$home/out2" &&
	for i in 0 1 2 3 4 5; do want $job | sed "s,^,$i: ," ; done | sort >want && sort "$home/out" "$home/out2" | cmp - want
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
