#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The vDSO of this kernel, and one that restart must take for another kernel's: there is but one kernel
# here, so STASIS_VDSO_EMULATE makes restart believe it.
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix vdso
matrix vsyscall

restarts_emulated() {
	subject_start vdso moved && matrix_chkpnt_kill img &&
		STASIS_VDSO_EMULATE=1 restart -W "$SUBJECT_DIR/img" </dev/null 3>&- &&
		subject_verify 30
}

# The new vDSO beside the emulated old one is part of the program now.
lives_on_emulated() {
	subject_start vdso moved && matrix_chkpnt_kill img &&
		STASIS_VDSO_EMULATE=1 restart -W "$SUBJECT_DIR/img" </dev/null 3>&- &&
		matrix_chkpnt_kill img2 &&
		restart -W "$SUBJECT_DIR/img2" </dev/null 3>&- &&
		matrix_chkpnt_kill img3 &&
		STASIS_VDSO_EMULATE=1 restart -W "$SUBJECT_DIR/img3" </dev/null 3>&- &&
		subject_verify 30
}

test_expect_success 'the old functions work when the kernel has another vDSO' restarts_emulated
test_kill_all 2>/dev/null
test_expect_success 'and when such a program is checkpointed and restarted again' lives_on_emulated
test_done
