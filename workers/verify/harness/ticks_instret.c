/* Clock of RV32: the retired-instruction counter, 64 bits. */
#include "port.h"

void ticks_start(void) {}

struct ticks ticks_now(void) {
  struct ticks now;
  __asm volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(now.fine));
  now.coarse = 0;
  return now;
}
