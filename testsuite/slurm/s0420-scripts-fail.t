#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Batch scripts with steps: what is refused; daemons that are killed; a damaged checkpoint.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >job.sh <<'END'
#!/bin/bash
srun -N2 -n2 bash ./step.sh | sort -n | tee sorted
echo end ${PIPESTATUS[*]}
END
cat >step.sh <<'END'
for ((i = 1; i <= 50; i++)); do echo $i; done
for ((; ; i++)); do
	echo $i >>count.$SLURM_PROCID
	[ ! -e end ] || break
	read -r -t 0.1 <>fifo
done
echo end
END
begin() { # SCRIPT [OPTION...]
	local s=$1
	shift
	as_alice rm -rf "$home"/count.* "$home/end" "$home/out" "$home/sorted"
	job=$(slurm_sbatch -o out "$@" "$s") && slurm_await_state "$job" RUNNING
}
all_count() { # both tasks add to their files, from now on
	rm -f "$home"/count.[01]
	wait_for '[ -s "$home/count.0" ] && [ -s "$home/count.1" ]'
}
nobody_stands_still() {
	local n
	for n in n1 n2; do
		wait_for "! on $n root sh -c 'grep -lsE \"^State:.[Tt]|^TracerPid:.[1-9]\" /proc/[0-9]*/status' | grep -q ." 20 || return
	done
}
generations() {
	find "$home/$job" -maxdepth 1 -name 'gen.*' 2>/dev/null | wc -l
}
checkpoint() { # OPERATION: not for ever when the daemon is killed
	timeout 60 "$slurm_cluster" exec "$slurm_dir" ctl alice "$top_builddir/scheckpoint" --wait "$1" "$job" 3>&- 9>&-
}

test_expect_success 'a cluster' '
	slurm_plugin && slurm_up 2 && stasisd_start && cp job.sh step.sh "$home" && mkfifo -m 666 "$home/fifo"
'
test_expect_success 'an srun that waits for its step to begin: not now' '
	printf "%s\n" "#!/bin/bash" "srun -n2 --exact sleep 100 & srun -n2 --exact sleep 100 & wait" >two.sh && chmod 755 two.sh && begin $PWD/two.sh -N1 -n2 &&
	wait_for "as_root scontrol -o show step $job | grep -q StepId=$job.0" && wait_for "[ \"\$(on n1 root pgrep -cfx \"srun -n2 --exact sleep 100\")\" = 3 ]" &&
	test_expect_status 1 scheckpoint --wait create $job 2>err; cat err; grep -q "runs no step of the job" err && [ "$(generations)" = 0 ] &&
	nobody_stands_still && slurm_cancel $job
'
test_expect_success 'one with a pseudo-terminal is refused by name' '
	printf "%s\n" "#!/bin/bash" "srun -n1 --pty sleep 100; sleep 100" >pty.sh && begin "$PWD/pty.sh" -N1 -n1 && wait_for "as_root scontrol -o show step $job | grep -q StepId=$job.0" &&
	test_expect_status 1 scheckpoint --wait vacate $job 2>err; cat err; grep -q "has a pseudo-terminal (--pty)" err &&
	[ "$(slurm_state $job)" = RUNNING ] && slurm_cancel $job
'
test_expect_success 'a step of which a task has ended: not now' '
	printf "%s\n" "#!/bin/bash" "srun -n2 sh -c '\''[ \$SLURM_PROCID = 0 ] || exec sleep 100'\''" >half.sh && begin "$PWD/half.sh" -N1 -n2 &&
	wait_for "[ \"\$(on n1 root pgrep -cx sleep)\" = 1 ] || [ \"\$(on n2 root pgrep -cx sleep)\" = 1 ]" &&
	test_expect_status 1 scheckpoint --wait create $job 2>err; cat err; grep -q "1 of 2 tasks are there" err && slurm_cancel $job
'
if stasisd_has_faults; then
	# FAULT NODE OPERATION: there is no checkpoint, and everybody runs on
	for c in 'kill:node.written n2 create' 'kill:node.durable n1 vacate' 'kill:coordinate.before-commit n1 create' \
		'kill:coordinate.before-commit n1 vacate' 'fail:dump.before-commit n1 vacate'; do
		# shellcheck disable=SC2086
		set -- $c
		test_expect_success "$3, $1 on $2: no checkpoint, all run on" '
			{ [ "$is_begun" ] && all_count || { begin job.sh -N2 -n2 && is_begun=1 && all_count; }; } && stasisd_restart_with '"$1 $2"' &&
			! checkpoint '"$3"' 2>err; cat err
			stasisd_restart_with "" '"$2"' && nobody_stands_still && all_count && [ "$(generations)" = 0 ]
		'
	done
	test_expect_success 'vacate, killed when it was decided: all is saved and nobody runs on; it goes on from there' '
		stasisd_restart_with kill:coordinate.committed n1 && ! checkpoint vacate 2>err; cat err
		stasisd_restart_with "" n1 && nobody_stands_still && [ "$(generations)" = 1 ] && stasis verify "$home/$job/gen.1"/script.ckpt "$home/$job"/gen.1/step.0/task.?.ckpt &&
		wait_for "[ -z \"\$(on n2 root pgrep -f step.sh)\$(on n1 root pgrep -f step.sh)\" ]" && slurm_cancel $job
	'
fi
test_expect_success 'two checkpoints while it runs, which it does not notice; a folder for each' '
	slurm_await_state ${job:-0} CANCELLED 20; begin job.sh -N2 -n2 && all_count && scheckpoint --wait create $job && all_count && scheckpoint --wait vacate $job &&
	[ "$(generations)" = 2 ] && ls "$home/$job"/gen.[12]/step.0/task.[01].ckpt && slurm_await_state $job PENDING
'
test_expect_success 'the image of a task in the newer is damaged: script and steps go on from the older' '
	printf "garbage" | dd of="$home/$job/gen.2/step.0/task.1.ckpt" bs=1 seek=64 conv=notrunc && : >"$home/end" &&
	scheckpoint restart $job && slurm_await_state $job COMPLETED && cat "$home/out" && grep -q "restarted from the older checkpoint .*/gen.1/script.ckpt" "$home/out" &&
	{ seq 50; seq 50; echo end; echo end; } | sort -n | cmp - "$home/sorted" && grep -qx "end 0 0 0" "$home/out"
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
