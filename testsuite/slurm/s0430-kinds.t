#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kinds of batch jobs: MPI on one node, arrays, heterogeneous ones. What is vacated and restarted on another node
# comes to the same result; what cannot be is refused by name, and runs on.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >step.sh <<'END'
# step.sh NAME: 40 lines; in the middle it waits while there is a file "stop".
for ((i = 1; i <= 20; i++)); do echo "$1 $i"; done
: >"at.$1"
while [ -e stop ]; do read -r -t 0.05 <>fifo; done
for ((; i <= 40; i++)); do echo "$1 $i"; done
END
cat >task.sh <<'END'
#!/bin/bash
trap 'echo "got a signal"' TERM CONT
echo "begin $SLURM_ARRAY_TASK_ID"
srun bash step.sh "$SLURM_ARRAY_TASK_ID" | tr a-z A-Z
echo "end $SLURM_ARRAY_TASK_ID"
END
printf '#!/bin/bash\nsrun bash step.sh own\necho end $SLURM_HET_SIZE\n' >het.sh
printf '#!/bin/bash\nsrun %s bash step.sh other\necho end\n' --het-group=1 >group.sh
printf '#!/bin/bash\nsrun bash step.sh left : bash step.sh right\necho end\n' >colon.sh
cat >mpi.sh <<'END'
#!/bin/bash
export TMPDIR=$PWD OMPI_MCA_mpi_yield_when_idle=1
mpirun --oversubscribe -np 3 ./ring 600
echo "mpirun: $?"
END

