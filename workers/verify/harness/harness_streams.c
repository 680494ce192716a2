/* The harness over two streams: run the module on every sample of the input stream, write what comes out.
 *
 * In:  the numbers of samples, inputs and outputs; then for each sample the size and the bytes of
 *      every input, and the size of every output.
 * Out: the measurement of an empty call and that of init; then for each sample its measurement
 *      and the bytes of every output. All numbers are 32 bits, little-endian.
 */
#include "module_table.h"
#include "port.h"

static int32_t empty_call(void) { return 0; }

static int32_t init_call(void) { return tinymlaas_module.init(tinymlaas_module.arena); }

static uint32_t read_number(void) {
  uint32_t number;
  port_read(&number, sizeof number);
  return number;
}

static void write_measurement(const struct measurement *m) {
  const uint32_t words[4] = {(uint32_t)m->status, m->ticks.fine, m->ticks.coarse, m->stack};
  port_write(words, sizeof words);
}

static void run_sample(uint32_t inputs, uint32_t outputs) {
  const struct module_table *module = &tinymlaas_module;
  struct measurement m;
  for (uint32_t i = 0; i < inputs; i++) {
    const uint32_t size = read_number();
    void *to = module->input(i);
    if (to == 0) {
      port_fail("the module has no input", i, 0, 0);
    }
    port_read(to, size);
  }
  measure(module->invoke, &m);
  write_measurement(&m);
  if (m.status != 0) {
    port_fail("invoke returned", (uint32_t)m.status, 0, 0);
  }
  for (uint32_t i = 0; i < outputs; i++) {
    const void *from = module->output(i);
    const uint32_t size = read_number();
    if (from == 0) {
      port_fail("the module has no output", i, 0, 0);
    }
    port_write(from, size);
  }
}

void tinymlaas_harness(void) {
  const struct module_table *module = &tinymlaas_module;
  struct measurement m;
  uint32_t samples, inputs, outputs;
  port_open();
  samples = read_number();
  inputs = read_number();
  outputs = read_number();
  /* A module may not count on zeros in the arena. */
  for (uint32_t i = 0; i < module->arena_bytes; i++) {
    ((uint8_t *)module->arena)[i] = 0xA5;
  }
  ticks_start();
  measure(empty_call, &m); /* once before, so that all that is done once is done */
  measure(empty_call, &m);
  write_measurement(&m);
  measure(init_call, &m);
  write_measurement(&m);
  if (m.status != 0) {
    port_fail("init returned", (uint32_t)m.status, 0, 0);
  }
  if (module->input(inputs) != 0 || module->output(outputs) != 0) {
    port_fail("the module has more inputs or outputs than its manifest", 0, 0, 0);
  }
  for (uint32_t sample = 0; sample < samples; sample++) {
    run_sample(inputs, outputs);
  }
  port_finish();
}
