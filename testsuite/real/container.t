#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A shell tree in a container, with pid, mount, UTS, IPC, network, cgroup and user namespaces: of unshare(1) and of
# bubblewrap, as root and as an ordinary user. It counts in a pipeline and through a named pipe on a tmpfs.
TEST_LIMIT=900
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/real-lib.sh"

test_user_namespaces_work || test_skip_all "no user namespaces here"
real_progress=progress

real_setup() {
	cat >job.sh <<'END'
set -e
own=$(readlink /proc/self/ns/user)
[ "$1" = none ] || mount -t tmpfs -o mode=755 job /run
hostname container 2>/dev/null || true
mkfifo /run/fifo
mkdir /run/sums

# the other side of the named pipe
(n=0
while read -r sum; do
	n=$((n + 1))
	echo "$n $sum" >>/run/received
done </run/fifo
echo "$n lines" >>/run/received) &
reader=$!
exec 7>/run/fifo
sum=start
for i in $(seq 500); do
	sum=$(printf '%s %s' "$sum" "$i" | sha256sum | cut -c 1-64)
	echo "$sum" >>progress
	echo "$sum" >&7
	echo "$sum" >"/run/sums/$((i % 50))"
done
exec 7>&-
wait $reader
cp /run/received received
cat /run/sums/* | sha256sum
# /proc shows this container's processes and no others
[ "$(readlink /proc/self/ns/user)" = "$own" ] && [ "$(ls /proc | grep -c '^[0-9]')" -lt 10 ]
echo "pid $$, uid $(id -u), gid $(id -g) on $(hostname), loopback $(ip -o link show lo | grep -c ,UP)"
END
}
# what cannot be the same in every run
# shellcheck disable=SC2317 # is called
real_finish() {
	sed -i '/^pid/s/on .*,/on ?,/' stdout
	[ -s progress ] && [ ! -s stderr ]
}

container=(bash "$real_input/job.sh")
unshare=(unshare -UrpfmnuiC --mount-proc "${container[@]}" tmpfs)
real_command=("${unshare[@]}")
real_program 'unshare'

bubblewrap=(bwrap --ro-bind / / --bind "$test_scratch" "$test_scratch" --proc /proc --dev /dev --tmpfs /run
	--unshare-all --hostname container --uid 1000 --gid 1000 "${container[@]}" none)
has_bubblewrap=
[ -n "$(test_missing_programs bwrap)" ] || ! bwrap --ro-bind / / --unshare-all true 2>/dev/null || has_bubblewrap=1
if [ -n "$has_bubblewrap" ]; then
	real_command=("${bubblewrap[@]}")
	real_program 'bubblewrap'
else
	test_skip 'bubblewrap' 'needs the package bubblewrap'
fi
real_command=("${unshare[@]}")
if [ -z "$has_bubblewrap" ]; then
	real_program_as_user 'unshare'
elif test_is_root; then
	real_command=("${bubblewrap[@]}")
	real_program_as_user 'bubblewrap'
fi
test_done
