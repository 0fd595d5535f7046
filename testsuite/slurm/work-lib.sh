# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A batch job of alice's that works on until it is told to end, and says each number once: on its output, which
# goes back to the checkpoint with it, and in log, which does not, so that what was done twice can be seen there.

# work_fresh: her folder with nothing but work.sh and what it needs
work_fresh() {
	as_alice rm -rf "$home"/* && cat >"$home/work.sh" <<-'END'
		#!/bin/bash
		trap 'echo "got a signal" >>signals; [ ! -e heeding ] || exit 1' TERM USR1 URG
		for ((i = 1; ; i++)); do
			echo "work $i"
			echo "$i $EPOCHREALTIME" >>log
			[ ! -e finish ] || break
			[ ! -e poison ] || exit 9
			read -r -t 0.05 <>fifo
		done
		echo "worked"
		exit "${1:-0}"
	END
	mkfifo -m 666 "$home/fifo" && chmod 755 "$home/work.sh"
}

work_done() { # the last number
	tail -n 1 "$home/log" 2>/dev/null | cut -d' ' -f1
}

# Until NUMBER was done.
work_await() {
	wait_for "[ \"\$(work_done)\" -ge $1 ] 2>/dev/null" "${2:-60}"
}

# Until JOB runs for the COUNTth time after its first. It need not wait until old credentials have expired: one of
# a later second than that of its end will do for slurmd.
work_await_restart() {
	local before
	slurm_await_state "$1" PENDING 30 && before=$(work_done) && { as_alice scontrol update jobid="$1" starttime=now+2 || :; } &&
		{ slurm_await_state "$1" RUNNING 30 || { tail "$home/out" && false; }; } && as_root scontrol show job "$1" | grep -q "Restarts=$2 " && work_await $((before + 1)) 30
}

# The output is that of an undisturbed run, and no signal was seen. slurmstepd may have written there, too: that a
# signal of Slurm came when the job had just ended.
work_check() {
	local last
	last=$(grep -c '^work ' "$home/out") && { seq -f 'work %g' "$last" && echo worked; } | diff - <(grep -v '^slurmstepd-' "$home/out") &&
		[ ! -e "$home/signals" ]
}

# For each time that it began to do things again: seconds of work that were done twice.
work_lost() {
	awk '{ if (NR > 1 && $1 != last + 1) print at - first[$1]; last = $1; at = $2; if (!($1 in first)) first[$1] = $2 }' "$home/log"
}
