/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pad: where a thread that executes something for the engine finds its way back. The engine writes
 * a copy into unused executable bytes of the process (the end of the vDSO) and fills the data part.
 *
 * While the engine lives it stops the thread right behind each `syscall` and nothing else here runs.
 * When the engine is killed the thread falls through: it unmaps the parasite, blocks every signal,
 * loads the registers, sets the program's own signal mask and jumps.
 *
 * Rules that each line follows:
 *  - from the call that sets the program's mask a handler may run: the stack pointer must be the
 *    program's from before that call, so the last registers come from memory next to the code;
 *  - the flags go in before that call, since `syscall` keeps them, and nothing after it changes them;
 *  - no rt_sigreturn and no call that sleeps: both would overwrite the restart block that a
 *    nanosleep(2) or poll(2) the thread was in goes on with.
 */
#include "arch/x86_64/pad.h"

#define NR_MUNMAP	  11
#define NR_RT_SIGPROCMASK 14
#define SIG_SETMASK	  2
#define SIGSET_BYTES	  8
#define MAX_ERRNO	  4095

	.section .rodata
	.balign 8
	.globl stasis_pad_start, stasis_pad_call, stasis_pad_finish, stasis_pad_unmap
	.globl stasis_pad_home, stasis_pad_mark, stasis_pad_leave, stasis_pad_area, stasis_pad_cure, stasis_pad_end
	.hidden stasis_pad_start, stasis_pad_call, stasis_pad_finish, stasis_pad_unmap
	.hidden stasis_pad_home, stasis_pad_mark, stasis_pad_leave, stasis_pad_area, stasis_pad_cure, stasis_pad_end

stasis_pad_start:
	.quad	PAD_MAGIC		/* tells a later engine whose leftover this is */

stasis_pad_call:			/* mmap */
	syscall
	cmp	$-MAX_ERRNO, %rax
	jae	.Lleave
	mov	%rax, %rdi
	jmp	1f

stasis_pad_finish:			/* close, or another last call */
	syscall
	mov	.Larea(%rip), %rdi
1:	mov	.Larea + 8(%rip), %rsi

stasis_pad_unmap:
	mov	$NR_MUNMAP, %eax
	syscall

stasis_pad_leave:
.Lleave:
	mov	$NR_RT_SIGPROCMASK, %eax
	mov	$SIG_SETMASK, %edi
	lea	.Lcure + 152(%rip), %rsi
	xor	%edx, %edx
	mov	$SIGSET_BYTES, %r10d
	syscall
	lea	.Lcure(%rip), %rsp
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	pop	%r8
	pop	%r9
	pop	%rsp
	mov	$NR_RT_SIGPROCMASK, %eax
	lea	.Lcure + 144(%rip), %rsi		/* the other arguments are still there */
	syscall
stasis_pad_home:
	mov	.Lcure + 80(%rip), %rax
	mov	.Lcure + 88(%rip), %rdi
	mov	.Lcure + 96(%rip), %rsi
	mov	.Lcure + 104(%rip), %rdx
	mov	.Lcure + 112(%rip), %r10
	mov	.Lcure + 120(%rip), %rcx
	mov	.Lcure + 128(%rip), %r11
stasis_pad_mark:
	movb	$1, .Lmark_end(%rip)	/* the displacement is the engine's to set, or all of it nops */
.Lmark_end:
	jmp	*.Lcure + 136(%rip)

	.balign 8
stasis_pad_area:
.Larea:
	.quad	0, 0
stasis_pad_cure:			/* struct arch_cure */
.Lcure:
	.fill	20, 8, 0
stasis_pad_end:

	.section .note.GNU-stack, "", @progbits
