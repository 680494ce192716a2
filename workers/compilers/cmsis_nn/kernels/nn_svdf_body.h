/* SVDF: the state is [batch, filter, memory]; each run shifts it by one and appends the new
   features. A macro, for the state may be int8 or int16. */
#ifndef TINYMLAAS_NN_SVDF_BODY_H
#define TINYMLAAS_NN_SVDF_BODY_H
#include "nn_support.h"
#include <string.h>

typedef struct {
  int32_t batch, depth, units, rank, memory;
  int32_t input_zero, state_zero, output_zero;
  int32_t feature_multiplier, feature_shift, time_multiplier, time_shift;
} nn_svdf;

#define NN_SVDF(NAME, STATE, LOW, HIGH)                                                          \
  static void NAME(const nn_svdf *p, const int8_t *features, const STATE *times,                 \
                   const int32_t *bias, const int8_t *input, int8_t *output, STATE *state) {     \
    const int32_t filters = p->units * p->rank;                                                  \
    const int32_t all = p->batch * filters * p->memory;                                          \
    memmove(state, state + 1, (uint32_t)(all - 1) * sizeof(STATE));                              \
    for (int32_t b = 0; b < p->batch; b++, input += p->depth) {                                  \
      STATE *rows = state + b * filters * p->memory;                                             \
      for (int32_t f = 0; f < filters; f++) {                                                    \
        int32_t sum = 0;                                                                         \
        for (int32_t i = 0; i < p->depth; i++)                                                   \
          sum += features[f * p->depth + i] * (input[i] - p->input_zero);                        \
        sum = nn_requantize(sum, p->feature_multiplier, p->feature_shift);                       \
        sum = nn_add(sum, p->state_zero);                                                        \
        rows[f * p->memory + p->memory - 1] = (STATE)nn_clamp(sum, LOW, HIGH);                   \
      }                                                                                          \
      for (int32_t u = 0; u < p->units; u++) {                                                   \
        int32_t sum = bias[u];                                                                   \
        const int32_t first = u * p->rank * p->memory;                                           \
        for (int32_t k = first; k < first + p->rank * p->memory; k++)                            \
          sum += times[k] * (rows[k] - p->state_zero);                                           \
        sum = nn_requantize(sum, p->time_multiplier, p->time_shift);                             \
        sum = nn_add(sum, p->output_zero);                                                       \
        *output++ = (int8_t)nn_clamp(sum, INT8_MIN, INT8_MAX);                                   \
      }                                                                                          \
    }                                                                                            \
  }
#endif
