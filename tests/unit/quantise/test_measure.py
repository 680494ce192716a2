from math import log10

import numpy as np
import pytest

from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.quantise.measure import output_errors
from workers.verify.quantising import dequantised, quantised

SPEC = TensorSpec(
    name="q", shape=(4,), dtype=DType.INT8, quantization=Quantization(scale=0.5, zero_point=-3)
)
FLOAT = TensorSpec(name="y", shape=(4,), dtype=DType.FLOAT32)


def test_quantising_rounds_half_away_from_zero_and_saturates():
    stored = quantised(np.array([0.25, -0.25, 1000.0, -1000.0], np.float32), SPEC)
    assert stored.dtype == np.int8
    assert stored.tolist() == [-2, -4, 127, -128]


def test_dequantising_undoes_it_within_half_a_step():
    values = np.linspace(-50, 50, 4)
    assert np.abs(dequantised(quantised(values, SPEC), SPEC) - values).max() <= 0.25


def test_a_tensor_without_quantisation_is_taken_as_it_is():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert dequantised(quantised(values, FLOAT), FLOAT).tolist() == values.tolist()


def test_errors_are_relative_to_the_float_outputs_range():
    expected = [[np.array([0.0, 1.0, 2.0, 4.0])], [np.array([0.0, 0.0, 0.0, 0.0])]]
    got = [[np.array([0.0, 1.0, 2.0, 5.0])], [np.array([0.0, 0.0, 0.0, 0.0])]]
    (error,) = output_errors(expected, got, [FLOAT])
    assert (error.name, error.range) == ("y", 4.0)
    assert error.max_error == 0.25
    assert error.mean_error == pytest.approx(1 / 8 / 4)
    assert error.rms_error == pytest.approx((1 / 8) ** 0.5 / 4)
    assert error.sqnr_db == pytest.approx(10 * log10(21))


def test_no_error_has_no_ratio():
    same = [[np.array([0.0, 1.0, 2.0, 4.0])]]
    (error,) = output_errors(same, same, [FLOAT])
    assert (error.max_error, error.sqnr_db) == (0.0, None)
