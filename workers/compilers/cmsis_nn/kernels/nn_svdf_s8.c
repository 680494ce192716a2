/* SVDF, int8 with a state of int8. */
#include "nn_svdf_body.h"

NN_SVDF(nn_svdf_s8, int8_t, INT8_MIN, INT8_MAX)
