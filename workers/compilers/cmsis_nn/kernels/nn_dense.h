/* Fully connected, int8. Weights are [O, I]: filter_dims.n is I, filter_dims.c is O. */
#ifndef TINYMLAAS_NN_DENSE_H
#define TINYMLAAS_NN_DENSE_H
#include "nn_support.h"
#include "arm_nn_types.h"

/* `stride` is 1 where every output has its own multiplier, 0 where one serves all. */
static inline void nn_dense(const cmsis_nn_fc_params *params, const int32_t *multiplier,
                            const int32_t *shift, int32_t stride, int32_t rows, int32_t depth,
                            int32_t channels, const int8_t *input, const int8_t *weights,
                            const int32_t *bias, int8_t *output) {
  for (int32_t n = 0; n < rows; n++, input += depth) {
    const int8_t *row = weights;
    for (int32_t o = 0; o < channels; o++, row += depth) {
      int32_t sum = bias ? bias[o] : 0;
      for (int32_t i = 0; i < depth; i++) sum += row[i] * (input[i] + params->input_offset);
      sum = nn_requantize(sum, multiplier[o * stride], shift[o * stride]);
      *output++ = (int8_t)nn_clamp(nn_add(sum, params->output_offset),
                                   params->activation.min, params->activation.max);
    }
  }
}
#endif
