/* What start-up code calls when the module faults on a simulated machine. */
#include "port.h"

#ifdef __riscv
void on_trap(uint32_t cause, uint32_t pc, uint32_t value) {
  port_fail("trap: mepc, mcause, mtval =", pc, cause, value);
}
#else
void on_fault(const uint32_t *frame);
void on_fault(const uint32_t *frame) {
  uint32_t cfsr = 0;
#if __ARM_ARCH >= 7
  cfsr = *(volatile uint32_t *)0xE000ED28; /* configurable fault status; ARMv6-M has none */
#endif
  port_fail("HardFault: pc, lr, CFSR =", frame[6], frame[5], cfsr);
}
#endif
