#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Batch scripts and the steps they run: each script of the table runs undisturbed, and then with two vacates in the
# middle, restarted on other nodes: what it leaves must be the same. All of them at the same time.
. "$(dirname "$0")/slurm-lib.sh"

home=$slurm_dir/home/alice
cat >step.sh <<'END'
# step.sh NAME [STATUS]: 40 lines; in the middle it waits while there is a file "stop".
for ((i = 1; i <= 20; i++)); do echo "$1 $i"; done
: >at.$1.$SLURM_PROCID
while [ -e stop ]; do read -r -t 0.05 <>fifo; done
for ((; i <= 40; i++)); do echo "$1 $i"; done
exit ${2:-0}
END
cat >flood.sh <<'END'
# 20,000 lines as fast as they go
for ((i = 1; i <= 20000; i++)); do echo "$1 $i"; [ $i != 200 ] || : >at.$1.$SLURM_PROCID; done
while [ -e stop ]; do read -r -t 0.05 <>fifo; done
END

# ---- the table: NAME WAITS LIMITS, and the script; WAITS: at.* files that are there when all of it is in the middle
names=
row() { # NAME WAITS SBATCH-OPTION...
	names="$names $1"
	mkdir "$1"
	{ echo '#!/bin/bash'; cat; } >"$1/job.sh"
	echo "$2" >"$1.waits"
	shift 2
	echo "$*" >"${names##* }.options"
}
row loop 2 -N2 -n2 <<'END'
for round in 1 2 3; do
	echo begin $round
	if [ $round = 2 ]; then
		srun -l bash step.sh $round
	else
		srun -l echo $round
	fi | sort -k3n -k1 >sorted.$round
	echo end $round ${PIPESTATUS[*]}
done
END
row two 2 -n2 <<'END'
srun -n1 --exact bash step.sh a 3 >a & a=$!
srun -n1 --exact bash step.sh b 4 | tee b >/dev/null & b=$!
wait $b; echo b $?
wait $a; echo a $?
echo after; srun -n2 echo done
END
row make 2 -N2 -n2 <<'END'
mkdir -p sub && ln -sf ../fifo ../step.sh sub && { [ ! -e stop ] || ln -sf ../stop sub; }
printf 'all:\n\t@umask 027; srun -l bash step.sh m 5 | sort -k3n -k1 >made; echo $${PIPESTATUS:-x} >>made\n\t@srun -n1 basename "$$PWD" >>made\n' >sub/Makefile
(cd sub && unset MAKEFLAGS MAKELEVEL && exec make SHELL=/bin/bash) 2>&1 | grep -v srun:
cat sub/made
END
row files 2 -n2 <<'END'
srun -n1 --exact -o steps.out bash step.sh o &
srun -n1 --exact bash step.sh p >>appended &
wait
srun -n1 cat appended steps.out
END
row input 3 -n3 <<'END'
seq 3 | srun -n1 --exact bash -c 'cat; . ./step.sh in' >in &
srun -n1 --exact bash -c 'cat; . ./step.sh here' >here <<<"a here-document" &
(echo x; while [ ! -e at.last.0 ]; do read -r -t 0.05 <>fifo; done; while [ -e stop ]; do read -r -t 0.05 <>fifo; done; echo y) |
	srun -n1 --exact bash -c 'read -r x; echo "$x"; : >at.last.0; cat' >late &
wait
cat in here late
END
row flood 2 -N2 -n2 <<'END'
srun -l bash flood.sh f | tr a-z A-Z >all
sort -k3n -k1 all >flood.sorted; wc -l <all
END
row idle 1 -n1 <<'END'
srun -n1 echo before
SLURM_PROCID=0 bash step.sh shell
srun -n1 echo after
END

jobs_begin() { # FOLDER WHAT-FIRST
	local n j
	for n in $names; do
		as_alice mkdir -p "$home/$1/$n" && (cd "$home/$1/$n" && mkfifo -m 666 fifo && cp "$test_scratch"/*.sh "$test_scratch/$n/job.sh" . && eval "$2") &&
			j=$(as_alice sbatch --parsable -D "$home/$1/$n" -o out $(cat $n.options) job.sh) && echo "$j" >$n.$1 || return
	done
}
jobs_await() { # FOLDER STATE
	local n
	for n in $names; do
		slurm_await_state "$(cat $n.$1)" $2 || { echo "$n: job $(cat $n.$1)"; tail -5 "$home/$1/$n/out"; return 1; }
	done
}
jobs_in_the_middle() {
	local n
	for n in $names; do
		wait_for "[ \"\$(find \"$home/got/$n\" -name 'at.*' | wc -l)\" -ge $(cat $n.waits) ]" 60 || { echo "$n"; return 1; }
	done
}
jobs_vacate() {
	local n failed=
	for n in $names; do
		scheckpoint --wait vacate "$(cat $n.got)" >$n.said 2>&1 &
		echo $! >$n.pid
	done
	for n in $names; do
		wait "$(cat $n.pid)" || { echo "$n:"; cat $n.said; failed=1; }
	done
	[ -z "$failed" ]
}
jobs_restart() {
	local n
	for n in $names; do
		scheckpoint restart "$(cat $n.got)" || return
	done
}

test_expect_success 'a cluster of six nodes' '
	slurm_plugin && slurm_up 6 && stasisd_start
'
test_expect_success 'the scripts undisturbed' '
	jobs_begin want : && jobs_await want COMPLETED
'
test_expect_success 'again, up to the middle; then all are vacated' '
	as_root scontrol update nodename=n6 state=drain reason=test && jobs_begin got ": >stop" && jobs_in_the_middle && jobs_vacate && jobs_await got PENDING
'
test_expect_success 'they are restarted, the first node not among those they have, and vacated again' '
	as_root scontrol update nodename=n6 state=resume && as_root scontrol update nodename=n1 state=drain reason=test &&
	find "$home/got" -name "at.*" -delete && jobs_restart && jobs_await got RUNNING &&
	for n in $names; do
		wait_for "as_alice \"$top_builddir/scheckpoint\" able \$(cat $n.got) >/dev/null 2>&1" && j=$(cat $n.got) || break
		[ $n = idle ] || wait_for "as_root scontrol -o show step $j | grep -qE \"StepId=$j[.][0-9]+ .*SrunHost:Pid=n[2-6]:\"" || break
	done && [ "$n" = idle ] && jobs_vacate && jobs_await got PENDING
'
test_expect_success 'restarted once more they come to their ends, with the same results' '
	find "$home/got" -name stop -delete && jobs_restart && jobs_await got COMPLETED &&
	for n in $names; do
		as_root scontrol show job $(cat $n.got) | grep -qE "BatchHost=n[2-6]" || { echo "$n: node"; break; }
		for f in $(cd "$home/want/$n" && find . -type f ! -name "at.*" ! -name "all" ! -name fifo); do
			cmp <(said "$home/want/$n/$f") <(said "$home/got/$n/$f") || { echo "$n/$f"; diff "$home/want/$n/$f" "$home/got/$n/$f" | head -20; break 2; }
		done
	done && [ "$f" ] && [ "$n" = idle ] && [ -s "$home/got/idle/out" ]
'
[ "$test_failed" = 0 ] || sed "s,^,# ," "$slurm_dir/log/journal" >&3
test_done
