# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Cgroups of the test's own, version 2 and, where it is mounted, version 1. Sourced before test-lib.sh: a
# test of root's where no cgroup2 can be written to (a container) gets a mount of its own.
#
#	cgroups_begin NAME...   sets group2 (a folder) and name2 (as in /proc/PID/cgroup); group1, name1 and
#	                        hierarchy1 of a version 1 hierarchy, empty when there is none; each has
#	                        groups NAME below it
#	cgroups_end             removes them, when everybody is out

# The mount point of a hierarchy in which groups can be made: cgroups_find TYPE OPTION
cgroups_find() {
	awk -v type="$1" '{ for (i = 7; $i != "-"; i++); if ($(i + 1) == type && $4 == "/") print $5, $(i + 3) }' \
		/proc/self/mountinfo |
		while read -r point options; do
			[ -z "$2" ] || [[ ,$options, == *,$2,* ]] || continue
			mkdir "$point/stasis-probe-$$" 2>/dev/null || continue
			rmdir "$point/stasis-probe-$$"
			echo "$point"
			break
		done
}

if [ "$(id -u)" = 0 ] && [ -z "$TEST_OWN_CGROUP2$(cgroups_find cgroup2)" ]; then
	export TEST_OWN_CGROUP2=1
	# shellcheck disable=SC2016
	exec unshare --mount --propagation private sh -c \
		'mkdir -p /tmp/stasis-cgroup2; mount -t cgroup2 cgroup2 /tmp/stasis-cgroup2; exec "$@"' sh "$0" "$@"
fi

cgroups_make() { # FOLDER NAME...
	local folder=$1 name
	shift
	mkdir "$folder" || return 1
	for name; do
		mkdir "$folder/$name" || return 1
	done
}

cgroups_begin() {
	group2=$(cgroups_find cgroup2)
	[ -n "$group2" ] || return 1
	name2=/stasis-test-$$
	group2=$group2$name2
	cgroups_make "$group2" "$@" || return 1
	name1=''
	for hierarchy1 in pids freezer cpuacct; do
		group1=$(cgroups_find cgroup $hierarchy1)
		[ -z "$group1" ] || break
	done
	[ -n "$group1" ] || return 0
	name1=$name2
	group1=$group1$name1
	cgroups_make "$group1" "$@"
}

cgroups_end() {
	local d
	for d in "$group2"/*/ "$group2" ${group1:+"$group1"/*/ "$group1"}; do
		[ ! -d "$d" ] || wait_for "rmdir '$d' 2>/dev/null" 20 || return 1
	done
}
