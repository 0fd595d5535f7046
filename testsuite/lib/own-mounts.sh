# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Sourced before test-lib.sh: the test gets a mount namespace of its own (when root runs it). Containers copy
# all mounts there are; what other tests mount and unmount meanwhile is none of theirs.

if [ "$(id -u)" = 0 ] && [ -z "$TEST_OWN_MOUNTS" ]; then
	export TEST_OWN_MOUNTS=1
	exec unshare --mount --propagation private "$0" "$@"
fi
