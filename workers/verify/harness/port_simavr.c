/* The port of AVR under simavr: input lies in flash beside the program, output goes as lines of
 * text to the console register that simavr prints. "D" begins a line of data in hexadecimal, "E"
 * the last line, which says why the run failed, or nothing. */
#include "port.h"

#include <avr/io.h>
#include <avr/pgmspace.h>

/* What tells simavr the register: a record of tag, length, address in section .mmcu. */
enum { MMCU_CONSOLE = 11 };
struct mmcu_address {
  uint8_t tag;
  uint8_t size;
  const volatile void *address;
} __attribute__((packed));
const struct mmcu_address _mmcu __attribute__((used, section(".mmcu"))) = {
    MMCU_CONSOLE, sizeof(void *), &GPIOR0};

extern const uint8_t tinymlaas_inputs[], tinymlaas_inputs_end[];
static uint_farptr_t input_at, input_end;

/* Not cleared at start: a second start is a jump to address 0, which no module should make. */
static uint16_t started __attribute__((section(".noinit")));
enum { STARTED = 0x5A17, BYTES_A_LINE = 64 };

static uint8_t on_this_line;

static void put(char c) { GPIOR0 = (uint8_t)c; }

static void put_digit(uint8_t digit) { put(digit < 10 ? '0' + digit : 'a' + digit - 10); }

static void put_number(uint32_t value) {
  put(' ');
  put('0');
  put('x');
  for (int8_t shift = 28; shift >= 0; shift -= 4) {
    put_digit((value >> shift) & 15);
  }
}

static void end_line(void) {
  if (on_this_line != 0) {
    put('\r');
    on_this_line = 0;
  }
}

/* Sleeping for ever is what makes simavr end. */
static void halt(void) __attribute__((noreturn));
static void halt(void) {
  put('\r');
  for (;;) {
    __asm volatile("cli\n sleep");
  }
}

void port_open(void) {
  if (started == STARTED) {
    put('\r'); /* whatever line was begun before */
    port_fail("the firmware started twice: a jump to address 0", 0, 0, 0);
  }
  started = STARTED;
  input_at = pgm_get_far_address(tinymlaas_inputs);
  input_end = pgm_get_far_address(tinymlaas_inputs_end);
}

void port_read(void *to, uint32_t size) {
  for (uint8_t *byte = to; size != 0; size--) {
    if (input_at == input_end) {
      port_fail("the input stream is too short", 0, 0, 0);
    }
#ifdef __AVR_HAVE_ELPM__
    *byte++ = pgm_read_byte_far(input_at++);
#else
    *byte++ = pgm_read_byte(input_at++);
#endif
  }
}

void port_write(const void *from, uint32_t size) {
  for (const uint8_t *byte = from; size != 0; size--, byte++) {
    if (on_this_line == 0) {
      put('D');
    }
    put_digit(*byte >> 4);
    put_digit(*byte & 15);
    if (++on_this_line == BYTES_A_LINE) {
      end_line();
    }
  }
}

void port_finish(void) {
  end_line();
  put('E');
  halt();
}

void port_fail(const char *why, uint32_t a, uint32_t b, uint32_t c) {
  end_line();
  put('E');
  while (*why) {
    put(*why++);
  }
  put_number(a);
  put_number(b);
  put_number(c);
  halt();
}
