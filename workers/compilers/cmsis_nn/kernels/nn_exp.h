/* exp and 1/(1+x) in 32-bit fixed point: the polynomials TFLite's softmax is defined by. */
#ifndef TINYMLAAS_NN_EXP_H
#define TINYMLAAS_NN_EXP_H
#include "nn_support.h"

/* exp(x), x in [-1/4, 0) as Q0.31: Taylor's series around -1/8 to the fourth power. */
static inline int32_t nn_exp_quarter(int32_t a) {
  const int32_t x = a + (INT32_C(1) << 28);
  const int32_t x2 = nn_doubling_high_mul(x, x);
  const int32_t x3 = nn_doubling_high_mul(x2, x);
  const int32_t x4 = nn_doubling_high_mul(x2, x2);
  const int32_t third = INT32_C(715827883);
  const int32_t cubic = nn_doubling_high_mul(nn_rounding_shift(x4, 2) + x3, third);
  const int32_t tail = nn_rounding_shift(cubic + x2, 1);
  const int32_t centre = INT32_C(1895147668); /* exp(-1/8) */
  return centre + nn_doubling_high_mul(centre, x + tail);
}

/* exp(x), x <= 0 as Q5.26; the result is Q0.31. */
static inline int32_t nn_exp_negative(int32_t a) {
  static const int32_t powers[] = {/* exp(-2^k), k = -2 .. 4 */
                                   1672461947, 1302514674, 790015084, 290630308,
                                   39332535,   720401,     242};
  const int32_t quarter = INT32_C(1) << 24;
  const int32_t fraction = (a & (quarter - 1)) - quarter;
  int32_t result = nn_exp_quarter((int32_t)((uint32_t)fraction << 5));
  const int32_t rest = fraction - a;
  if (a == 0) return INT32_MAX;
  for (int32_t k = 0; k < 7; k++)
    if (rest & (quarter << k)) result = nn_doubling_high_mul(result, powers[k]);
  return result;
}

static inline int32_t nn_saturating_shift_left(int32_t value, int32_t bits) {
  if (value > INT32_MAX >> bits) return INT32_MAX;
  if (value < INT32_MIN >> bits) return INT32_MIN;
  return (int32_t)((uint32_t)value << bits);
}

/* 1 / (1 + x), x in [0, 1) as Q0.31: three steps of Newton's iteration on Q2.29. */
static inline int32_t nn_reciprocal(int32_t x) {
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  int32_t estimate = INT32_C(1515870810) /* 48/17 */ +
                     nn_doubling_high_mul(half, INT32_C(-1010580540) /* -32/17 */);
  for (int32_t i = 0; i < 3; i++) {
    const int32_t error = (INT32_C(1) << 29) - nn_doubling_high_mul(half, estimate);
    estimate += nn_saturating_shift_left(nn_doubling_high_mul(estimate, error), 2);
  }
  return nn_saturating_shift_left(estimate, 1);
}
#endif
