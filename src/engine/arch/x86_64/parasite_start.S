/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Start of the parasite's blob: its header and the code that saves and gives back what C code would
 * destroy. Register use: see parasite/wire.h for the offsets.
 */
#define NR_RT_SIGPROCMASK 14
#define SIG_SETMASK	  2
#define SIGSET_BYTES	  8
#define EFAULT		  14
#define WIRE_MAGIC	  0x53495331

#define AREA_XSAVE     0
#define AREA_STACK_TOP 8
#define AREA_PAD_UNMAP 16
#define AREA_PAD_LEAVE 24
#define AREA_START     32
#define AREA_LEN       40
#define AREA_GUARD_SP  48

#define THREAD_STACK_TOP 0
#define THREAD_PAD_LEAVE 8

	.section .head, "ax", @progbits
	.globl blob_start
blob_start:
	.long	WIRE_MAGIC
	.long	leader_entry - blob_start
	.long	thread_entry - blob_start
	.long	fault_entry - blob_start

/* rdi: struct wire_area; signals are blocked, the stack is the program's and is not used. */
leader_entry:
	mov	%rdi, %rbx
	mov	AREA_XSAVE(%rbx), %rcx
	mov	$-1, %eax
	mov	$-1, %edx
	xsave64	(%rcx)
	mov	AREA_STACK_TOP(%rbx), %rsp
	xor	%ebp, %ebp
	cld
	call	parasite_serve
	mov	%eax, %r12d
	mov	AREA_XSAVE(%rbx), %rcx
	mov	$-1, %eax
	mov	$-1, %edx
	xrstor64 (%rcx)
	test	%r12d, %r12d
	jz	1f
	mov	AREA_START(%rbx), %rdi
	mov	AREA_LEN(%rbx), %rsi
	jmp	*AREA_PAD_UNMAP(%rbx)
1:	jmp	*AREA_PAD_LEAVE(%rbx)

/*
 * rdi: struct wire_thread. The stack is the program's and signals are not blocked yet: a handler may
 * run on it up to here, but not on ours, which is too small. Vector registers are not touched.
 */
thread_entry:
	mov	%rdi, %rbx
	mov	$NR_RT_SIGPROCMASK, %eax
	mov	$SIG_SETMASK, %edi
	lea	all_signals(%rip), %rsi
	xor	%edx, %edx
	mov	$SIGSET_BYTES, %r10d
	syscall
	mov	THREAD_STACK_TOP(%rbx), %rsp
	xor	%ebp, %ebp
	cld
	mov	%rbx, %rdi
	call	parasite_thread
	jmp	*THREAD_PAD_LEAVE(%rbx)

/*
 * long hash_update_guarded(area rdi, state rsi, p rdx, len rcx, update r8)
 * Memory can vanish between the write and the checksum (a file that somebody truncates). The engine
 * sees the signal before the process does and sends the leader to fault_entry, which unwinds to here.
 */
	.globl hash_update_guarded
hash_update_guarded:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	%rsp, AREA_GUARD_SP(%rdi)
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	call	*%r8
	xor	%eax, %eax
1:	pop	%rdi
	movq	$0, AREA_GUARD_SP(%rdi)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* rdi: struct wire_area, guard_sp not 0 */
fault_entry:
	mov	AREA_GUARD_SP(%rdi), %rsp
	mov	$-EFAULT, %rax
	cld
	jmp	1b

	.section .rodata.head, "a", @progbits
	.balign 8
all_signals:
	.quad	-1

	.section .note.GNU-stack, "", @progbits
