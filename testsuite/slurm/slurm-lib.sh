# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Tests on a real cluster (see the script `cluster` beside this). slurm_up starts it; what a test starts
# in it ends with the test. Needs root and Debian's Slurm; skips without.

# shellcheck source=testsuite/lib/test-lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/test-lib.sh"

slurm_cluster=$top_srcdir/testsuite/slurm/cluster
slurm_dir=$test_scratch/cluster

[ "$(id -u)" = 0 ] || test_skip_all 'a cluster needs root'
[ -x "$top_builddir/stasisd" ] || test_skip_all 'built without Slurm'
slurm_missing=$(PATH=$PATH:/usr/sbin:/sbin test_missing_programs munged slurmctld slurmd srun sbatch scontrol ip \
	unshare nsenter setpriv)
[ -z "$slurm_missing" ] || test_skip_all "not installed: $(tr '\n' ' ' <<<"$slurm_missing")"
PATH=$PATH:/usr/sbin:/sbin
unshare --cgroup --net --uts --mount --pid --fork true 2>/dev/null || test_skip_all 'no namespaces here'

slurm_at_exit() {
	local status=$?
	trap - EXIT
	[ ! -e "$slurm_dir/run" ] || "$slurm_cluster" down "$slurm_dir" 3>&- 9>&-
	(exit "$status")
	test_at_exit
}
trap slurm_at_exit EXIT

# The plugin, as built; before slurm_up.
slurm_plugin() {
	mkdir -p "$slurm_dir" &&
		echo "required $top_builddir/.libs/spank_stasis.so shepherd=$top_builddir/stasis-shepherd" >"$slurm_dir/plugstack.conf"
}

slurm_up() { # [NODES]
	mkdir -p "$slurm_dir" && mkfifo "$slurm_dir/alive" || return
	exec 9<>"$slurm_dir/alive"
	"$slurm_cluster" up "$slurm_dir" "${1:-3}" 3>&- 9>&-
}

# on NODE WHO COMMAND...
on() {
	"$slurm_cluster" exec "$slurm_dir" "$@" 3>&- 9>&-
}

as_alice() { on ctl alice "$@"; }
as_mallory() { on ctl mallory "$@"; }
as_root() { on ctl root "$@"; }

# Submit as alice, in her home folder: prints the job id.
slurm_sbatch() {
	as_alice sbatch --parsable -D "$slurm_dir/home/alice" "$@"
}

slurm_state() { # JOB
	as_root squeue -h -t all -o %T -j "$1" 2>/dev/null
}

# Until the job is in STATE; fails at once when it has ended otherwise.
slurm_await_state() { # JOB STATE [SECONDS]
	local end=$((SECONDS + ${3:-60})) state
	while state=$(slurm_state "$1") && [ "$state" != "$2" ]; do
		case $state in
		COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) break ;;
		esac
		[ $SECONDS -lt $end ] || break
		sleep 0.1
	done
	[ "$state" = "$2" ] && return
	echo "job $1 is $state, not $2"
	as_root scontrol show job "$1"
	return 1
}

# A daemon on each node; WHERE... or all. They write to $slurm_dir/log/stasisd-NODE.log.
stasisd_start() {
	local n
	[ $# -gt 0 ] || set -- $(seq -f n%g "$(cat "$slurm_dir/run/nodes")")
	for n; do
		[ -e "$slurm_dir/etc/stasis-$n.yaml" ] || cat >"$slurm_dir/etc/stasis-$n.yaml" <<-END
			journal: $slurm_dir/log/journal
			max-wait: 120
		END
		on "$n" root env ASAN_OPTIONS="$ASAN_OPTIONS" STASIS_FAULT="$STASISD_FAULT" setsid \
			"$top_builddir/stasisd" -c "$slurm_dir/etc/stasis-$n.yaml" \
			</dev/null >>"$slurm_dir/log/stasisd-$n.log" 2>&1 &
	done
	for n; do
		wait_for "on $n root test -S /run/stasis/stasisd.socket" 20 || return
	done
}

stasisd_pid() { # NODE: in the node's own pid namespace
	on "$1" root pgrep -o -x stasisd
}

# Fault points (src/lib/fault.h) for daemons.
stasisd_has_faults() {
	grep -q '^#define STASIS_FAULT_POINTS\|STASIS_FAULT_POINTS=1' "$top_builddir/Makefile"
}

# stasisd_restart_with FAULT [NODE]: on NODE, or all.
stasisd_restart_with() {
	local n
	for n in ${2:-$(seq -f n%g "$(cat "$slurm_dir/run/nodes")")}; do
		stasisd_kill "$n"
		STASISD_FAULT=$1 stasisd_start "$n" || return
	done
}

# All processes of a node's daemon, those at work included.
stasisd_kill() { # NODE
	on "$1" root pkill -KILL -x stasisd
	on "$1" root rm -f /run/stasis/stasisd.socket
	wait_for "! on $1 root pgrep -x stasisd >/dev/null"
}

stasisd_stopped() { # NODE: a process of its daemon stands at a fault point
	on "$1" root sh -c 'grep -ls "^State:.T (stopped)" $(pgrep -x stasisd | sed "s,.*,/proc/&/status,")' | grep -q .
}

stasisd_continue() {
	local n
	for n in $(seq -f n%g "$(cat "$slurm_dir/run/nodes")"); do
		on "$n" root pkill -CONT -x stasisd
	done
}

# As a user on the controller, as from a login node.
scheckpoint() {
	as_alice "$top_builddir/scheckpoint" "$@"
}

slurm_cancel() { # JOB...
	as_root scancel "$@"
}

# said FILE: without what Slurm says by itself (of nodes that are busy, of tasks that end with a status), which
# names nodes and comes when it comes.
said() {
	grep -v "^srun: " "$1"
}
