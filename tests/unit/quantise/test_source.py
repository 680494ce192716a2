import numpy as np
import pytest

from tinymlaas.contract.errors import UnsupportedModel, UsageError
from tinymlaas.contract.quantisation import OutputError
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.quantise import measure
from workers.quantise.source import difference, probe, refuse_no_numbers, refuse_other_numbers

WANT = np.array([0.0, 2.0, 4.0], np.float32)
Y = TensorSpec(name="y", shape=(3,), dtype=DType.FLOAT32)


def test_difference_is_by_the_range_of_what_is_wanted():
    assert difference(WANT + np.float32(1), WANT) == 0.25
    assert difference(WANT[:2], WANT) == float("inf")
    assert difference(WANT * np.float32(np.nan), WANT) == float("inf")
    assert difference(WANT[:0], WANT[:0]) == 0.0
    assert difference(np.full(3, 5.5), np.full(3, 5.0)) == 0.1


def test_other_numbers_or_another_count_of_outputs_is_refused():
    refuse_other_numbers("us", [WANT], [WANT], "them")
    with pytest.raises(UnsupportedModel, match="other numbers than them"):
        refuse_other_numbers("us", [WANT, WANT + 1], [WANT, WANT], "them")
    with pytest.raises(UnsupportedModel, match="2 outputs, not 1"):
        refuse_other_numbers("us", [WANT, WANT], [WANT], "them")


def test_the_probe_is_the_sample_that_tells_most():
    dull, telling = np.zeros((2, 2), np.float32), np.arange(4, dtype=np.float32).reshape(2, 2)
    (chosen,) = probe([[dull], [telling], [dull]])
    assert chosen is telling


def test_a_float_input_without_two_values_is_probed_with_noise():
    indices = np.zeros((2,), np.int64)
    noise, same = probe([[np.zeros((2, 2), np.float32), indices]])
    assert len(np.unique(noise)) == 4
    assert noise.dtype == np.float32
    assert same is indices


def test_a_sample_the_float_model_has_no_answer_to_is_named():
    bad = np.array([0, np.inf, 1])
    with pytest.raises(UsageError, match=r"c\.npz: for sample 1 the float model's output 'y'"):
        refuse_no_numbers([[WANT], [bad]], [Y], "c.npz")


def test_far_off_outputs_are_a_warning():
    def error(ratio):
        return OutputError(name="y", range=1, max_error=1, mean_error=1, rms_error=1, sqnr_db=ratio)

    assert measure.far_off([error(None), error(measure.FAR_OFF_DB)]) == ()
    (warning,) = measure.far_off([error(7.25)])
    assert "'y'" in warning
    assert "7.2 dB" in warning
