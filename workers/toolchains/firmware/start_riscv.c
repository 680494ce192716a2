/* The part of RV32 start-up that can be C: .data and .bss, constructors, main. */
#include <stdint.h>

extern uint8_t tinymlaas_data_load[], tinymlaas_data_start[], tinymlaas_data_end[];
extern uint8_t tinymlaas_bss_start[], tinymlaas_bss_end[];
typedef void (*constructor)(void);
extern const constructor tinymlaas_init_start[], tinymlaas_init_end[];

int main(void);
void start_c(void);
void on_trap(uint32_t cause, uint32_t pc, uint32_t value);

__attribute__((weak)) void on_trap(uint32_t cause, uint32_t pc, uint32_t value) {
  (void)cause;
  (void)pc;
  (void)value;
  for (;;) {
  }
}

void start_c(void) {
  const uint8_t *from = tinymlaas_data_load;
  for (uint8_t *to = tinymlaas_data_start; to < tinymlaas_data_end;) {
    *to++ = *from++;
  }
  for (uint8_t *to = tinymlaas_bss_start; to < tinymlaas_bss_end;) {
    *to++ = 0;
  }
  for (const constructor *call = tinymlaas_init_start; call < tinymlaas_init_end; call++) {
    (*call)();
  }
  main();
}
