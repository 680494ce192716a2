/* Start-up of every Cortex-M: vector table, FPU and MVE on, .data and .bss, constructors, main. */
#include <stdint.h>

extern uint32_t tinymlaas_stack_top[];
extern uint8_t tinymlaas_data_load[], tinymlaas_data_start[], tinymlaas_data_end[];
extern uint8_t tinymlaas_bss_start[], tinymlaas_bss_end[];
typedef void (*constructor)(void);
extern const constructor tinymlaas_init_start[], tinymlaas_init_end[];

int main(void);
void reset_handler(void);
void fault_entry(void);
void start_c(void);

/* Called with the frame the core pushed: r0-r3, r12, lr, pc, xpsr. */
__attribute__((weak)) void on_fault(const uint32_t *frame) {
  (void)frame;
  for (;;) {
  }
}

/* Replaces newlib's, which would pull in a kilobyte of per-thread state for one integer. */
int *__errno(void) {
  static int value;
  return &value;
}

__attribute__((naked)) void fault_entry(void) { __asm volatile("mov r0, sp\n b on_fault"); }

__attribute__((used, section(".vectors"))) static const void *const vectors[16] = {
    tinymlaas_stack_top, (const void *)reset_handler, (const void *)fault_entry,
    (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry,
    (const void *)fault_entry, (const void *)fault_entry, 0, 0, 0,
    (const void *)fault_entry, (const void *)fault_entry, 0,
    (const void *)fault_entry, (const void *)fault_entry,
};

/* In assembly: the C after it may already use the registers that are switched on here. */
__attribute__((naked)) void reset_handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  __asm volatile(
      "ldr r0, =0xE000ED88\n" /* CPACR: full access to coprocessors 10 and 11 */
      "ldr r1, [r0]\n"
      "orr r1, r1, #(0xF << 20)\n"
      "str r1, [r0]\n"
      "dsb\n"
      "isb\n");
#endif
  __asm volatile("bl start_c\n b .\n .ltorg");
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
