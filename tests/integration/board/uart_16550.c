/* The UART of QEMU's RISC-V board "virt": a 16550. */
#include "harness_uart.h"

static volatile uint8_t *const uart = (volatile uint8_t *)0x10000000u;
enum { DATA = 0, STATE = 5, RECEIVED = 0x01, CAN_SEND = 0x20 };

void tinymlaas_uart_read(void *to, uint32_t size) {
  for (uint8_t *byte = to; size > 0; size--) {
    while ((uart[STATE] & RECEIVED) == 0) {
    }
    *byte++ = uart[DATA];
  }
}

void tinymlaas_uart_write(const void *from, uint32_t size) {
  for (const uint8_t *byte = from; size > 0; size--) {
    while ((uart[STATE] & CAN_SEND) == 0) {
    }
    uart[DATA] = *byte++;
  }
}

int main(void) { tinymlaas_harness(); }

void on_trap(uint32_t cause, uint32_t pc, uint32_t value);
void on_trap(uint32_t cause, uint32_t pc, uint32_t value) {
  (void)cause, (void)pc, (void)value;
  for (;;) {
  }
}
