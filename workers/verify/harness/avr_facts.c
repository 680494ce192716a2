/* Compiled to assembly and never further: what a device's header says of it, as the numbers behind
 * "facts". The last says whether it has the register the harness prints to. */
#include <avr/io.h>

#ifdef GPIOR0
enum { PRINTS = 1 };
#else
enum { PRINTS = 0 };
#endif

void facts(void) {
  __asm volatile("facts %0 %1 %2 %3 %4"
                 :
                 : "n"(__AVR_ARCH__), "n"((long)FLASHEND), "n"(RAMSTART), "n"(RAMEND), "n"(PRINTS));
}
