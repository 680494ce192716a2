/* A firmware that a debugger serves: QEMU is one. */
#include "port.h"

int main(void) { tinymlaas_harness(); }

void on_fault(const uint32_t *frame);
void on_fault(const uint32_t *frame) { port_fail("a fault at", frame[6], 0, 0); }
