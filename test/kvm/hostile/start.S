// SPDX-License-Identifier: Apache-2.0
// Where a hostile guest begins: 32-bit protected mode, flat, paging off (PVH). Sets up a stack, segments and an IDT
// whose every gate counts and goes on, then calls guest_main. The other vCPU comes through the trampoline to ap_main.
  .section .start, "ax"
  .code32
  .globl _start
_start:
  movl $stack_top, %esp
  lgdt gdt_pointer
  ljmp $0x08, $1f
1:
  call load_segments
  call make_idt
  lidt idt_pointer
  call guest_main
2:
  jmp 2b

load_segments:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  ret

// Gates 8, 10-14 and 17 get an error code; all others push a zero in its place.
  .macro gate number
gate_\number:
  .if (\number != 8) && (\number < 10 || \number > 14) && (\number != 17)
  pushl $0
  .endif
  pushl $\number
  jmp common
  .endm
  .altmacro
  .macro one number
  gate \number
  .endm
  .set i, 0
  .rept 32
  one %i
  .set i, i + 1
  .endr

// Stack: number, error code, eip, cs, eflags. A fault of an instruction under test goes on at `fault_resume` when that
// is set, and else two bytes later (rdmsr, wrmsr, ud2).
common:
  lock incl fault_count
  cmpl $0, fault_resume
  je 1f
  pushl %eax
  movl fault_resume, %eax
  movl %eax, 12(%esp)
  popl %eax
  jmp 2f
1:
  addl $2, 8(%esp)
2:
  addl $8, %esp
  iret

gate_other:
  lock incl interrupt_count
  iret

make_idt:
  xorl %ecx, %ecx
1:
  movl $gate_other, %eax
  cmpl $32, %ecx
  jae 2f
  movl gate_table(,%ecx,4), %eax
2:
  movl %eax, %edx
  andl $0xffff, %eax
  orl $0x00080000, %eax
  movl %eax, idt(,%ecx,8)
  andl $0xffff0000, %edx
  orl $0x8e00, %edx
  movl %edx, idt+4(,%ecx,8)
  incl %ecx
  cmpl $256, %ecx
  jb 1b
  ret

// Copied to 0x8000 by start_other(); real mode.
  .code16
  .globl trampoline, trampoline_end
trampoline:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  lgdtl 0x8000 + (trampoline_gdt - trampoline)
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  ljmpl $0x08, $ap_start
trampoline_gdt:
  .word 23
  .long gdt
trampoline_end:
  .code32
ap_start:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $ap_stack_top, %esp
  lidt idt_pointer
  call ap_main
1:
  jmp 1b

  .data
  .balign 8
gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
  .word 23
  .long gdt
  .balign 4
idt_pointer:
  .word 2047
  .long idt
  .balign 4
gate_table:
  .macro entry number
  .long gate_\number
  .endm
  .set i, 0
  .rept 32
  entry %i
  .set i, i + 1
  .endr

  .bss
  .balign 16
idt:
  .skip 2048
  .globl fault_count, fault_resume, interrupt_count
fault_count:
  .long 0
fault_resume:
  .long 0
interrupt_count:
  .long 0
  .balign 16
  .skip 8192
stack_top:
  .skip 8192
ap_stack_top:
