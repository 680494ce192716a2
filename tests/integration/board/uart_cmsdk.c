/* The UART of Arm's MPS2 boards (CMSDK APB UART, DDI 0479). */
#include "harness_uart.h"

static volatile uint32_t *const uart = (volatile uint32_t *)0x40004000u;
enum { DATA = 0, STATE = 1, CONTROL = 2, DIVIDER = 4, SEND_FULL = 1, RECEIVED = 2, BOTH_ON = 3 };

void tinymlaas_uart_read(void *to, uint32_t size) {
  for (uint8_t *byte = to; size > 0; size--) {
    while ((uart[STATE] & RECEIVED) == 0) {
    }
    *byte++ = (uint8_t)uart[DATA];
  }
}

void tinymlaas_uart_write(const void *from, uint32_t size) {
  for (const uint8_t *byte = from; size > 0; size--) {
    while ((uart[STATE] & SEND_FULL) != 0) {
    }
    uart[DATA] = *byte++;
  }
}

int main(void) {
  static const char chatter[] = "booting TMLA... done\r\n"; /* what firmware says of itself */
  uart[DIVIDER] = 16;
  uart[CONTROL] = BOTH_ON;
  (void)uart[DATA]; /* what came before; only so does QEMU see that there is room now */
  tinymlaas_uart_write(chatter, sizeof chatter);
  tinymlaas_harness();
}

void on_fault(const uint32_t *frame);
void on_fault(const uint32_t *frame) {
  (void)frame;
  for (;;) {
  }
}
