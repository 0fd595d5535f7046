#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checkpoints by interval; a node that fails: the job goes on elsewhere from the last one.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >count.sh <<'END'
#!/bin/bash
# Counts to 60; "stop-at-30" stops it there.
for ((i = 1; i <= 60; i++)); do
	echo "count $i"
	: >at.$i
	[ $i != 30 ] || while [ -e stop-at-30 ]; do read -r -t 0.1 <>fifo; done
done
END
newest() {
	find "$home" -maxdepth 2 -name 'gen.*' | sed 's/.*gen\.//' | sort -n | tail -1
}

test_expect_success 'a cluster with the plugin, and a daemon that allows short intervals' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 2 &&
	for n in n1 n2; do
		printf "journal: %s/log/journal\nmin-interval: 1\nkeep: 2\n" "$slurm_dir" >"$slurm_dir/etc/stasis-$n.yaml"
	done && stasisd_start
'
test_expect_success 'a job with an interval is checkpointed by itself, again and again' '
	(cd "$home" && mkfifo -m 666 fifo && cp "$test_scratch/count.sh" . && : >stop-at-30) &&
	job=$(slurm_sbatch -o "$home/out" --checkpoint=0:02 count.sh) && wait_for "[ -e $home/at.30 ]" &&
	wait_for "[ -n \"\$(newest)\" ] && [ \"\$(newest)\" -ge 2 ]" 90
'
test_expect_success 'one without is not' '
	other=$(slurm_sbatch -o /dev/null --wrap "exec sleep 600") && slurm_await_state $other RUNNING &&
	first=$(newest) && wait_for "[ \"\$(newest)\" -gt $first ]" 60 && ! [ -e "$home/$other" ] && slurm_cancel $other
'
test_expect_success 'its node fails: it goes on on the other one' '
	"$slurm_cluster" kill "$slurm_dir" n1 && as_root scontrol update nodename=n1 state=down reason=test &&
	rm "$home/stop-at-30" && slurm_await_state $job PENDING && slurm_await_state $job COMPLETED &&
	cat "$home/out" && seq -f "count %g" 60 | cmp - "$home/out" &&
	as_root scontrol show job $job >show && cat show && grep -q BatchHost=n2 show && grep -q Restarts=1 show
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
