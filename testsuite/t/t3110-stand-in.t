#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Processes that are not saved but begun again in their places (chkpnt --stand-in), as a client is whose
# connection no image can hold.
. "$(dirname "$0")/../lib/test-lib.sh"

# Listens outside of the hierarchy, so that a client has what is an obstacle.
cat >server.py <<'END'
import os, socket
s = socket.socket(socket.AF_UNIX)
s.bind("server")
s.listen(50)
open("listening", "w").close()
clients = []
while True:
    clients.append(s.accept())
END
# client.py NAME STATUS: says what is in the file NAME.say, has a child and a second thread and a file that it writes
# to, reads standard input when there is a file NAME.reads, notes how it was started in NAME.is, and ends with
# STATUS when there is a file NAME.end.
cat >client.py <<'END'
import os, resource, socket, sys, threading, time
name, status = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["SERVER"])
with open("/proc/self/status") as f:
    fields = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
state = [fields["Umask"], "hup" if int(fields["SigIgn"], 16) & 1 else "no hup"]
r, w = os.pipe()
if os.fork() == 0:
    os.close(w)
    os.read(r, 1)
    os._exit(0)
os.close(r)
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
log = open(name + ".log", "a")
with open(name + ".say") as f:
    text = f.read()
log.write(text)
log.flush()
sys.stdout.write(text)
sys.stdout.flush()
if os.path.exists(name + ".reads"):
    sys.stdout.write(sys.stdin.read())
    sys.stdout.flush()
with open(name + ".new", "w") as f:
    print(os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0), os.getcwd(), sys.argv, state,
          resource.getrlimit(resource.RLIMIT_STACK), os.environ["SERVER"], os.environ.get("WHO"), file=f)
os.rename(name + ".new", name + ".is")
while not os.path.exists(name + ".end"):
    time.sleep(0.01)
os._exit(status)
END
cat >client <<'END'
#!/bin/sh
exec /usr/bin/python3 "$PLACE/client.py" "$@"
END
chmod 755 client
mkdir dir
mkfifo fifo
export SERVER=$PWD/server PLACE=$PWD
[ -x /usr/bin/python3 ] || test_skip_all 'no python3'

