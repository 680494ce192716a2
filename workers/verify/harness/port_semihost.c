/* The port over semihosting: the simulator opens files of its working directory for us. */
#include "port.h"

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06 };
enum { SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };
enum { MODE_RB = 1, MODE_WB = 5 };

static int32_t input_file, output_file;

#define UNUSED __attribute__((unused)) /* by the compiler's count: the debugger takes registers */

#ifdef __riscv
/* The three instructions are the request; they must be full-size and on one page. */
__attribute__((naked, noinline, aligned(16))) static int32_t request(UNUSED uint32_t what,
                                                                     UNUSED const void *with) {
  __asm volatile(
      ".option push\n.option norvc\n"
      "slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n ret\n"
      ".option pop");
}
#else
__attribute__((naked, noinline)) static int32_t request(UNUSED uint32_t what,
                                                        UNUSED const void *with) {
  __asm volatile("bkpt 0xab\n bx lr");
}
#endif

static int32_t open_file(const char *name, uint32_t length, uint32_t mode) {
  const uintptr_t block[3] = {(uintptr_t)name, mode, length};
  return request(SYS_OPEN, block);
}

static void leave(uint32_t status) {
  const uint32_t block[2] = {APPLICATION_EXIT, status};
  request(SYS_EXIT_EXTENDED, block);
  for (;;) {
  }
}

void port_open(void) {
  input_file = open_file("inputs.bin", 10, MODE_RB);
  output_file = open_file("outputs.bin", 11, MODE_WB);
  if (input_file < 0 || output_file < 0) {
    port_fail("semihosting cannot open its files", 0, 0, 0);
  }
}

void port_read(void *to, uint32_t size) {
  const uintptr_t block[3] = {(uintptr_t)input_file, (uintptr_t)to, size};
  if (size != 0 && request(SYS_READ, block) != 0) {
    port_fail("the input stream is too short", 0, 0, 0);
  }
}

void port_write(const void *from, uint32_t size) {
  const uintptr_t block[3] = {(uintptr_t)output_file, (uintptr_t)from, size};
  if (size != 0 && request(SYS_WRITE, block) != 0) {
    port_fail("the output stream cannot be written", 0, 0, 0);
  }
}

void port_finish(void) {
  const uintptr_t block[1] = {(uintptr_t)output_file};
  request(SYS_CLOSE, block);
  leave(0);
  for (;;) {
  }
}

static char *hexadecimal(char *to, uint32_t value) {
  *to++ = ' ';
  *to++ = '0';
  *to++ = 'x';
  for (int shift = 28; shift >= 0; shift -= 4) {
    *to++ = "0123456789abcdef"[(value >> shift) & 15];
  }
  return to;
}

void port_fail(const char *why, uint32_t a, uint32_t b, uint32_t c) {
  char numbers[36];
  char *end = hexadecimal(hexadecimal(hexadecimal(numbers, a), b), c);
  *end++ = '\n';
  *end = 0;
  request(SYS_WRITE0, why);
  request(SYS_WRITE0, numbers);
  leave(1);
  for (;;) {
  }
}
