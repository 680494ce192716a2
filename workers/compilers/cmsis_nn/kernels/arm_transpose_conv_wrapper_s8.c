/* Transposed convolution, int8, gathered: each output sums the inputs that would be scattered to
   it, so no buffer of accumulators is needed. Weights are OHWI. */
#include "arm_nn_support.h"
#include "arm_nn_types.h"

static arm_cmsis_nn_status arm_transpose_conv_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_context *output_ctx,
    const cmsis_nn_transpose_conv_params *transpose_conv_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input_data, const cmsis_nn_dims *filter_dims, const int8_t *filter_data,
    const cmsis_nn_dims *bias_dims, const int32_t *bias_data, const cmsis_nn_dims *output_dims,
    int8_t *output_data) {
  (void)ctx;
  (void)output_ctx;
  (void)bias_dims;
  const cmsis_nn_transpose_conv_params *p = transpose_conv_params;
  const int32_t depth = input_dims->c;
  const int32_t window = filter_dims->h * filter_dims->w * depth;
  for (int32_t n = 0; n < input_dims->n; n++) {
    const int8_t *image = input_data + n * input_dims->h * input_dims->w * depth;
    for (int32_t oy = 0; oy < output_dims->h; oy++) {
      for (int32_t ox = 0; ox < output_dims->w; ox++) {
        for (int32_t oc = 0; oc < output_dims->c; oc++) {
          const int8_t *weights = filter_data + oc * window;
          int32_t sum = bias_data ? bias_data[oc] : 0;
          for (int32_t ky = 0; ky < filter_dims->h; ky++) {
            const int32_t y = oy + p->padding.h - ky;
            if (y < 0 || y % p->stride.h || y / p->stride.h >= input_dims->h) continue;
            for (int32_t kx = 0; kx < filter_dims->w; kx++) {
              const int32_t x = ox + p->padding.w - kx;
              if (x < 0 || x % p->stride.w || x / p->stride.w >= input_dims->w) continue;
              const int8_t *w = weights + (ky * filter_dims->w + kx) * depth;
              const int8_t *pixel =
                  image + (y / p->stride.h * input_dims->w + x / p->stride.w) * depth;
              for (int32_t ic = 0; ic < depth; ic++) sum += w[ic] * (pixel[ic] + p->input_offset);
            }
          }
          sum = arm_nn_requantize(sum, quant_params->multiplier[oc], quant_params->shift[oc]);
          *output_data++ = (int8_t)nn_clamp(sum + p->output_offset, p->activation.min,
                                            p->activation.max);
        }
      }
    }
  }
  return ARM_CMSIS_NN_SUCCESS;
}
