/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seen by C and by the assembler. */
#ifndef ARCH_X86_64_PAD_H
#define ARCH_X86_64_PAD_H

#define PAD_MAGIC 0x3144415053495453 /* "STISPAD1" in memory order */

#endif
