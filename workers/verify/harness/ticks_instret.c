/* Clock of RV32: the retired-instruction counter, 64 bits. */
#include "port.h"

void ticks_start(void) {}

struct ticks ticks_now(void) {
  struct ticks now;
  __asm volatile(
      ".option push\n"
      ".option arch, +zicsr\n"
      "0: csrr %0, minstreth\n"
      "csrr %1, minstret\n"
      "csrr t0, minstreth\n"
      "bne %0, t0, 0b\n" /* the lower half wrapped in between */
      ".option pop"
      : "=&r"(now.coarse), "=&r"(now.fine)
      :
      : "t0");
  return now;
}

struct ticks ticks_between(struct ticks from, struct ticks to) {
  const struct ticks passed = {to.fine - from.fine, to.coarse - from.coarse - (to.fine < from.fine)};
  return passed;
}
