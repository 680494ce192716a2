/* Convolution, int8: any stride, padding, dilation and grouping. Weights are OHWI. */
#include "nn_support.h"
#include "arm_nn_types.h"

static arm_cmsis_nn_status arm_convolve_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_conv_params *conv_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input_data, const cmsis_nn_dims *filter_dims, const int8_t *filter_data,
    const cmsis_nn_dims *bias_dims, const int32_t *bias_data, const cmsis_nn_dims *output_dims,
    int8_t *output_data) {
  (void)ctx;
  (void)bias_dims;
  const int32_t depth = filter_dims->c;
  const int32_t channels = output_dims->c;
  const int32_t group = channels / (input_dims->c / depth);
  const int32_t offset = conv_params->input_offset;
  for (int32_t n = 0; n < input_dims->n; n++) {
    const int8_t *image = input_data + n * input_dims->h * input_dims->w * input_dims->c;
    for (int32_t oy = 0; oy < output_dims->h; oy++) {
      const int32_t top = oy * conv_params->stride.h - conv_params->padding.h;
      for (int32_t ox = 0; ox < output_dims->w; ox++) {
        const int32_t left = ox * conv_params->stride.w - conv_params->padding.w;
        const int8_t *weights = filter_data;
        for (int32_t oc = 0; oc < channels; oc++) {
          const int8_t *slice = image + oc / group * depth;
          int32_t sum = bias_data ? bias_data[oc] : 0;
          for (int32_t ky = 0; ky < filter_dims->h; ky++) {
            const int32_t y = top + ky * conv_params->dilation.h;
            if (y < 0 || y >= input_dims->h) {
              weights += filter_dims->w * depth;
              continue;
            }
            for (int32_t kx = 0; kx < filter_dims->w; kx++, weights += depth) {
              const int32_t x = left + kx * conv_params->dilation.w;
              if (x < 0 || x >= input_dims->w) continue;
              const int8_t *pixel = slice + (y * input_dims->w + x) * input_dims->c;
              for (int32_t ic = 0; ic < depth; ic++) sum += weights[ic] * (pixel[ic] + offset);
            }
          }
          sum = nn_requantize(sum, quant_params->multiplier[oc], quant_params->shift[oc]);
          *output_data++ = (int8_t)nn_clamp(nn_add(sum, conv_params->output_offset),
                                            conv_params->activation.min,
                                            conv_params->activation.max);
        }
      }
    }
  }
  return ARM_CMSIS_NN_SUCCESS;
}
