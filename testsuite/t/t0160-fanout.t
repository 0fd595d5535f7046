#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rounds of sixty daemons in a tree (src/daemon/test/fanout_sim.c): all nodes or none, whoever of them
# fails, dies or is silent, and wherever in the tree; everybody who stood still goes on.
# A network of its own: the addresses of the nodes are fixed.
if [ "$(id -u)" = 0 ] && [ -z "$TEST_NETWORK" ] && unshare -n true 2>/dev/null; then
	TEST_NETWORK=1 exec unshare -n bash "$0" "$@"
fi
. "$(dirname "$0")/../lib/test-lib.sh"
[ -z "$TEST_NETWORK" ] || ip link set lo up || test_skip_all 'no loopback in a network of its own'

sim=$top_builddir/src/daemon/test/fanout_sim
[ -x "$sim" ] || test_skip_all 'built without Slurm'
test_is_root || test_skip_all 'needs root: what daemons tell each other is root'"'"'s'
PATH=$PATH:/usr/sbin:/sbin
[ -z "$(test_missing_programs munged)" ] || test_skip_all 'needs munged'

# Four branches of fifteen: 1, 16, 31, 46; below 1: 2, 6, 10, 13; below 6: 7, 8, 9; below 46: 47, 51, 55, 58; below 58: 59, 60.
nodes=60
munge_start() {
	chmod 755 . && install -d -m 755 munge && (umask 077 && head -c 1024 /dev/urandom >munge/key) &&
		munged --key-file="$PWD/munge/key" --socket="$PWD/munge/socket" --pid-file="$PWD/munge/pid" \
			--log-file="$PWD/munge/log" --seed-file="$PWD/munge/seed" --num-threads=2 </dev/null &&
		export STASIS_MUNGE_SOCKET=$PWD/munge/socket
}
round() { # FANOUT_SIM-OPTION...
	local status session
	rm -rf f && mkdir f && : >f/log && timeout 100 "$sim" -n $nodes -w 4 "$@" f >out 2>err
	status=$?
	cat out err
	session=$(sed -n 's/^session //p' out)
	wait_for '! ps -o stat= -s '"$session"' | grep -qv "^[TZ]"' 30 || return 99
	pkill -KILL -s "$session"
	return $status
}
generations() {
	find f/images/1.0 -mindepth 1 -maxdepth 1 -printf '%f ' 2>/dev/null
}
count() { # WORD: of dumps
	grep -c " $1\$" f/log
}
all_go_on() { # who stood still runs, and nobody was killed
	[ "$(count stops)" = "$(count runs)" ] && [ "$(count killed)" = 0 ] &&
		[ -z "$(sed -n "s/ runs//p" f/log | sort | uniq -d)" ] && return
	echo "not all go on:" && sort -n f/log
	return 1
}
nothing_left() { # of an image
	[ -z "$(generations)" ] && return
	echo "left over:" && find f/images
	return 1
}
# broken NODE:MOMENT:HOW NAMES [OPTION]...: no checkpoint, a message that begins with one of NAMES
broken() {
	local fault=$1 names=$2 n
	shift 2
	test_expect_status 1 round -f "$fault" "$@" && grep -q '^failed' out && nothing_left && all_go_on || return
	for n in $names; do
		! grep -q "message=127.77.0.$n: " out || return 0
	done
	echo "$fault: not named: $names"
	return 1
}

test_expect_success 'munge' 'munge_start'
test_expect_success 'create: all saved, all run on; four messages for each node' '
	round && grep -q "^done .* nodes=60 depth=3 messages=240 bytes=300 tasks=60$" out && [ "$(generations)" = "gen.1 " ] &&
	[ "$(ls f/images/1.0/gen.1 | wc -l)" = 60 ] && [ "$(count stops) $(count runs) $(count killed)" = "60 60 0" ]
'
test_expect_success 'vacate: all saved, all killed' '
	round -v && grep -q "^done .* nodes=60 depth=3 messages=240 " out && [ "$(generations)" = "gen.1 " ] &&
	[ "$(ls f/images/1.0/gen.1 | wc -l)" = 60 ] && [ "$(count stops) $(count runs) $(count killed)" = "60 0 60" ]
'
for width in 2 59 60 512; do
	test_expect_success "tree-width $width" '
		round -w '$width' -r 2 && [ "$(grep -c "^done .* nodes=60 " out)" = 2 ] && [ "$(generations | wc -w)" = 2 ]
	'
done
for moment in start written durable; do
	for how in fail die; do
		[ $moment:$how = start:fail ] && continue
		for node in 1 6 60; do
			test_expect_success "node $node, $moment: $how: it is named, all run on" '
				broken '"$node:$moment:$how $node"' && broken '"$node:$moment:$how $node"' -v
			'
		done
	done
done
test_expect_success 'who is silent is named by who asked, in time; those below and its own task find the decision' '
	broken 6:written:stop "6 1" -t 6 && [ "$(sed -n "s/.* ms=\([0-9]*\) .*/\1/p" out)" -lt 12000 ] && grep -q "^7 runs" f/log && grep -q "^6 runs" f/log
'
test_expect_success 'nobody stands still behind it until the time is over, when there is no checkpoint any more' '
	broken 60:written:fail 60 -a 6 -a 7 -f 6:written:stop -t 90 && grep -q "^6 runs" f/log && grep -q "^7 runs" f/log
'
test_expect_success 'so is one that was silent from the beginning, and a leaf; vacate' '
	broken 1:start:stop 1 -t 3 -v && broken 60:durable:stop "60 58 46" -t 6 -v && grep -q "^60 runs" f/log
'
kill "$(cat munge/pid)"
test_done
