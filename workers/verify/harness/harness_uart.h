/* The harness over a UART: two functions that your firmware has, and one that it calls. */
#ifndef TINYMLAAS_HARNESS_UART_H
#define TINYMLAAS_HARNESS_UART_H

#include <stdint.h>

/* Yours: read or write exactly `size` bytes, however long that takes. */
void tinymlaas_uart_read(void *to, uint32_t size);
void tinymlaas_uart_write(const void *from, uint32_t size);

/* Answer requests; does not return. Call it once clock and UART are set up. */
void tinymlaas_harness(void) __attribute__((noreturn));

/* Generated with the module: `id` is the SHA-256 of its archive, in hexadecimal. */
struct tinymlaas_facts {
  const char *id;
  uint32_t inputs, outputs, counts_instructions;
  const uint32_t *input_bytes, *output_bytes;
};
extern const struct tinymlaas_facts tinymlaas_facts;

#endif
