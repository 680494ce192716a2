/* What the harness needs of the place it runs in: two byte streams, a clock, an end. */
#ifndef TINYMLAAS_PORT_H
#define TINYMLAAS_PORT_H

#include <stdint.h>

/* Run the module on all that comes in; does not return. */
void tinymlaas_harness(void) __attribute__((noreturn));

/* Open the input and output streams. */
void port_open(void);
/* Read or write exactly `size` bytes; a short stream ends the run with a failure. */
void port_read(void *to, uint32_t size);
void port_write(const void *from, uint32_t size);
/* Flush the output and end the run well. */
void port_finish(void) __attribute__((noreturn));
/* End the run with one line that says why, followed by three numbers in hexadecimal. */
void port_fail(const char *why, uint32_t a, uint32_t b, uint32_t c) __attribute__((noreturn));

/* The state of two free-running up-counters, `fine` that ticks fast and wraps early and `coarse`
 * that tells how often, or of the lower and upper half of one. */
struct ticks {
  uint32_t fine;
  uint32_t coarse;
};
void ticks_start(void);
struct ticks ticks_now(void);
struct ticks ticks_between(struct ticks from, struct ticks to);

/* One call on a painted stack. `stack` is the depth in bytes below the caller's stack pointer. */
struct measurement {
  int32_t status;
  struct ticks ticks;
  uint32_t stack;
};
typedef int32_t (*measured_call)(void);
void measure(measured_call call, struct measurement *result);

#endif
