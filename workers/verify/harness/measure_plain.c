/* One call where nothing is known of the stack: its end is the firmware's own affair. */
#include "port.h"

void measure(measured_call call, struct measurement *result) {
  const struct ticks before = ticks_now();
  result->status = call();
  result->ticks = ticks_between(before, ticks_now());
  result->stack = UINT32_MAX; /* not known */
}
