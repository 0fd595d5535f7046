#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Mount trees of containers: overlay, devpts, tmpfs with content and parts of it elsewhere, bind mounts of files and
# folders, read-only and shared ones, proc, sysfs and mqueue.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"

test_is_root || test_skip_all "t2854 has what an ordinary user can"
unshare -mn true 2>/dev/null || test_skip_all "no namespaces here"

cat >script <<'END'
# what a mount is, without the numbers that the kernel gives
show() {
	sed 's/^[0-9]* [0-9]* [0-9]*:[0-9]* //; s/ shared:[0-9]*/ shared/; s/ master:[0-9]*//' /proc/self/mountinfo | grep " $PWD/" |
		sort
}
contents() {
	find tmpfs overlay bind -xdev -printf '%P %y %m %U %s\n' 2>&1 | grep -v '^ d' | sort
	cat tmpfs/folder/file overlay/* file part/file read-only/outside
	ls dev/pts dev/mqueue proc/self/comm sys/kernel/mm
}
set -e
mount -t tmpfs -o mode=751,size=8m inside tmpfs
mkdir -p tmpfs/folder tmpfs/inner
echo content >tmpfs/folder/file
ln tmpfs/folder/file tmpfs/folder/other
mkfifo tmpfs/fifo
chmod 4711 tmpfs/folder/file
mount -t tmpfs inner tmpfs/inner
echo inner >tmpfs/inner/file
mount --bind tmpfs/folder part
mount --bind outside bind
mount --bind outside read-only
mount -o remount,bind,ro,nosuid read-only
mount --bind outside/outside file
mount --make-shared bind
if mount -t overlay -o "lowerdir=$PWD/lower,upperdir=$PWD/upper,workdir=$PWD/work$1" over overlay 2>/dev/null; then
	echo changed >overlay/lower-2
	rm overlay/lower-3
	echo new >overlay/new
fi
# one that another hides
mkdir hidden hidden/deep
mount -t tmpfs deep hidden/deep
mount --bind outside hidden
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t mqueue mqueue dev/mqueue
mount -t proc proc proc
mount -t sysfs sysfs sys
show >show.before
contents >contents.before
echo $$ >status
until [ -e go ]; do sleep 0.02; done
set +e
show >show.after
contents >contents.after
exec >wrong 2>&1
diff show.before show.after
diff contents.before contents.after
{ echo x >read-only/x; } 2>/dev/null && echo 'read-only is not'
echo more >>overlay/lower-1 && [ "$(cat upper/lower-1)" = "one
more" ] || [ ! -e overlay/new ] || echo 'the overlay writes elsewhere'
mount -t tmpfs over bind && umount bind || echo 'no mounts any more'
: >done
END
job_start() { # UNSHARE OPTION...
	chmod -R u+rwX job 2>/dev/null
	rm -rf job && mkdir job && (cd job && mkdir -p lower upper work overlay tmpfs part outside bind read-only dev/pts dev/mqueue \
		proc sys && : >file && echo outside >outside/outside && echo one >lower/lower-1 && echo two >lower/lower-2 &&
		echo three >lower/lower-3) || return 1
	(cd job && exec setsid unshare "$@" bash ../script "$overlay_option" </dev/null >out 2>&1 3>&-) &
	job=$!
	wait_for '[ -s job/status ] || ! kill -0 $job 2>/dev/null' 20
	[ -s job/status ] || { cat job/out; return 1; }
}
job_ends_well() {
	: >job/go
	wait_for '[ -e job/done ]' 20; cat job/wrong job/out job/show.before
	[ -e job/done ] && [ ! -s job/wrong ]
}
survives() { # UNSHARE OPTION...
	local g
	job_start "$@" || return 1
	for g in 1 2 3; do
		chkpnt -q -r -K KILL -d job -f img$g "$job" && wait_for "! [ -e /proc/$job ]" 20 &&
			restart -q -W job/img$g </dev/null >pid && job=$(cat pid) || return 1
	done
	job_ends_well
}
overlay_option=
test_expect_success 'a mount tree, three generations' 'survives -mniC'
test_kill_all 2>/dev/null
overlay_option=,userxattr
test_expect_success 'the same in a user namespace' 'survives -Urpfmni'
test_done
