/* The port of AVR: USART0 both ways. The simulator cannot be told to end, so the last line of the
 * output says that we did, and how. */
#include "port.h"

#include <avr/io.h>
#include <avr/pgmspace.h>

/* Not cleared at start: a second start is a jump to address 0, which no module should make. */
static uint16_t started __attribute__((section(".noinit")));
enum { STARTED = 0x5A17 };

static void put(uint8_t byte) {
  while (!(UCSR0A & _BV(UDRE0))) {
  }
  UDR0 = byte;
}

static void put_text(const char *text) {
  while (*text) {
    put((uint8_t)*text++);
  }
}

static void put_number(uint32_t value) {
  put_text(" 0x");
  for (int8_t shift = 28; shift >= 0; shift -= 4) {
    const uint8_t digit = (value >> shift) & 15;
    put((uint8_t)(digit < 10 ? '0' + digit : 'a' + digit - 10));
  }
}

static void halt(void) __attribute__((noreturn));
static void halt(void) {
  for (;;) {
    __asm volatile("cli\n sleep");
  }
}

void port_open(void) {
  UCSR0B = _BV(RXEN0) | _BV(TXEN0);
  /* QEMU 7.2 does not look for input again when the receiver is switched on, but whenever a timer
   * expires; this one does so every 4 ms. */
  TCCR1B = _BV(CS10);
  if (started == STARTED) {
    port_fail("the firmware started twice: a jump to address 0", 0, 0, 0);
  }
  started = STARTED;
}

void port_read(void *to, uint32_t size) {
  for (uint8_t *byte = to; size != 0; size--) {
    while (!(UCSR0A & _BV(RXC0))) {
    }
    *byte++ = UDR0;
  }
}

void port_write(const void *from, uint32_t size) {
  for (const uint8_t *byte = from; size != 0; size--) {
    put(*byte++);
  }
}

void port_finish(void) {
  put_text("TINYMLAAS-END:\n");
  halt();
}

void port_fail(const char *why, uint32_t a, uint32_t b, uint32_t c) {
  put_text("TINYMLAAS-END:");
  put_text(why);
  put_number(a);
  put_number(b);
  put_number(c);
  put('\n');
  halt();
}
