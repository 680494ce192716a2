/* LSTM, int8 in and out, int16 cell, over all time steps. Gates are input, forget, cell, output;
   zero points are in the biases. Hidden state and cell last from run to run. */
#include "nn_support.h"
#include "nn_sigmoid.h"
#include <string.h>

typedef struct {
  const int8_t *input_weights, *recurrent_weights;
  const int32_t *bias, *recurrent_bias;
  int32_t input_multiplier, input_shift, recurrent_multiplier, recurrent_shift;
} nn_lstm_gate;

typedef struct {
  int32_t batch, steps, depth, size;
  nn_lstm_gate gates[4];
  int32_t forget_multiplier, forget_shift, update_multiplier, update_shift;
  int32_t output_multiplier, output_shift, output_zero;
  int32_t cell_shift, clip;
} nn_lstm;

static inline int32_t nn_lstm_sum(const int8_t *weights, const int8_t *input, int32_t depth,
                                  int32_t sum, int32_t multiplier, int32_t shift) {
  for (int32_t i = 0; i < depth; i++) sum += weights[i] * input[i];
  return nn_clamp(nn_requantize(sum, multiplier, shift), INT16_MIN, INT16_MAX);
}

/* Weighted sum of unit `j` as Q3.12, before its activation. */
static inline int32_t nn_lstm_gate_sum(const nn_lstm *p, int32_t gate, int32_t j,
                                       const int8_t *input, const int8_t *hidden) {
  const nn_lstm_gate *g = &p->gates[gate];
  const int32_t own = nn_lstm_sum(g->input_weights + j * p->depth, input, p->depth, g->bias[j],
                                  g->input_multiplier, g->input_shift);
  const int32_t recurrent =
      nn_lstm_sum(g->recurrent_weights + j * p->size, hidden, p->size, g->recurrent_bias[j],
                  g->recurrent_multiplier, g->recurrent_shift);
  return nn_clamp(own + recurrent, INT16_MIN, INT16_MAX);
}

static inline int32_t nn_lstm_product(int32_t a, int32_t b, int32_t multiplier, int32_t shift) {
  return nn_clamp(nn_requantize(a * b, multiplier, shift), INT16_MIN, INT16_MAX);
}

static void nn_lstm_step(const nn_lstm *p, const int8_t *input, int8_t *hidden, int16_t *cell,
                         int8_t *output) {
  for (int32_t j = 0; j < p->size; j++) {
    const int32_t in = nn_sigmoid_s16(nn_lstm_gate_sum(p, 0, j, input, hidden), 3, 0);
    const int32_t forget = nn_sigmoid_s16(nn_lstm_gate_sum(p, 1, j, input, hidden), 3, 0);
    const int32_t update = nn_tanh_s16(nn_lstm_gate_sum(p, 2, j, input, hidden), 3, 0);
    const int32_t out = nn_sigmoid_s16(nn_lstm_gate_sum(p, 3, j, input, hidden), 3, 0);
    int32_t value = nn_lstm_product(forget, cell[j], p->forget_multiplier, p->forget_shift) +
                    nn_lstm_product(in, update, p->update_multiplier, p->update_shift);
    value = nn_clamp(value, INT16_MIN, INT16_MAX);
    if (p->clip > 0) value = nn_clamp(value, -p->clip, p->clip);
    cell[j] = (int16_t)value;
    const int32_t squashed = nn_tanh_s16(value, INT32_C(3) << p->cell_shift, 0);
    value = nn_requantize(squashed * out, p->output_multiplier, p->output_shift);
    output[j] = (int8_t)nn_clamp(nn_add(value, p->output_zero), INT8_MIN, INT8_MAX);
  }
  memcpy(hidden, output, (uint32_t)p->size);
}

/* Steps outermost, batches within them. */
static void nn_lstm_s8(const nn_lstm *p, const int8_t *input, int8_t *output, int8_t *hidden,
                       int16_t *cell) {
  for (int32_t t = 0; t < p->steps; t++)
    for (int32_t b = 0; b < p->batch; b++, input += p->depth, output += p->size)
      nn_lstm_step(p, input, hidden + b * p->size, cell + b * p->size, output);
}
