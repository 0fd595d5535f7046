#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# User namespaces of a tree's own: of a container in it, and of its root; as root and as an ordinary user.
TEST_LIMIT=400
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_user_namespaces_work || test_skip_all "no user namespaces here"

# A shell below unshare(1), which is the root of the tree itself.
shell_start() { # OPTION...
	rm -rf job && mkdir job && chmod 777 job && cat >job/script <<'END' || return 1
i=0
while [ ! -e go ]; do
	i=$((i + 1))
	echo "$i" >count
	sleep 0.02
done
echo "pid $$ uid $(id -u) $(cat /proc/self/uid_map) groups $(cat /proc/self/setgroups) last $i" | tr -s ' ' >result
END
	(cd job && exec setsid "${as_user[@]}" sh -c 'exec "$@" </dev/null >out 2>&1' sh unshare "$@" bash script 3>&-) &
	job=$!
	wait_for '[ -s job/count ]' 20
}
shell_survives() { # PATTERN OPTION...
	local pattern=$1 g
	shift
	shell_start "$@" || return 1
	for g in 1 2 3; do
		"${as_user[@]}" chkpnt -q -r -K KILL -f "$PWD/job/img$g" "$job" && wait_for "! [ -e /proc/$job ]" 20 &&
			"${as_user[@]}" timeout -k 5 60 restart -q -W "job/img$g" </dev/null >restart.out 3>&- || return 1
		job=$(cat restart.out)
	done
	before=$(cat job/count)
	wait_for '[ "$(cat job/count)" -gt $((before + 3)) ]' 20 && : >job/go && wait_for '[ -s job/result ]' 20 &&
		cat job/result job/out && grep -qE "$pattern" job/result
}
all_ways() {
	local id who=
	id=$("${as_user[@]}" id -u)
	[ "$id" = "$(id -u)" ] || who=', as an ordinary user'
	test_expect_success "a shell whose root is in a user namespace$who" "
		shell_survives '^pid [0-9]{2,} uid 0 0 $id 1 groups deny' -Ur
	"
	test_kill_all 2>/dev/null
	test_expect_success "a shell with all namespaces$who" "
		shell_survives '^pid 1 uid 0 0 $id 1 groups deny' -UrpfmnuiC --mount-proc
	"
	test_kill_all 2>/dev/null
}

if test_is_root; then
	matrix user-namespaces
	all_ways
	# without a map there is no name for whom the program runs as
	test_expect_success 'ids that the namespace does not map are refused by name' '
		mkdir -p plain && { (cd plain && exec setsid unshare -U sh -c "echo \$\$ >status; exec sleep 60" </dev/null \
			>status 2>&1 3>&-) & } && job=$! &&
		wait_for "[ \"\$(readlink /proc/$job/ns/user)\" != \"\$(readlink /proc/self/ns/user)\" ]" 20 &&
		test_expect_status 3 chkpnt -q -r -f img "$job" 2>err; status=$?; cat err
		[ "$status" = 0 ] && grep -q "user id 0, which its user namespace does not map" err && [ ! -e img ]
	'
	test_kill_all 2>/dev/null
	test_become_user
fi
matrix user-namespaces
all_ways
test_done
