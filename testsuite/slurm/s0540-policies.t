#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Policies of stasis.yaml by partition and account: intervals that nobody asked for, bounds, folders; and what is deleted
# once a job is complete.
. "$(dirname "$0")/slurm-lib.sh"
. "$(dirname "$0")/work-lib.sh"

home=$slurm_dir/home/alice
begin() { # FOLDER OPTION...
	local f=$1
	shift
	mkdir "$home/$f" && chown 4243 "$home/$f" && cp "$home/work.sh" "$home/$f" && mkfifo -m 666 "$home/$f/fifo" &&
		as_alice sbatch --parsable -D "$home/$f" -o "$home/$f/out" "$@" work.sh
}
newest() { # FOLDER OF CHECKPOINTS
	find "$1" -maxdepth 1 -name 'gen.*' 2>/dev/null | sed 's/.*gen\.//' | sort -n | tail -1 | grep .
}
completes() { # FOLDER JOB
	: >"$home/$1/finish" && slurm_await_state "$2" COMPLETED
}

test_expect_success 'a cluster with the plugin, and policies' '
	mkdir -p "$slurm_dir/etc" && slurm_plugin && slurm_up 1 && work_fresh && as_alice mkdir "$home/elsewhere" && cat >"$slurm_dir/etc/stasis-n1.yaml" <<-END &&
		journal: $slurm_dir/log/journal
		watch: 1
		spread: 0
		keep: 1
		policies:
		  - account: "proj[0-9],other"
		    interval: 1
		    min-interval: 1
		  - partition: high
		    directory: $home/elsewhere
		    clean-after: 1
		  - account: proj2
		    first-delay: 3600
		    keep: 3
	END
	stasisd_start
'
test_expect_success 'a job that fits is checkpointed though it did not ask; others are not, nor who said never' '
	fits=$(begin fits -A proj1 --open-mode=append) && other=$(begin other -A proj10) && never=$(begin never -A proj1 --checkpoint=-1) && later=$(begin later -A proj2) &&
	wait_for "[ \"0\$(newest \"$home/fits/$fits\")\" -ge 3 ]" 60 && [ "$(ls "$home/fits/$fits")" = "gen.$(newest "$home/fits/$fits")" ] &&
	! [ -e "$home/other/$other" ] && ! [ -e "$home/never/$never" ] && ! [ -e "$home/later/$later" ]
'
test_expect_success 'the later one of two policies goes first' '
	for i in 1 2 3 4; do scheckpoint --wait create $later || break; done && ls "$home/later/$later" >kept && printf "gen.%s\n" 2 3 4 | diff - kept
	was=$?; slurm_cancel $later $other $never; [ $was = 0 ]
'
test_expect_success 'what the policy says of a folder is found at the restart' '
	high=$(begin high -p high -A proj1 --open-mode=append) && wait_for "newest \"$home/elsewhere/$high\"" 60 && ! [ -e "$home/high/$high" ] &&
	[ "$(readlink "$home/high/$high.restart")" = "$home/elsewhere/$high" ] && as_root scontrol requeue $high && slurm_await_state $high PENDING &&
	as_alice scontrol update jobid=$high starttime=now+2 && slurm_await_state $high RUNNING && wait_for "grep -q restarted \"$home/high/out\" || [ \"\$(grep -c . \"$home/high/out\")\" -gt 20 ]" && ! [ "$(grep -c "^work 1$" "$home/high/out")" -gt 1 ]
'
test_expect_success 'checkpoints of jobs that are complete are deleted where the policy says so, and nowhere else' '
	completes high $high && wait_for "grep -q \"job=$high complete\" \"$slurm_dir/log/journal\"" && ! [ -e "$home/elsewhere/$high" ] && ! [ -h "$home/high/$high.restart" ] &&
	completes fits $fits && newest "$home/fits/$fits"
'
test_expect_success 'a folder that a request named is left alone, and so is a file of the user there' '
	named=$(begin named -p high) && mine=$(begin mine -p high) && slurm_await_state $named RUNNING && slurm_await_state $mine RUNNING && wait_for "scheckpoint able $mine && scheckpoint able $named" &&
	as_alice mkdir "$home/own" && scheckpoint --wait create $named ImageDir="$home/own" && scheckpoint --wait create $mine && : >"$home/elsewhere/$mine/notes" &&
	completes named $named && completes mine $mine && wait_for "! [ -e \"$home/elsewhere/$mine/gen.1\" ]" && [ -e "$home/elsewhere/$mine/notes" ] && [ -e "$home/own/$named/gen.1/script.ckpt" ]
'
test_expect_success 'who was cancelled keeps them' '
	gone=$(begin gone -p high) && slurm_await_state $gone RUNNING && wait_for "scheckpoint able $gone" && scheckpoint --wait create $gone && slurm_cancel $gone && slurm_await_state $gone CANCELLED &&
	last=$(begin last -p high) && slurm_await_state $last RUNNING && wait_for "scheckpoint able $last" && scheckpoint --wait create $last && completes last $last &&
	wait_for "! [ -e \"$home/elsewhere/$last\" ]" && [ -e "$home/elsewhere/$gone/gen.1/script.ckpt" ]
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
