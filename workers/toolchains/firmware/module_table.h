/* What firmware knows of the module it is linked with; the table itself is generated. */
#ifndef TINYMLAAS_MODULE_TABLE_H
#define TINYMLAAS_MODULE_TABLE_H

#include <stdint.h>

struct module_table {
  void *arena;
  uint32_t arena_bytes;
  int32_t (*init)(void *arena);
  void *(*input)(uint32_t i);
  int32_t (*invoke)(void);
  const void *(*output)(uint32_t i);
};

extern const struct module_table tinymlaas_module;

#endif
