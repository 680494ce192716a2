/* The input stream, as the last thing of .text, which is all that simavr loads. In front of the
 * program it would push that out of reach of its short jumps. Section .fini0 comes last and runs
 * only after main returns, which ours does not. */
  .section .fini0, "ax", @progbits
  .globl tinymlaas_inputs, tinymlaas_inputs_end
tinymlaas_inputs:
  .incbin "inputs.bin"
tinymlaas_inputs_end:
  .p2align 1
