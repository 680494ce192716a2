/* Fixed-point primitives of TFLite's quantisation specification. */
#ifndef TINYMLAAS_NN_SUPPORT_H
#define TINYMLAAS_NN_SUPPORT_H
#include <stdint.h>

/* round(a * b / 2^31), halves up; the one overflow there is saturates. */
static inline int32_t nn_doubling_high_mul(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* value / 2^exponent, rounded to nearest, halves away from zero. */
static inline int32_t nn_rounding_shift(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1);
  const int32_t threshold = (mask >> 1) + (value < 0);
  return (value >> exponent) + ((value & mask) > threshold);
}

/* value * multiplier / 2^31 * 2^shift, rounded twice: MultiplyByQuantizedMultiplier. */
static inline int32_t nn_requantize(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  const int32_t scaled = (int32_t)((uint32_t)value << left);
  return nn_rounding_shift(nn_doubling_high_mul(scaled, multiplier), right);
}

/* a + b modulo 2^32: a requantised value may be so large that adding a zero point overflows. */
static inline int32_t nn_add(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t nn_clamp(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}
#endif