# begin SCRIPT: in a session of its own; root is its pid
begin() {
	rm -f ./*.is ./*.end ./*.log* ./*.reads root out said dir/*.*
	seq 5 >c.say && cp c.say d.say && cp c.say dir/e.say
	setsid bash -c "echo \$\$ >root.new; mv root.new root; $1" </dev/null 3>&- 2>err &
	wait_for '[ -s root ]' && root=$(cat root)
}
pid_of() { # CLIENT
	wait_for "[ -e $1.is ]" && cut -d' ' -f1 "$1.is"
}
# The clients are those of SCRIPT; what they say differs from now on.
save() { # IMAGE CLIENT...
	local image=$1 c list=
	shift
	for c; do
		list=$list${list:+,}$(pid_of "$c") || return
		rm -f "$c.was" && cp "$c.is" "$c.was" || return
	done
	chkpnt -r --stand-in="$list" -K KILL -f "$image" "$root" && wait_for "! kill -0 $root 2>/dev/null" || return
	for c; do
		rm -f "$c.is" && seq 6 10 >"$c.say"
	done
}
again() { # OPTIONS IMAGE CLIENT...
	local c
	restart -W $1 "$2" 3>&- || return
	shift 2
	for c; do
		wait_for "[ -e $c.is ]" && cat "$c.was" "$c.is" && cmp "$c.was" "$c.is" || return
	done
}
ends() { # the shell does
	wait_for "[ -n \"\$(tail -1 out 2>/dev/null | grep status)\" ]" && cat out err
}

test_expect_success 'a server outside' '
	/usr/bin/python3 server.py 3>&- & wait_for "[ -e listening ]"
'
test_expect_success 'a client is an obstacle; one that is not saved is none, and goes on undisturbed' '
	begin "./client c 3; echo status \$? >>out" && c=$(pid_of c) &&
	test_expect_status 3 chkpnt -r -f img "$root" 2>msg; cat msg; grep -q "socket" msg &&
	chkpnt -r --stand-in=$c -f img0 "$root" && stasis verify img0 && stasis show img0 && stasis ls . && pgrep -P $c && : >c.end && ends &&
	grep -qx "status 3" out
'
test_expect_success 'begun again it has its place; the shell that waits for it gets the status' '
	begin "cd dir; umask 027; trap \"\" HUP; ulimit -Ss 4096; WHO=\"a b\" ../client e 7; echo status \$? >>../out" &&
	save img1 dir/e && again "" img1 dir/e && grep -q "/client.py., .e., .7.\] \[.0027., .hup.\] (4194304, .* a b$" dir/e.is &&
	: >dir/e.end && ends && grep -qx "status 7" out
'
test_expect_success 'a pipeline: what the first has said is there, the second says the rest' '
	begin "./client c 3 | sort -n >sorted; echo status \${PIPESTATUS[*]} >>out" && save img2 c &&
	again "" img2 c && : >c.end && ends && grep -qx "status 3 0" out && seq 10 | cmp - sorted
'
test_expect_success 'its input: what was not read is read by the second' '
	begin "(seq 3; read -r <fifo; seq 4 6) | ./client c 0 >said; echo status \$? >>out" &&
	save img3 c && : >c.reads && restart -W img3 3>&- && echo >fifo && wait_for "[ -e c.is ]" && cmp c.is c.was && : >c.end &&
	ends && { seq 10; seq 6; } | cmp - said
'
test_expect_success 'a here-document that only it has' '
	begin "./client c 0 >said <<<\"$(seq 20000)\"; echo status \$? >>out" && save img4 c && : >c.reads && again "" img4 c &&
	: >c.end && ends && { seq 10; seq 20000; } | cmp - said
'
test_expect_success 'two in the background, below make and a subshell, and each its status' '
	printf "all:\n\t-@./client d 2\n" >Makefile &&
	begin "(./client c 9; exit \$?) & p=\$!; make >made 2>&1 & wait \$p; s=\$?; wait; echo status \$s >>out" &&
	save img5 c d && again "" img5 c d && : >d.end && : >c.end && ends && grep -qx "status 9" out && cat made && grep -q "Error 2" made
'
test_expect_success 'three generations' '
	begin "./client c 3 | cat >said; echo status \${PIPESTATUS[*]} >>out" && save img6 c && again "" img6 c && root=$(cat root) &&
	seq 11 15 >c.say && list=$(pid_of c) && rm -f c.was && chkpnt -r --stand-in=$(pgrep -fx "/usr/bin/python3 $PLACE/client.py c 3" | head -1) \
		-K KILL -f img7 "$(pgrep -fx "setsid bash -c .*|bash -c echo .*client c 3 .*" | head -1)" && rm -f c.is && restart -W img7 3>&- &&
	wait_for "[ -e c.is ]" && : >c.end && ends && seq 15 | cmp - said
'
test_expect_success 'one that has ended, and was not waited for' '
	begin "./client c 3 & exec sleep 1000" && c=$(pid_of c) && : >c.end && wait_for "grep -q \"^State:.Z\" /proc/$c/status" &&
	chkpnt -r --stand-in=$c -K KILL -f img8 "$root" && wait_for "! kill -0 $root 2>/dev/null" && rm -f c.is && restart -W img8 3>&- &&
	z=$(pgrep -fx "sleep 1000" | head -1) && grep -q "^State:.Z" /proc/$(pgrep -P $z)/status && kill -KILL $z
'
test_expect_success 'a file that it wrote to is cut back' '
	begin "./client c 3 >>said; echo status \$? >>out" && save img9 c && seq 100 | tee -a said >>c.log && again --rollback-files img9 c &&
	: >c.end && ends && seq 10 | cmp - c.log && seq 10 | cmp - said && seq 100 | cmp - c.log.after-checkpoint
'
test_expect_success 'a parent that ends at once does not take it along' '
	begin "./client c 3 & read -r <fifo" && save img10 c && restart -W img10 3>&- &&
	echo >fifo && wait_for "[ -e c.is ] && ! kill -0 $root 2>/dev/null" && kill -0 $(pgrep -fx "/usr/bin/python3 $PLACE/client.py c 3" | head -1) && : >c.end
'
test_expect_success 'what cannot be is refused' '
	begin "./client c 3; echo status \$? >>out" && c=$(pid_of c) &&
	test_expect_status 2 chkpnt -r --stand-in=$c,x -f bad "$root" 2>msg; cat msg; grep -q "x" msg &&
	test_expect_status 1 chkpnt -r --stand-in=$root -f bad "$root" 2>msg; cat msg; grep -q "process $root, which is not to be saved, is not below the root" msg &&
	kill -STOP $c && test_expect_status 3 chkpnt -r --stand-in=$c -f bad "$root" 2>msg; kill -CONT $c; cat msg; grep -q "stopped by job control" msg &&
	kill -0 $c && [ ! -e bad ] && save img11 c && ! restart -W img11.*.$c 3>&- 2>msg; cat msg; grep -q "of a process that was not saved" msg
'
test_expect_success 'a program that is not there any more is missed before anything runs' '
	cp /bin/sleep gone && begin "./gone 1000; echo status \$? >>out" && wait_for "pgrep -P $root" && g=$(pgrep -P $root) &&
	wait_for "[ \"\$(readlink /proc/$g/exe)\" = $PWD/gone ]" && chkpnt -r --stand-in=$g -K KILL -f img12 $root && rm gone &&
	wait_for "! kill -0 $root 2>/dev/null" && test_expect_status 1 restart -W img12 3>&- 2>msg; cat msg; grep -q "is to be started again" msg && ! [ -e out ]
'
test_done
