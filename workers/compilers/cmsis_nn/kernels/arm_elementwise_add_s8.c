/* Sum of two int8 vectors of different scales. */
#include "nn_support.h"
#include "arm_nn_types.h"

static arm_cmsis_nn_status arm_elementwise_add_s8(
    const int8_t *input_1_vect, const int8_t *input_2_vect, const int32_t input_1_offset,
    const int32_t input_1_mult, const int32_t input_1_shift, const int32_t input_2_offset,
    const int32_t input_2_mult, const int32_t input_2_shift, const int32_t left_shift,
    int8_t *output, const int32_t out_offset, const int32_t out_mult, const int32_t out_shift,
    const int32_t out_activation_min, const int32_t out_activation_max, const int32_t block_size) {
  for (int32_t i = 0; i < block_size; i++) {
    const int32_t one = (input_1_vect[i] + input_1_offset) * (INT32_C(1) << left_shift);
    const int32_t two = (input_2_vect[i] + input_2_offset) * (INT32_C(1) << left_shift);
    const int32_t sum = nn_requantize(one, input_1_mult, input_1_shift) +
                        nn_requantize(two, input_2_mult, input_2_shift);
    output[i] = (int8_t)nn_clamp(nn_add(nn_requantize(sum, out_mult, out_shift), out_offset),
                                 out_activation_min, out_activation_max);
  }
  return ARM_CMSIS_NN_SUCCESS;
}
