#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many steps of a job on three nodes, all checkpointed at the same time, more than have their turn at once.
# STASIS_STEPS: how many (testsuite/bench/steps runs two hundred).
TEST_LIMIT=${STASIS_STEPS_LIMIT:-240}
. "$(dirname "$0")/slurm-lib.sh"

steps=${STASIS_STEPS:-24}
home=$slurm_dir/home/alice
cat >task.sh <<'END'
: >"up.$SLURM_STEP_ID.$SLURM_PROCID"
until [ -e go ]; do
	read -r -t 0.5 <>fifo
done
: >"ended.$SLURM_STEP_ID.$SLURM_PROCID"
END
cat >job.sh <<END
#!/bin/bash
for ((i = 0; i < $steps; i++)); do
	srun --overlap -N3 -n3 bash task.sh </dev/null &
	# not all at once: a slurmd with more than 256 files open hands the rest of them to its tasks
	until [ -e "up.\$((i - 8)).0" ] || [ \$i -lt 8 ]; do
		read -r -t 0.1 <>fifo
	done
done
wait
END
count() { # PATTERN
	find "$home" -maxdepth 1 -name "$1.*" | wc -l
}
checkpoint_all() { # OPERATION: all steps at once; exit statuses in statuses
	local i
	rm -f status.*
	for ((i = 0; i < steps; i++)); do
		(
			scheckpoint --wait "$1" "$job.$i" ImageDir="$slurm_dir/ckpt" >"out.$i" 2>&1
			echo $? >"status.$i"
		) &
	done
	wait_for '[ "$(find . -maxdepth 1 -name "status.*" -size +0 | wc -l)" = '"$steps"' ]' $((60 + 2 * steps))
	cat out.* | sort | uniq -c
	[ "$(cat status.* | sort -u)" = 0 ]
}
is_whole() { # GENERATION
	local i
	for ((i = 0; i < steps; i++)); do
		[ "$(ls "$slurm_dir/ckpt/$job.$i/gen.$1" | xargs)" = "task.0.ckpt task.1.ckpt task.2.ckpt" ] || return
	done
}

# eight have their turn, and thirty-two may be there
test_expect_success 'a cluster, daemons with few turns, a job of many steps' '
	slurm_up 3 && cp task.sh job.sh "$home" && mkfifo -m 666 "$home/fifo" &&
	for n in n1 n2 n3; do
		printf "%s\n" "journal: $slurm_dir/log/journal" "max-wait: 120" "operations: ${STASIS_OPERATIONS:-8}" >"$slurm_dir/etc/stasis-$n.yaml"
	done && stasisd_start && job=$(slurm_sbatch -N3 -n3 job.sh) && wait_for "[ \$(count up) = $((3 * steps)) ]" $((60 + 3 * steps))
'
test_expect_success 'all are checkpointed at once, and run on' '
	begin=${EPOCHREALTIME/./} && checkpoint_all create && echo "# $steps steps, $((3 * steps)) tasks: $(((${EPOCHREALTIME/./} - begin) / 1000)) ms" >&3 && is_whole 1 &&
	[ "$(grep -c "create job=.* 3 nodes, depth 1, 12 messages$" "$slurm_dir/log/journal")" = $steps ]
'
hold() { # NAME...: places of n1, as if by operations
	local name
	for name; do
		on n1 root flock "/run/stasis/state/.$name" sleep 1000 &
		holders="$holders $!"
		wait_for "! on n1 root flock -n /run/stasis/state/.$name true" || return
	done
}
let_go() {
	on n1 root pkill -x sleep
	# shellcheck disable=SC2086
	wait $holders
	holders=
}
refused() { # MESSAGE-OF-SCHECKPOINT
	test_expect_status 1 scheckpoint --wait create "$job.0" ImageDir="$slurm_dir/ckpt" MaxWait=1 2>err
	cat err
	grep -q "$1" err && [ "$(ls "$slurm_dir/ckpt/$job.0")" = gen.1 ]
}
test_expect_success 'who has no turn in time, and who finds no room to wait, is told so' '
	sed -i "s/^operations:.*/operations: 1/" "$slurm_dir/etc/stasis-n1.yaml" && stasisd_restart_with "" n1 &&
	hold slot.0 && refused "other operations of this node did not end in time" &&
	hold room.0 room.1 room.2 room.3 && refused "Resource temporarily unavailable"; rc=$?
	let_go; [ $rc = 0 ] && scheckpoint --wait create $job.0 ImageDir="$slurm_dir/ckpt"
'
test_expect_success 'all end as they would have' '
	: >"$home/go" && wait_for "[ \$(count ended) = $((3 * steps)) ]" 60 && slurm_await_state $job COMPLETED
'
[ "$test_failed" = 0 ] || tail -50 "$slurm_dir/log/journal" | sed "s,^,# ," >&3
test_done
