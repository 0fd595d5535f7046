#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The cluster itself: jobs of an ordinary user, requeue, a node that fails; nothing left behind.
. "$(dirname "$0")/slurm-lib.sh"

test_expect_success 'a cluster of three nodes comes up' 'slurm_up 3'
home=$slurm_dir/home/alice
test_expect_success 'srun as an ordinary user on all nodes' '
	as_alice srun -D "$home" -N3 -l sh -c "echo \$SLURMD_NODENAME \$(id -un)" | sort >out && cat out &&
	printf "%s\n" "0: n1 alice" "1: n2 alice" "2: n3 alice" | diff - out
'
test_expect_success 'a batch job with a step' '
	job=$(slurm_sbatch -n2 -o "$home/batch.out" --wrap "id -un; srun -n2 echo step") &&
	slurm_await_state $job COMPLETED && cat "$home/batch.out" &&
	[ "$(cat "$home/batch.out")" = "alice
step
step" ]
'
test_expect_success 'a stranger may not cancel it' '
	job=$(slurm_sbatch --wrap "exec sleep 600") && slurm_await_state $job RUNNING &&
	! as_mallory scancel $job 2>err && [ "$(slurm_state $job)" = RUNNING ]
'
test_expect_success 'requeued by its owner it runs again' '
	as_alice scontrol requeue $job && slurm_await_state $job PENDING && slurm_await_state $job RUNNING &&
	as_root scontrol show job $job | grep -q Restarts=1 && slurm_cancel $job
'
test_expect_success 'a second cluster beside it does not meet it' '
	mkdir other && mkfifo other/alive && (
		exec 8>&- 9<>other/alive
		"$slurm_cluster" up other 1 &&
		[ "$("$slurm_cluster" exec other ctl root sinfo -h -N -o %N | sort -u)" = n1 ]
		status=$?
		"$slurm_cluster" down other
		exit $status
	) && [ "$(as_root sinfo -h -N -p low -o %N | sort -u | wc -l)" = 3 ]
'
test_expect_success 'it goes down and leaves nothing' '
	cgroups=$(cat "$slurm_dir"/run/cgroup-* other/run/cgroup-* 2>/dev/null | sort -u)
	"$slurm_cluster" down "$slurm_dir" && ! pgrep -f "keeper:$test_scratch" &&
	for c in $cgroups; do [ ! -e "$c" ] || break; done && { [ -z "$c" ] || [ ! -e "$c" ]; }
'
test_done
