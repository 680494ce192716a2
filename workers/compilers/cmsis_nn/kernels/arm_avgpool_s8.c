/* Average pooling, int8; padding does not count. */
#include "nn_support.h"
#include "arm_nn_types.h"

static arm_cmsis_nn_status arm_avgpool_s8(const cmsis_nn_context *ctx,
                                          const cmsis_nn_pool_params *pool_params,
                                          const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                          const cmsis_nn_dims *filter_dims,
                                          const cmsis_nn_dims *output_dims, int8_t *output_data) {
  (void)ctx;
  const int32_t row = input_dims->w * input_dims->c;
  for (int32_t n = 0; n < input_dims->n; n++, input_data += input_dims->h * row) {
    for (int32_t oy = 0; oy < output_dims->h; oy++) {
      const int32_t top = oy * pool_params->stride.h - pool_params->padding.h;
      const int32_t y0 = top < 0 ? 0 : top;
      const int32_t bottom = top + filter_dims->h;
      const int32_t y1 = bottom > input_dims->h ? input_dims->h : bottom;
      for (int32_t ox = 0; ox < output_dims->w; ox++) {
        const int32_t left = ox * pool_params->stride.w - pool_params->padding.w;
        const int32_t x0 = left < 0 ? 0 : left;
        const int32_t right = left + filter_dims->w;
        const int32_t x1 = right > input_dims->w ? input_dims->w : right;
        const int32_t count = (y1 - y0) * (x1 - x0);
        for (int32_t c = 0; c < output_dims->c; c++) {
          int32_t sum = 0;
          for (int32_t y = y0; y < y1; y++)
            for (int32_t x = x0; x < x1; x++) sum += input_data[y * row + x * input_dims->c + c];
          sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
          *output_data++ =
              (int8_t)nn_clamp(sum, pool_params->activation.min, pool_params->activation.max);
        }
      }
    }
  }
  return ARM_CMSIS_NN_SUCCESS;
}
