/* The port for the host: files of the working directory, no instruction count, and a call on a
 * painted stack of its own. */
#define _GNU_SOURCE
#include "port.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK_BYTES = 8 << 20, PAINTED_BYTES = 1 << 20, PAINT = 0xA5 };

static FILE *input_file, *output_file;
static uint8_t *stack;
static ucontext_t caller, callee;
static measured_call called;
static int32_t returned;
static uint8_t *entry_frame;

void port_open(void) {
  input_file = fopen("inputs.bin", "rb");
  output_file = fopen("outputs.bin", "wb");
  stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (input_file == NULL || output_file == NULL || stack == MAP_FAILED) {
    port_fail("cannot open the streams or map a stack", 0, 0, 0);
  }
}

void port_read(void *to, uint32_t size) {
  if (fread(to, 1, size, input_file) != size) {
    port_fail("the input stream is too short", 0, 0, 0);
  }
}

void port_write(const void *from, uint32_t size) {
  if (fwrite(from, 1, size, output_file) != size) {
    port_fail("the output stream cannot be written", 0, 0, 0);
  }
}

void port_finish(void) {
  if (fclose(output_file) != 0) {
    port_fail("the output stream cannot be written", 0, 0, 0);
  }
  exit(0);
}

void port_fail(const char *why, uint32_t a, uint32_t b, uint32_t c) {
  fprintf(stderr, "%s %#x %#x %#x\n", why, a, b, c);
  exit(1);
}

void ticks_start(void) {}


static void on_painted_stack(void) {
  entry_frame = __builtin_frame_address(0);
  returned = called();
}

void measure(measured_call call, struct measurement *result) {
  volatile uint8_t *const lowest = stack + STACK_BYTES - PAINTED_BYTES;
  const volatile uint8_t *byte;
  for (volatile uint8_t *paint = lowest; paint < stack + STACK_BYTES; paint++) {
    *paint = PAINT;
  }
  getcontext(&callee);
  callee.uc_stack.ss_sp = stack;
  callee.uc_stack.ss_size = STACK_BYTES;
  callee.uc_link = &caller;
  called = call;
  makecontext(&callee, on_painted_stack, 0);
  swapcontext(&caller, &callee);
  for (byte = lowest; byte < entry_frame && *byte == PAINT; byte++) {
  }
  result->status = returned;
  result->ticks = (struct ticks){0, 0};
  /* All paint gone: deeper than painted, by how much is not known. */
  result->stack = byte == lowest ? UINT32_MAX : (uint32_t)(entry_frame - byte);
}
