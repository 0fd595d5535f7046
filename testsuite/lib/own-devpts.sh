# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Sourced before test-lib.sh: the test gets a devpts of its own (when root runs it), so that the numbers of
# its terminals do not depend on who else opens some meanwhile.

if [ "$(id -u)" = 0 ] && [ -z "$TEST_OWN_DEVPTS" ]; then
	export TEST_OWN_DEVPTS=1
	# shellcheck disable=SC2016
	exec unshare --mount --propagation private sh -c \
		'mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts && exec "$@"' sh "$0" "$@"
fi
