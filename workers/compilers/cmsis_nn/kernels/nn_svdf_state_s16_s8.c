/* SVDF, int8 with a state of int16. */
#include "nn_svdf_body.h"

NN_SVDF(nn_svdf_state_s16_s8, int16_t, INT16_MIN, INT16_MAX)
