#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree with namespaces of its own: a container that one of its processes has started, and one whose
# first process is the root of the tree.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "making namespaces needs root"
unshare -pfmnuiC true 2>/dev/null || test_skip_all "no namespaces here"

matrix namespaces

# A shell tree below these unshare(1) commands: sets job, the pid of the first.
container_start() {
	rm -rf job && mkdir job && cat >job/script <<'END' || return 1
hostname container
exec 9>open
i=0
while [ ! -e go ]; do
	i=$((i + 1))
	echo "$i" >count
	echo "$i" >&9
	sleep 0.02
done
echo "pid $$ host $(hostname) visible $(echo /proc/[0-9]* | wc -w) in order $(sort -nc open && echo yes)" >result
END
	(cd job && exec setsid "$@" bash script </dev/null >out 2>&1 3>&-) &
	job=$!
	wait_for '[ -s job/count ]' 10
}

container_inside() {
	pgrep -P "$job"
}

container_ends_well() {
	: >job/go
	wait_for '[ -s job/result ]' 10 && cat job/result job/out &&
		grep -qE '^pid 1 host container visible [3-6] in order yes$' job/result
}

test_expect_success 'a shell container is restarted with the unshare that waits for it' '
	container_start unshare -pfmnui --mount-proc &&
	chkpnt -q -r -K KILL -f img "$job" && wait_for "! [ -e /proc/$job ]" 10 &&
	{ restart img </dev/null & } && pid=$! && wait_for "[ -n \"\$(container_inside)\" ]" 20 &&
	container_ends_well && wait $pid
'
bubblewrap='bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64
	--ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /run --bind /tmp /tmp --unshare-pid --unshare-net
	--unshare-ipc --unshare-uts --unshare-cgroup --cap-add CAP_SYS_ADMIN'
if [ -n "$(test_missing_programs bwrap)" ]; then
	test_skip 'a bubblewrap container' 'needs the package bubblewrap'
else
	# shellcheck disable=SC2086 # is a list of words
	test_expect_success 'a bubblewrap container' '
		container_start $bubblewrap && chkpnt -q -r -K KILL -f bimg "$job" && wait_for "! [ -e /proc/$job ]" 10 &&
		{ restart bimg </dev/null & } && pid=$! && wait_for "[ -n \"\$(container_inside)\" ]" 20 &&
		: >job/go && wait_for "[ -s job/result ]" 10 && cat job/result job/out &&
		grep -qE "^pid 2 host container visible [3-6] in order yes$" job/result && wait $pid
	'
fi
test_kill_all
test_expect_success 'the first process of the container alone, its number outside is kept' '
	container_start unshare -pf unshare -mnui --mount-proc && inside=$(container_inside) &&
	chkpnt -q -r -K KILL -f img2 "$inside" && wait_for "! [ -e /proc/$inside ]" 10 &&
	{ restart img2 </dev/null & } && pid=$! && wait_for "[ -e /proc/$inside/exe ]" 20 &&
	container_ends_well && wait $pid
'
test_kill_all
test_expect_success 'a named network namespace is joined again' '
	ip netns add "stasis-$$" && ip netns exec "stasis-$$" ip link set lo up && mkdir -p net &&
	{ (cd net && exec setsid ip netns exec "stasis-$$" sh -c "echo ready >status
		while [ ! -e go ]; do sleep 0.02; done; readlink /proc/self/ns/net >result") </dev/null >net/out 2>&1 3>&- & } &&
	job=$! && wait_for "[ -s net/status ]" 10 && before=$(readlink /proc/$job/ns/net) &&
	chkpnt -q -r -K KILL -f img3 "$job" && wait_for "! [ -e /proc/$job ]" 10 &&
	restart -W img3 </dev/null && : >net/go && wait_for "[ -s net/result ]" 10 &&
	[ "$(cat net/result)" = "$before" ]
'
ip netns del "stasis-$$" 2>/dev/null

test_expect_success 'one that others are in too is refused by name' '
	mkdir -p other && { (cd other && exec setsid unshare -n sh -c "echo \$\$ >status; sleep 60" </dev/null >out 2>&1 3>&-) & } &&
	wait_for "[ -s other/status ]" 10 && job=$(cat other/status) &&
	{ nsenter -n -t "$job" sleep 60 & } && guest=$! &&
	wait_for "[ \"\$(readlink /proc/$guest/ns/net)\" = \"\$(readlink /proc/$job/ns/net)\" ]" 10 &&
	test_expect_status 3 chkpnt -q -r -f img4 "$job" 2>err && cat err &&
	grep -q "net namespace that it shares with process $guest" err && [ ! -e img4 ]
'
# What lives in an IPC namespace of its own comes back whole.
test_expect_success 'System V objects of an IPC namespace come back' '
	mkdir -p ipc && { (cd ipc && exec setsid unshare -i sh -c "ipcmk -Q >out; ipcmk -Q; ipcrm -q 0; ipcmk -S 2; ipcmk -M 5000
		ipcs >before; echo \$\$ >status; while [ ! -e go ]; do sleep 0.02; done; ipcs >after" \
		</dev/null >out 2>&1 3>&-) & } &&
	wait_for "[ -s ipc/status ]" 10 && job=$(cat ipc/status) &&
	chkpnt -q -r -K KILL -f img6 "$job" && wait_for "! [ -e /proc/$job ]" 10 &&
	restart -W img6 </dev/null && : >ipc/go && wait_for "! [ -e /proc/$job ]" 10 &&
	diff ipc/before ipc/after && [ "$(grep -c "^0x" ipc/after)" = 3 ]
'
# A POSIX queue that nobody has open would be lost.
ipc_refused() { # FOLDER COMMAND WORDS
	local job
	mkdir -p "$1" && { (cd "$1" && exec setsid unshare -i sh -c "$2; echo \$\$ >status; exec sleep 60" \
		</dev/null >out 2>&1 3>&-) & } &&
		wait_for "[ -s $1/status ]" 10 && job=$(cat "$1/status") || return 1
	test_expect_status 3 chkpnt -q -r -f "$1.img" "$job" 2>err
	cat err
	grep -q "has $3.* in an IPC namespace of its own" err && [ ! -e "$1.img" ]
}
test_expect_success 'a POSIX message queue in an IPC namespace is refused by name' '
	ipc_refused mq "python3 -c \"import ctypes
ctypes.CDLL(None).mq_open(b\\\"/left\\\", 0o102, 0o600, None)\"" "the POSIX message queue ./left"
'
test_expect_success 'an interface that cannot be made again is refused by name' '
	mkdir -p tap && { (cd tap && exec setsid unshare -n sh -c "ip tuntap add d0 mode tap && ip link set d0 up
		echo \$\$ >status; exec sleep 60" </dev/null >out 2>&1 3>&-) & } &&
	wait_for "[ -s tap/status ]" 10 && job=$(cat tap/status) && cat tap/out && [ ! -s tap/out ] &&
	test_expect_status 3 chkpnt -q -r -f img5 "$job" 2>err && cat err && grep -q "interface .d0." err
'
test_done
