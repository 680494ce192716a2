/* Clock of the Arm MPS2 images: the CMSDK dual timer, its halves at /1 and /256. */
#include "port.h"

#define TIMER ((volatile uint32_t *)TIMER_BASE)
enum { LOAD = 0, VALUE = 1, CONTROL = 2, SECOND = 8 };
enum { ENABLE = 1 << 7, DIVIDE_256 = 2 << 2, BITS_32 = 1 << 1 };

void ticks_start(void) {
  TIMER[LOAD] = 0xFFFFFFFFu;
  TIMER[SECOND + LOAD] = 0xFFFFFFFFu;
  TIMER[CONTROL] = ENABLE | BITS_32;
  TIMER[SECOND + CONTROL] = ENABLE | BITS_32 | DIVIDE_256;
}

struct ticks ticks_now(void) {
  const struct ticks now = {~TIMER[VALUE], ~TIMER[SECOND + VALUE]};
  return now;
}

struct ticks ticks_between(struct ticks from, struct ticks to) {
  const struct ticks passed = {to.fine - from.fine, to.coarse - from.coarse};
  return passed;
}
