/* Softmax, int8 to int8. */
#include "nn_softmax.h"

static void arm_softmax_s8(const int8_t *input, const int32_t num_rows, const int32_t row_size,
                           const int32_t mult, const int32_t shift, const int32_t diff_min,
                           int8_t *output) {
  for (int32_t n = 0; n < num_rows; n++, input += row_size) {
    const nn_softmax_row row = nn_softmax_scan(input, row_size, mult, shift, diff_min);
    for (int32_t i = 0; i < row_size; i++)
      *output++ = (int8_t)nn_softmax_value(&row, input[i], mult, shift, diff_min);
  }
}
