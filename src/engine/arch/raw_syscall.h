/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The freestanding part of the contract: see the processor's own file for the functions. */
#ifndef ARCH_RAW_SYSCALL_H
#define ARCH_RAW_SYSCALL_H

#ifdef __x86_64__
#include "arch/x86_64/raw_syscall.h"
#else
#error "this processor is not supported yet"
#endif

#endif
