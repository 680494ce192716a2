/* Start-up of a machine-mode RV32: stack, global and thread pointer, trap vector, then start_c. */
  .option arch, +zicsr
  .section .vectors, "ax", @progbits
  .globl reset_handler
  .type reset_handler, @function
reset_handler:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  la sp, tinymlaas_stack_top
  la tp, tinymlaas_tls_start
  la t0, trap_entry
  csrw mtvec, t0
  call start_c
0:
  j 0b

  .align 2
trap_entry:
  csrr a0, mcause
  csrr a1, mepc
  csrr a2, mtval
  la sp, tinymlaas_stack_top
  call on_trap
1:
  j 1b
