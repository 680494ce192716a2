/* Softmax of one row of int8; outputs are multiples of 2^-8 above -128. */
#ifndef TINYMLAAS_NN_SOFTMAX_H
#define TINYMLAAS_NN_SOFTMAX_H
#include "nn_exp.h"

static inline int32_t nn_leading_zeros(uint32_t value) {
  int32_t count = 0;
  for (; !(value & UINT32_C(0x80000000)); count++) value <<= 1;
  return count;
}

static inline int32_t nn_softmax_exp(int32_t diff, int32_t mult, int32_t shift) {
  return nn_exp_negative(
      nn_doubling_high_mul((int32_t)((uint32_t)diff << shift), mult));
}

/* Scale of a row: the reciprocal of its sum of exponentials, and its exponent. */
typedef struct {
  int32_t most, scale, bits;
} nn_softmax_row;

static inline nn_softmax_row nn_softmax_scan(const int8_t *input, int32_t size, int32_t mult,
                                             int32_t shift, int32_t diff_min) {
  nn_softmax_row row = {input[0], 0, 0};
  int32_t sum = 0; /* Q12.19 */
  for (int32_t i = 1; i < size; i++)
    if (input[i] > row.most) row.most = input[i];
  for (int32_t i = 0; i < size; i++) {
    const int32_t diff = input[i] - row.most;
    if (diff >= diff_min) sum += nn_rounding_shift(nn_softmax_exp(diff, mult, shift), 12);
  }
  const int32_t headroom = nn_leading_zeros((uint32_t)sum);
  row.scale = nn_reciprocal((int32_t)(((uint32_t)sum << headroom) - UINT32_C(0x80000000)));
  row.bits = 12 - headroom;
  return row;
}

static inline int32_t nn_softmax_value(const nn_softmax_row *row, int32_t value, int32_t mult,
                                       int32_t shift, int32_t diff_min) {
  const int32_t diff = value - row->most;
  const int32_t exponent = row->bits + 31 - 8;
  /* a row of so many equal values that each share rounds to nothing */
  if (diff < diff_min || exponent > 31) return INT8_MIN;
  const int32_t product = nn_doubling_high_mul(row->scale, nn_softmax_exp(diff, mult, shift));
  return nn_clamp(nn_rounding_shift(product, exponent) + INT8_MIN, INT8_MIN, INT8_MAX);
}
#endif
