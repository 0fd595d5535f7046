#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Network namespaces of a tree's own with interfaces: a veth pair to the outside and on a bridge, one between two
# of the tree's namespaces, a dummy; their addresses and routes.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"

missing=$(test_missing_programs ip python3)
# shellcheck disable=SC2086
[ -z "$missing" ] || test_skip_all $missing "is missing"
test_is_root || test_skip_all "making network interfaces needs root"

# A network of our own for what is outside of the tree, so that no other test's is in the way.
if [ -z "$TEST_OWN_NET" ]; then
	unshare -n ip link add stasis0 type veth peer name stasis1 2>/dev/null || test_skip_all "no veth here"
	export TEST_OWN_NET=1
	trap - EXIT
	cd / && rm -rf "$test_scratch"
	exec unshare -n "$0" "$@"
fi
ip link set lo up

# container_start NAME SCRIPT: a shell in a network namespace, which runs SCRIPT (with $peer the namespace of the
# test) and waits for "go"; then it says what its network is.
container_start() {
	rm -rf "$1" && mkdir "$1" && cat >"$1/script" <<'END' || return 1
until [ -e begin ]; do sleep 0.02; done
. ./begin
show() {
	ip -o link show | sed 's/ qdisc .* mode/ mode/; s/ group .* qlen/ qlen/; s/@if[0-9]*//; s/link-netns\(id\)\? [^ ]*//g'
	ip -o addr show | sed 's/ tentative//; s/ nodad//'
	ip route show table all | grep -v '^multicast\|^broadcast\|^local\|^anycast\|ff00'
	ip -6 route show | sort
}
show >before
echo $$ >status
until [ -e go ]; do sleep 0.02; done
show >after
if diff before after; then echo ok; fi >result
END
	(cd "$1" && exec setsid unshare "${container_options[@]}" -n bash script </dev/null >out 2>&1 3>&-) &
	container=$!
	wait_for "[ \"\$(readlink /proc/$container/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]" 20
}
container_begin() { # NAME LINE...
	printf '%s\n' "${@:2}" >"$1/new" && mv "$1/new" "$1/begin" && wait_for "[ -s $1/status ]" 20 && cat "$1/out"
}
container_ends_well() {
	: >"$1/go"
	wait_for "[ -e $1/result ]" 20 && wait_for "[ -s $1/result ]" 5
	cat "$1/result" "$1/out"
	grep -qx ok "$1/result"
}
container_options=()

cat >server.py <<'END'
import socket, sys
s = socket.create_server(("", 4711), reuse_port=False)
open("port", "w").write("4711")
while True:
    c, a = s.accept()
    c.sendall(b"hello " + a[0].encode())
    c.close()
END
outside() {
	ip -o link show vh0 | sed 's/^[0-9]*: //; s/ qdisc .* mode/ mode/; s/@if[0-9]*//; s/link-netns\(id\)\? [^ ]*//g'
	ip -o addr show vh0 | sed 's/^[0-9]*: //; s/ tentative//; s/ nodad//'
	ip route show dev vh0
}
veth_start() {
	container_start c && ip link add vh0 type veth peer name eth0 netns "$container" &&
		ip link set vh0 address 02:00:00:00:00:aa mtu 1400 up && ip addr add 198.18.0.1/24 dev vh0 &&
		ip route add 198.19.0.0/16 via 198.18.0.2 dev vh0 &&
		container_begin c 'ip link set lo up; ip addr add 127.0.0.2/8 dev lo' \
			'ip link set eth0 address 02:00:00:00:00:bb mtu 1400 up' \
			'ip addr add 198.18.0.2/24 dev eth0; ip addr add 198.19.7.7/32 dev eth0' \
			'ip -6 addr add fd00:5:7a5::2/64 dev eth0 nodad; ip route add default via 198.18.0.1' \
			'# a kernel may have no such thing' 'ip link add dum0 type dummy 2>/dev/null &&' \
			'ip link set dum0 up && ip addr add 192.0.2.1/32 dev dum0' &&
		wait_for '! ip -o addr show | grep -q tentative' 20
}
reach() { # from outside in, and from inside out
	(cd c && exec nsenter -n -t "$1" python3 ../server.py) >server.out 2>&1 3>&- &
	local server=$! status
	wait_for '[ -s c/port ]' 20 && python3 -c '
import socket
for a in ("198.18.0.2", "198.19.7.7"):
    c = socket.create_connection((a, 4711), timeout=20)
    assert c.recv(100) == b"hello 198.18.0.1", a
'
	status=$?
	kill "$server"
	rm -f c/port
	cat server.out
	return "$status"
}
test_expect_success 'a veth pair to the outside' '
	veth_start && reach "$container" && outside >outside.before && cat outside.before &&
	chkpnt -q -r -K KILL -f img "$container" && wait_for "! [ -e /proc/$container ]" 20 &&
	restart -W img </dev/null && reach "$container" && outside >outside.after && diff outside.before outside.after &&
	container_ends_well c
