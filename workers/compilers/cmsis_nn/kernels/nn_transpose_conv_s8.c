/* Transposed convolution, int8, gathered: each output sums the inputs that would be scattered to
   it, so no buffer of accumulators is needed. Weights are OHWI. */
#include "nn_support.h"

typedef struct {
  int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t window_h, window_w, stride_h, stride_w, pad_top, pad_left;
  int32_t input_zero, output_zero, low, high;
} nn_transpose_conv;

static inline int32_t nn_transpose_conv_sum(const nn_transpose_conv *p, const int8_t *image,
                                            const int8_t *weights, int32_t oy, int32_t ox) {
  int32_t sum = 0;
  for (int32_t ky = 0; ky < p->window_h; ky++) {
    const int32_t y = oy + p->pad_top - ky;
    if (y < 0 || y % p->stride_h || y / p->stride_h >= p->in_h) continue;
    for (int32_t kx = 0; kx < p->window_w; kx++) {
      const int32_t x = ox + p->pad_left - kx;
      if (x < 0 || x % p->stride_w || x / p->stride_w >= p->in_w) continue;
      const int8_t *w = weights + (ky * p->window_w + kx) * p->in_c;
      const int8_t *pixel = image + (y / p->stride_h * p->in_w + x / p->stride_w) * p->in_c;
      for (int32_t ic = 0; ic < p->in_c; ic++) sum += w[ic] * (pixel[ic] - p->input_zero);
    }
  }
  return sum;
}

static void nn_transpose_conv_s8(const nn_transpose_conv *p, const int8_t *weights,
                                 const int32_t *bias, const int32_t *multiplier,
                                 const int32_t *shift, const int8_t *input, int8_t *output) {
  const int32_t window = p->window_h * p->window_w * p->in_c;
  for (int32_t n = 0; n < p->batch; n++, input += p->in_h * p->in_w * p->in_c) {
    for (int32_t place = 0; place < p->out_h * p->out_w; place++) {
      for (int32_t oc = 0; oc < p->out_c; oc++) {
        int32_t sum = bias[oc] + nn_transpose_conv_sum(p, input, weights + oc * window,
                                                       place / p->out_w, place % p->out_w);
        sum = nn_add(nn_requantize(sum, multiplier[oc], shift[oc]), p->output_zero);
        *output++ = (int8_t)nn_clamp(sum, p->low, p->high);
      }
    }
  }
}
