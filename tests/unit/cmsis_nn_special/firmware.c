/* Runs every case of the table: fills, calls, compares, counts; one line a case by semihosting. */
#include <stdint.h>

#include "cases.h"

extern const int8_t case_blob[];
enum { GUARD = 32, FILL = 0x5A };
static int8_t input[CASE_IN_MAX + 16] __attribute__((aligned(16)));
static int8_t input2[CASE_IN2_MAX + 16] __attribute__((aligned(16)));
static int8_t output[CASE_OUT_MAX + 2 * GUARD] __attribute__((aligned(16)));
static uint8_t scratch[CASE_SCRATCH_MAX + 2 * GUARD] __attribute__((aligned(16)));

#define UNUSED __attribute__((unused))

#if defined(HOST)
#include <stdio.h>
static uint32_t ticks(void) { return 0; }
static void ticks_open(void) {}
static void say(const char *text) { fputs(text, stdout); }
#elif defined(__riscv)
static uint32_t ticks(void) {
  uint32_t value;
  __asm volatile("csrr %0, instret" : "=r"(value));
  return value;
}
static void ticks_open(void) {}
__attribute__((naked, noinline, aligned(16))) static int32_t request(uint32_t what UNUSED, const void *with UNUSED) {
  __asm volatile(".option push\n.option norvc\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\nret\n"
                 ".option pop");
}
static void say(const char *text) { request(4, text); }
#else
/* SysTick counts down at the core's clock; with -icount shift=0 an instruction takes 1 ns. */
#define SYST ((volatile uint32_t *)0xE000E010)
static uint32_t ticks(void) { return 0xFFFFFF - SYST[2]; }
static void ticks_open(void) {
  SYST[1] = 0xFFFFFF;
  SYST[2] = 0;
  SYST[0] = 5;
}
__attribute__((naked, noinline)) static int32_t request(uint32_t what UNUSED, const void *with UNUSED) {
  __asm volatile("bkpt 0xab\n bx lr");
}
static void say(const char *text) { request(4, text); }
#endif

static void say_number(uint32_t value) {
  char text[12];
  char *at = text + 11;
  *at = 0;
  do {
    *--at = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  *--at = ' ';
  say(at);
}

static uint32_t broken_guards(const uint8_t *buffer, uint32_t size) {
  uint32_t broken = 0;
  for (uint32_t i = 0; i < GUARD; i++) {
    broken += (buffer[i] != FILL) + (buffer[GUARD + size + i] != FILL);
  }
  return broken;
}

static void fill(void *to, uint32_t size) {
  for (uint32_t i = 0; i < size; i++) {
    ((uint8_t *)to)[i] = FILL;
  }
}

static void run_case(const struct special_case *c) {
  const int8_t *from = case_blob + c->blob;
  const int8_t *expected = from + c->in_bytes * c->inputs;
  int8_t *out = output + GUARD;
  uint32_t wrong = 0;
  uint32_t before, after;
  uint32_t guards;
  fill(output, sizeof output);
  fill(scratch, sizeof scratch);
  for (uint32_t i = 0; i < c->in_bytes; i++) {
    input[i] = from[i];
    if (c->inputs == 2) {
      input2[i] = from[i + c->in_bytes];
    }
  }
  if (c->in_place) {
    for (uint32_t i = 0; i < c->in_bytes; i++) {
      out[i] = from[i];
    }
  }
  before = ticks();
  if (c->inputs == 2) {
    c->run2(c->in_place ? out : input, input2, out, scratch + GUARD);
  } else {
    c->run(c->in_place ? out : input, out, scratch + GUARD);
  }
  after = ticks();
  for (uint32_t i = 0; i < c->out_bytes; i++) {
    wrong += out[i] != expected[i];
  }
  guards = broken_guards((uint8_t *)output, c->in_place && c->in_bytes > c->out_bytes
                                                ? c->in_bytes
                                                : c->out_bytes) + broken_guards(scratch, c->scratch);
  say_number(wrong);
  say_number(guards);
  say_number((after - before) & TICK_MASK);
  say("\n");
}

int main(void) {
  ticks_open();
  for (uint32_t i = 0; i < CASE_COUNT; i++) {
    run_case(&special_cases[i]);
  }
  say("end\n");
  return 0;
}

#ifndef HOST
static void leave(void) {
  static const uint32_t block[2] = {0x20026, 0};
  request(0x20, block);
  for (;;) {
  }
}
#ifdef __riscv
__attribute__((naked, section(".vectors"))) void reset_handler(void) {
  __asm volatile("la sp, stack_top\n la t0, fault_handler\n csrw mtvec, t0\n call start_c\n");
}
#else
void reset_handler(void);
extern uint8_t stack_top[];
static void fault(void);
__attribute__((used, section(".vectors"))) static const void *const vectors[16] = {
    stack_top, (const void *)reset_handler, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};
__attribute__((naked)) void reset_handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  __asm volatile("ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, r1, #(0xF << 20)\n str r1, [r0]\n"
                 "dsb\n isb\n");
#endif
  __asm volatile("bl start_c\n b .\n .ltorg");
}
#endif
__attribute__((used)) static void fault(void) {
  say("fault\n");
  leave();
}
#ifdef __riscv
__attribute__((aligned(4), used)) void fault_handler(void) { fault(); }
#endif
__attribute__((used)) void start_c(void) {
  main();
  leave();
}
void *memset(void *to, int value, unsigned long size) {
  uint8_t *at = to;
  while (size--) {
    *at++ = (uint8_t)value;
    __asm volatile("" ::: "memory");
  }
  return to;
}
void *memcpy(void *to, const void *from, unsigned long size) {
  uint8_t *at = to;
  const uint8_t *source = from;
  while (size--) {
    *at++ = *source++;
    __asm volatile("" ::: "memory");
  }
  return to;
}
#endif
