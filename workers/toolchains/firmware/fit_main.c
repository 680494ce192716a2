/* The smallest firmware that keeps a whole module in its image. It is linked, never run. */
#include "module_table.h"

int main(void) {
  const struct module_table *module = &tinymlaas_module;
  volatile uint8_t sink;
  if (module->init(module->arena) == 0 && module->input(0) != 0 && module->invoke() == 0) {
    sink = *(const uint8_t *)module->output(0);
    (void)sink;
  }
  for (;;) {
  }
}