folder() { # NAME [STOP]: with all that a job needs
	as_alice mkdir -p "$home/$1" && (cd "$home/$1" && mkfifo -m 666 fifo && cp "$test_scratch"/*.sh . && chmod 755 ./*.sh &&
		{ [ "$2" != stop ] || : >stop; })
}
submit() { # NAME SBATCH-OPTION...: in its folder
	local name=$1
	shift
	as_alice sbatch --parsable -D "$home/$name" "$@"
}
number_of() { # ARRAY_TASK
	as_root squeue -h -r -t all -j "$1" -o %A
}
# Of a heterogeneous job squeue shows all components, whichever is asked for.
state_of() { # JOB
	as_root squeue -h -t all -j "$1" -o "%A %T" | sed -n "s/^$1 //p"
}
await_component() { # JOB STATE
	wait_for "[ \"\$(state_of $1)\" = $2 ]" 60 || { as_root squeue -t all; return 1; }
}
states() { # ARRAY: of all tasks, by index
	as_root squeue -h -r -t all -j "$1" -o "%K %T" | sort -n | cut -d' ' -f2 | xargs
}
at() { # NAME COUNT
	wait_for "[ \"\$(find \"$home/$1\" -name 'at.*' | wc -l)\" = $2 ]" 60
}
# Everything is as before: JOB runs, was never restarted, and has left nothing in its folder.
untouched() { # JOB FOLDER
	[ "$(slurm_state "$1" | sort -u)" = RUNNING ] && ! as_root scontrol show job "$1" | grep "Restarts=[1-9]" &&
		! find "$2" -name 'gen.*' -o -name '*draft*' -o -name '*.ckpt' | grep .
}

test_expect_success 'a cluster with the plugin' '
	slurm_plugin && slurm_up 3 && stasisd_start
'

if [ -z "$(test_missing_programs mpirun mpicc)" ]; then
	test_expect_success 'an MPI program under mpirun, undisturbed and up to the middle' '
		mpicc -O2 -o ring "$top_srcdir/testsuite/real/mpi-ring.c" && folder want && folder mpi stop && cp ring "$home/want" && cp ring "$home/mpi" &&
		want=$(submit want -n3 -N1 -o out mpi.sh) && job=$(submit mpi -n3 -N1 -o out mpi.sh) && at mpi 1 &&
		slurm_await_state $want COMPLETED
	'
	test_expect_success 'it is vacated, and restarted on another node with the same result' '
		node=$(as_root squeue -h -j $job -o %B) && scheckpoint --wait vacate $job && slurm_await_state $job PENDING &&
		as_root scontrol update nodename=$node state=drain reason=test &&
		rm "$home/mpi/stop" && scheckpoint restart $job && slurm_await_state $job COMPLETED &&
		as_root scontrol show job $job >show && ! grep "BatchHost=$node" show && grep "Restarts=1 " show &&
		cat "$home/mpi/out" && grep "^mpirun: 0" "$home/want/out" && cmp "$home/want/out" "$home/mpi/out" &&
		as_root scontrol update nodename=$node state=resume
	'
else
	test_skip 'an MPI program under mpirun' 'needs the package libopenmpi-dev'
fi

test_expect_success 'an array: its last task has the number of the array' '
	folder array stop && array=$(submit array -n1 -o out.%a --array=0-2 task.sh) && at array 3 &&
	for i in 0 1 2; do id[i]=$(number_of ${array}_$i) || break; done && [ ${id[2]} = $array ] && [ ${id[1]} != $array ]
'
test_expect_success 'a task is checkpointed by its number, and as squeue writes it' '
	scheckpoint --wait create ${id[0]} && scheckpoint --wait create ${array}_1 && scheckpoint list ${array}_1 >list &&
	grep "/${id[1]}/gen" list && [ "$(states $array)" = "RUNNING RUNNING RUNNING" ]
'
test_expect_success 'a task that has the number of the array is vacated, and that one only' '
	scheckpoint --wait vacate $array && slurm_await_state ${array}_2 PENDING &&
	[ "$(states $array)" = "RUNNING RUNNING PENDING" ] &&
	scheckpoint --wait vacate ${array}_0 && slurm_await_state ${array}_0 PENDING &&
	[ "$(states $array)" = "PENDING RUNNING PENDING" ]
'
test_expect_success 'each is restarted alone' '
	rm "$home/array/at.2" && scheckpoint restart $array && slurm_await_state ${array}_2 RUNNING &&
	[ "$(states $array)" = "PENDING RUNNING RUNNING" ] &&
	scheckpoint restart ${array}_0 && slurm_await_state ${array}_0 RUNNING && rm "$home/array/stop" &&
	for i in 0 1 2; do slurm_await_state ${array}_$i COMPLETED || break; done && [ $i = 2 ] &&
	for i in 0 1 2; do
		{ echo "begin $i"; seq -f "$i %g" 40; echo "end $i"; } | diff - <(said "$home/array/out.$i") || break
	done && [ "$(states $array)" = "COMPLETED COMPLETED COMPLETED" ]
'
test_expect_success 'tasks that have not begun have one number: it is refused' '
	folder later stop && later=$(submit later -n1 -o out.%a --array=0-3%1 task.sh) && at later 1 &&
	! scheckpoint restart $later 2>said && cat said && grep "job $later stands for all tasks of an array" said &&
	! scheckpoint vacate $later 2>said && grep "Job is pending execution" said &&
	! scheckpoint able ${later}_7 2>said && grep "Invalid job id" said &&
	[ "$(states $later)" = "RUNNING PENDING PENDING PENDING" ] && slurm_cancel $later
'

test_expect_success 'a heterogeneous job whose script runs steps in its first component is vacated and restarted as a whole' '
	folder het stop && het=$(submit het -n1 -o out : -n1 het.sh) && at het 1 &&
	scheckpoint --wait create $het && scheckpoint --wait vacate $het+0 && await_component $het PENDING && await_component $((het + 1)) PENDING &&
	rm "$home/het/stop" && scheckpoint restart $het && await_component $het COMPLETED && await_component $((het + 1)) COMPLETED &&
	[ $(as_root scontrol show job $het | grep -c "Restarts=1 ") = 2 ] &&
	{ seq -f "own %g" 40; echo "end 2"; } | diff - <(said "$home/het/out")
'
test_expect_success 'another component is refused by name, and steps' '
	folder part stop && part=$(submit part -n1 -o out : -n1 het.sh) && at part 1 &&
	for what in "vacate $((part + 1))" "requeue $part+1" "create $((part + 1))"; do
		! scheckpoint --wait $what 2>said && cat said &&
			grep "component 1 of the heterogeneous job $part" said || break
	done && [ "$what" = "create $((part + 1))" ] &&
	! scheckpoint --wait vacate $part.0 2>said && grep "ask for job $part" said && untouched $part "$home/part" &&
	rm "$home/part/stop" && await_component $part COMPLETED
'
test_expect_success 'a script that runs steps in other components is refused by name, and runs on' '
	for kind in group colon; do
		folder $kind stop && job=$(submit $kind -n1 -o out : -n1 $kind.sh) && wait_for "[ -e \"$home/$kind/fifo\" ]" &&
		at $kind $([ $kind = group ] && echo 1 || echo 2) &&
		for what in create vacate; do
			! scheckpoint --wait $what $job 2>said && cat said && grep "other components of the heterogeneous job" said || break
		done && [ $what = vacate ] && untouched $job "$home/$kind" &&
		rm "$home/$kind/stop" && await_component $job COMPLETED && tail -n 1 "$home/$kind/out" | grep "^end" || break
	done && [ $kind = colon ] && [ ! -e "$home/colon/stop" ]
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
