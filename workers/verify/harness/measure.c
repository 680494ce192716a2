/* Instructions and stack of one call, on bare metal. */
#include "port.h"

#ifdef __AVR__
#include <avr/io.h>
typedef uint8_t stack_word; /* its stack pointer is not aligned */
#define PAINT 0xA5
#else
typedef uint32_t stack_word;
#define PAINT 0xA5A5A5A5u
#endif

extern stack_word tinymlaas_stack_limit[];

static inline stack_word *stack_pointer(void) {
#if defined(__AVR__)
  return (stack_word *)(SP + 1); /* it points at the next free byte */
#elif defined(__riscv)
  stack_word *sp;
  __asm volatile("mv %0, sp" : "=r"(sp));
  return sp;
#else
  stack_word *sp;
  __asm volatile("mov %0, sp" : "=r"(sp));
  return sp;
#endif
}

/* Volatile, so that no loop here becomes a call of memset, which would use the very stack. */
__attribute__((noinline)) void measure(measured_call call, struct measurement *result) {
  volatile stack_word *const top = stack_pointer();
  volatile stack_word *word;
  struct ticks before, after;
  for (word = tinymlaas_stack_limit; word < top; word++) {
    *word = PAINT;
  }
  before = ticks_now();
  result->status = call();
  after = ticks_now();
  for (word = tinymlaas_stack_limit; word < top && *word == PAINT; word++) {
  }
  if (word == tinymlaas_stack_limit) {
    port_fail("the stack is deeper than there is room for, bytes:",
              (uint32_t)((uintptr_t)top - (uintptr_t)word), 0, 0);
  }
  result->ticks = ticks_between(before, after);
  result->stack = (uint32_t)((uintptr_t)top - (uintptr_t)word);
}