'
test_kill_all 2>/dev/null
test_expect_success 'three generations' '
	wait_for "! ip link show vh0 2>/dev/null" 20 && veth_start && outside >outside.before &&
	for g in 1 2 3; do
		chkpnt -q -r -K KILL -f gen$g "$container" && wait_for "! [ -e /proc/$container ]" 20 &&
		restart -W gen$g </dev/null || break
	done && outside >outside.after && diff outside.before outside.after && reach "$container" && container_ends_well c
'
test_kill_all 2>/dev/null
test_expect_success 'in a user namespace' '
	container_options=(-Ur) && wait_for "! ip link show vh0 2>/dev/null" 20 && veth_start && outside >outside.before &&
	chkpnt -q -r -K KILL -f uimg "$container" && wait_for "! [ -e /proc/$container ]" 20 &&
	pid=$(restart -W uimg </dev/null) && reach "$pid" && outside >outside.after && diff outside.before outside.after &&
	container_ends_well c
'
container_options=()
test_kill_all 2>/dev/null
test_expect_success 'a name that is taken meanwhile is an error' '
	wait_for "! ip link show vh0 2>/dev/null" 20 && veth_start &&
	chkpnt -q -r -K KILL -f timg "$container" && wait_for "! [ -e /proc/$container ]" 20 &&
	wait_for "! ip link show vh0 2>/dev/null" 20 && ip link add vh0 type bridge &&
	test_expect_status 1 restart -W timg </dev/null 2>err; status=$?; cat err; ip link del vh0
	[ "$status" = 0 ] && grep -q "make the network interface .eth0. with vh0: File exists" err &&
	[ -z "$(pgrep -f "bash script" -P 1 --ns $$ --nslist net)" ]
'
test_kill_all 2>/dev/null
test_expect_success 'the end outside is a port of a bridge again' '
	ip link add br0 type bridge && ip link set br0 up && ip addr add 198.18.0.1/24 dev br0 &&
	container_start b && ip link add vb0 type veth peer name eth0 netns "$container" &&
	ip link set vb0 master br0 up && container_begin b "ip link set eth0 up; ip addr add 198.18.0.2/24 dev eth0" &&
	chkpnt -q -r -K KILL -f bimg "$container" && wait_for "! [ -e /proc/$container ]" 20 &&
	restart -W bimg </dev/null && ip -o link show vb0 | grep "master br0" && container_ends_well b
'
test_kill_all 2>/dev/null
# Two containers in one tree, with a cable between.
pair_start() {
	mkdir two && cat >two/one <<'END' && cat >two/script <<'END' || return 1
echo $$ >"$1"
until [ -e go ]; do sleep 0.02; done
ip -o addr show dev "$1" >"$1.after"
until [ -e x0.after ] && [ -e y0.after ]; do sleep 0.02; done
[ "$1" = x0 ] || python3 -c 'import socket
s = socket.create_server(("10.9.0.2", 4712))
open("listens", "w").write("yes")
c, a = s.accept()
open("result", "w").write("from " + a[0])'
[ "$1" = y0 ] || { until [ -s listens ]; do sleep 0.02; done; python3 -c 'import socket
socket.create_connection(("10.9.0.2", 4712), timeout=20)'; }
END
unshare -n sh one x0 &
unshare -n sh one y0 &
wait
END
	(cd two && exec setsid bash script </dev/null >out 2>&1 3>&-) &
	job=$!
	wait_for '[ -s two/x0 ] && [ -s two/y0 ]' 20 && x=$(cat two/x0) && y=$(cat two/y0) &&
		ip link add x0 netns "$x" type veth peer name y0 netns "$y" &&
		nsenter -n -t "$x" sh -c 'ip link set x0 up; ip addr add 10.9.0.1/24 dev x0' &&
		nsenter -n -t "$y" sh -c 'ip link set y0 up; ip addr add 10.9.0.2/24 dev y0'
}
test_expect_success 'a pair between two namespaces of the tree' '
	pair_start && chkpnt -q -r -K KILL -f two.img "$job" && wait_for "! [ -e /proc/$job ]" 20 &&
	restart -W two.img </dev/null && nsenter -n -t "$x" ip -o link show x0 && : >two/go &&
	wait_for "[ -s two/result ]" 30; cat two/out two/*.after
	[ "$(cat two/result)" = "from 10.9.0.1" ] && grep -q "inet 10.9.0.2/24" two/y0.after
'
test_kill_all 2>/dev/null
test_expect_success 'an interface whose other end is in a namespace of others is refused by name' '
	ip netns add "stasis-$$" 2>/dev/null; container_start o &&
	ip link add o0 netns "stasis-$$" type veth peer name eth0 netns "$container" && container_begin o "ip link set eth0 up" &&
	test_expect_status 3 chkpnt -q -r -f oimg "$container" 2>err; status=$?; cat err; ip netns del "stasis-$$"
	[ "$status" = 0 ] && grep -q "interface .eth0., whose other end is neither here nor in the hierarchy" err
'
test_done
