/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers of a thread in the form in which injected code loads them; see the processor's file. */
#ifndef ARCH_CURE_H
#define ARCH_CURE_H

#ifdef __x86_64__
#include "arch/x86_64/cure.h"
#else
#error "this processor is not supported yet"
#endif

#endif
