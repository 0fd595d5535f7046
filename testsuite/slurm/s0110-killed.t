#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Daemons that are killed in every phase of a checkpoint on two nodes, and folders that are full: all run on,
# or all are saved; nobody stands still, nobody is half a checkpoint.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
stasisd_has_faults || test_skip_all 'no fault points in this build'

cat >counter.sh <<'END'
for ((i = 1; ; i++)); do
	echo $i >>count.$SLURM_PROCID
	read -r -t 0.1 <>fifo
done
END
steps=0
step_start() { # NODES
	steps=$((steps + 1))
	rm -f "$home"/count.*
	as_alice srun -D "$home" -J "s$steps" -N"$1" --ntasks-per-node=2 bash counter.sh </dev/null >"$test_scratch/srun.out" 2>&1 &
	tasks=$((2 * $1))
	wait_for 'job=$(as_root squeue -h -n s$steps -t R -o %A) && [ -n "$job" ]' 30 && { all_count || { cat srun.out; false; }; }
}
all_count() { # every task adds to its file, from now on
	local i
	for ((i = 0; i < tasks; i++)); do
		rm -f "$home/count.$i"
	done
	for ((i = 0; i < tasks; i++)); do
		wait_for "[ -s $home/count.$i ]" 20 || return
	done
}
step_is_over() {
	wait_for '[ -z "$(as_root squeue -h -n s$steps -t R -o %A)" ]' 60
}
step_end() {
	as_root scancel -n "s$steps"
	step_is_over
}
generations() {
	find "$slurm_dir/ckpt/$job.0" -maxdepth 1 -name 'gen.*' 2>/dev/null | wc -l
}
is_whole() { # GENERATION
	[ "$(ls "$slurm_dir/ckpt/$job.0/gen.$1" | wc -l)" = "$tasks" ] && stasis verify "$slurm_dir/ckpt/$job.0/gen.$1"/task.?.ckpt
}
nobody_stands_still() {
	local n
	for n in n1 n2; do
		wait_for "! on $n root sh -c 'grep -lsE \"^State:.[Tt]|^TracerPid:.[1-9]\" /proc/[0-9]*/status' | grep -q ." 20 || return
	done
}
checkpoint() { # OPERATION
	timeout 60 "$slurm_cluster" exec "$slurm_dir" ctl alice "$top_builddir/scheckpoint" --wait "$1" "$job.0" ImageDir="$slurm_dir/ckpt" 3>&- 9>&-
}

test_expect_success 'a cluster' '
	slurm_up 2 && stasisd_start && mkfifo -m 666 "$home/fifo" && cp counter.sh "$home"
'
# FAULT NODE OPERATION: fails, and everybody runs on
for c in 'kill:node.written n1 create' 'kill:node.written n2 create' 'kill:node.durable n1 vacate' \
	'kill:node.durable n2 vacate' 'kill:dump.all-written n2 vacate' 'kill:coordinate.before-commit n1 create' \
	'kill:coordinate.before-commit n1 vacate' 'fail:dump.before-commit n2 create'; do
	# shellcheck disable=SC2086
	set -- $c
	test_expect_success "$3, $1 on $2: no checkpoint, all run on" '
		{ [ -n "$job" ] && all_count || step_start 2; } && before=$(generations) && stasisd_restart_with '"$1 $2"' &&
		! checkpoint '"$3"' 2>err; cat err
		stasisd_restart_with "" '"$2"' && nobody_stands_still && all_count && [ "$(generations)" = "$before" ] &&
		[ -s err ] && ! grep -q "not ok" err
	'
done
test_expect_success 'after all that a checkpoint works' 'checkpoint create && is_whole 1 && all_count'
# the decision has been made
for c in 'kill:coordinate.committed n1' 'kill:node.commit n1' 'kill:node.commit n2'; do
	# shellcheck disable=SC2086
	set -- $c
	test_expect_success "vacate, $1 on $2: it is made on all nodes, nobody runs on" '
		{ [ "$(as_root squeue -h -n s$steps -t R -o %A)" ] || step_start 2; } && before=$(generations) &&
		stasisd_restart_with '"$1 $2"' && checkpoint vacate 2>err; cat err
		step_is_over && stasisd_restart_with "" '"$2"' && nobody_stands_still && is_whole $((before + 1))
	'
done
test_expect_success 'vacate, all processes of the coordinator killed after the decision: it is whole' '
	step_start 2 && stasisd_restart_with stop:coordinate.committed n1 && { checkpoint vacate 2>err & } && asker=$! &&
	wait_for "stasisd_stopped n1" && stasisd_kill n1 && ! wait $asker && nobody_stands_still && is_whole 1 && step_end; stasisd_start n1
'
test_expect_success 'vacate into a full folder: it runs on, the error is kept' '
	on n1 root mount -t tmpfs -o size=128k,mode=1777 none /mnt && step_start 1 && [ "$(as_root squeue -h -j $job -o %N)" = n1 ] &&
	test_expect_status 1 scheckpoint --wait vacate $job.0 ImageDir=/mnt/x 2>err; cat err; grep -q "No space left on device" err &&
	scheckpoint error $job.0 >out && grep -q "^error(28): .*No space left on device" out && all_count && nobody_stands_still &&
	[ -z "$(on n1 root find /mnt/x/$job.0 -mindepth 1 | tee /dev/stderr)" ]
'
step_end
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
