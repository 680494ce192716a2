/* Clock of the nRF51 (micro:bit): TIMER0 at 16 MHz and TIMER1 at 1/256 of it, 32 bits each. */
#include "port.h"

#define TIMER(n) ((volatile uint32_t *)(0x40008000u + (n) * 0x1000u))
enum { TASK_START = 0x000 / 4, TASK_CAPTURE0 = 0x040 / 4, CC0 = 0x540 / 4 };
enum { BITMODE = 0x508 / 4, BITS_32 = 3, PRESCALER = 0x510 / 4 };

void ticks_start(void) {
  TIMER(0)[BITMODE] = BITS_32;
  TIMER(0)[PRESCALER] = 0;
  TIMER(1)[BITMODE] = BITS_32;
  TIMER(1)[PRESCALER] = 8;
  TIMER(0)[TASK_START] = 1;
  TIMER(1)[TASK_START] = 1;
}

struct ticks ticks_now(void) {
  struct ticks now;
  TIMER(0)[TASK_CAPTURE0] = 1;
  now.fine = TIMER(0)[CC0];
  TIMER(1)[TASK_CAPTURE0] = 1;
  now.coarse = TIMER(1)[CC0];
  return now;
}

struct ticks ticks_between(struct ticks from, struct ticks to) {
  const struct ticks passed = {to.fine - from.fine, to.coarse - from.coarse};
  return passed;
}
