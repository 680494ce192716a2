/* Sigmoid and tanh of int16 by a table of sigmoid(i / 24), interpolated. */
#ifndef TINYMLAAS_NN_SIGMOID_H
#define TINYMLAAS_NN_SIGMOID_H
#include "nn_sigmoid_table.h"

/* Input Q3.12 times `multiplier` / 2^`shift` / 3; a multiplier of 3 and shift of 0 is Q3.12. */
static inline int32_t nn_scaled_input(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t round = shift > 0 ? INT32_C(1) << (shift - 1) : 0;
  return (value * multiplier + round) >> shift;
}

static inline int16_t nn_sigmoid_s16(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t x = nn_scaled_input(value, multiplier, shift);
  const uint32_t size = (uint32_t)(x < 0 ? -x : x);
  const uint32_t place = size >> 9;
  uint32_t y = UINT32_C(0x7FFF) << 10;
  if (place < 255) {
    const uint32_t low = nn_sigmoid_table[place], high = nn_sigmoid_table[place + 1];
    y = (low << 9) + (size & 0x1FF) * (high - low);
  }
  y = x >= 0 ? y + (1 << 9) : (UINT32_C(1) << 25) - y + (1 << 9) - 1;
  return (int16_t)(y >> 10);
}

static inline int16_t nn_tanh_s16(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t x = nn_scaled_input(value, multiplier, shift);
  const uint32_t size = (uint32_t)(x < 0 ? -x : x);
  const uint32_t place = size >> 8;
  int32_t y = INT32_C(0xFFFF) << 8;
  if (place < 255) {
    const uint32_t low = nn_sigmoid_table[place], high = nn_sigmoid_table[place + 1];
    y = (int32_t)((low << 8) + (size & 0xFF) * (high - low));
  }
  y = x >= 0 ? y - (INT32_C(1) << 23) + (1 << 7) : -y + (INT32_C(1) << 23) + (1 << 7) - 1;
  return (int16_t)(y >> 8);
}
#endif
