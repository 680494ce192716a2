"""Comparison with the reference, by the definitions in its documentation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import Failure
from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.verify.numerics import WORST, compare, tolerances, value_range, within

NAN, INF = math.nan, math.inf


def one(*values, dtype="f4"):
    return [[np.array(values, dtype)]]


def numbers(reference, got, dtype="f4", tolerance=1e-4):
    return compare(one(*reference, dtype=dtype), one(*got, dtype=dtype), [tolerance])


def test_difference_relative_to_the_range():
    result = numbers((0, 10, 5), (0, 10, 5.5))
    assert result.max_abs_error == 0.5
    assert result.max_rel_error == 0.05
    assert not result.bit_exact
    assert result.tolerance == 1e-4
    assert not within(result)
    assert within(result.model_copy(update={"tolerance": 0.05}))


def test_range_is_taken_over_all_samples_but_of_each_output_alone():
    reference = [[np.float32([0]), np.float32([1000])], [np.float32([2]), np.float32([1100])]]
    got = [[np.float32([0]), np.float32([1000])], [np.float32([1]), np.float32([1110])]]
    result = compare(reference, got, [1, 1])
    assert result.max_abs_error == 1
    assert result.max_rel_error == 0.5


def test_each_output_is_judged_by_its_own_bound():
    reference = [[np.float32([0, 100]), np.int8([0, 100]), np.int64([0, 100_000])]]
    specs = [spec(DType.FLOAT32), spec(DType.INT8, quantized=True), spec(DType.INT64)]
    bounds = tolerances(specs, reference)
    assert bounds == [1e-4, 0.1, 0]
    cases = (  # what each output is off by, and the one that is named
        ((0, 5, 0), 1, True),
        ((0.009, 0, 0), 0, True),
        ((1, 5, 0), 0, False),  # an int8 output may be so far off, this one not
        ((0, 5, 1), 2, False),
        ((0, 11, 0), 1, False),
    )
    for errors, named, good in cases:
        pairs = zip(reference[0], errors, strict=True)
        got = [[(values + error).astype(values.dtype) for values, error in pairs]]
        result = compare(reference, got, bounds)
        assert (result.tolerance, within(result)) == (bounds[named], good), errors
        assert result.max_abs_error == pytest.approx(errors[named], rel=1e-3)


def test_a_tolerance_of_0_that_was_kept_says_that_every_bound_was_0():
    outputs = [[np.array([1, 2]), np.array([3.0, 4.0], np.float32)]]
    assert compare(outputs, outputs, [0.0, 0.1]).tolerance == 0.1
    assert compare(outputs, outputs, [0.1, 0.0]).tolerance == 0.1
    assert compare(outputs, outputs, [0.0, 0.0]).tolerance == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [((3, 3), 3), ((-4, -4), 4), ((0, 0), 1), ((), 1), ((NAN, INF), 1), ((1, NAN, 3, INF), 2)],
)
def test_range_of_constant_or_special_references(values, expected):
    assert value_range([np.array(values, "f4")]) == expected


@pytest.mark.parametrize(
    ("reference", "got", "error"),
    [
        ((NAN, 1), (NAN, 1), 0),
        ((INF, -INF), (INF, -INF), 0),
        ((NAN,), (1,), WORST),
        ((1,), (NAN,), WORST),
        ((INF,), (-INF,), WORST),
        ((INF,), (3e38,), WORST),
        ((0.0,), (-0.0,), 0),
    ],
)
def test_special_values(reference, got, error):
    assert numbers(reference, got).max_abs_error == error


def test_the_worst_can_be_written_as_json():
    text = canonical_json(numbers((NAN,), (1,)).model_dump())
    assert json.loads(text)["max_abs_error"] == pytest.approx(3.4e38, rel=0.01)


def test_bits():
    assert numbers((1, NAN, INF), (1, NAN, INF)).bit_exact
    assert not numbers((0.0,), (-0.0,)).bit_exact
    assert not numbers((1,), (np.nextafter(np.float32(1), np.float32(2)),)).bit_exact
    assert numbers((1, 2), (1, 2), dtype="i1").bit_exact
    assert not numbers((1, 2), (1, 3), dtype="i1").bit_exact


def test_any_nan_equals_any_other():
    other = np.array([0xFFC00001], "u4").view("f4")
    assert compare(one(NAN), [[other]], [0]).bit_exact


def test_integers_do_not_wrap():
    assert numbers((-128, 127), (127, -128), dtype="i1").max_abs_error == 255
    assert numbers((0, 255), (255, 0), dtype="u1").max_abs_error == 255


def test_booleans():
    assert numbers((True, False), (True, True), dtype="?").max_rel_error == 1


def test_empty_outputs_are_equal():
    empty = [[np.zeros((0, 3), "f4")]]
    result = compare(empty, empty, [0])
    assert within(result)
    assert result.bit_exact


@pytest.mark.parametrize(
    ("reference", "got", "words"),
    [
        (one(1, 2), one(1), "float32[1], the reference's float32[2]"),
        (one(1), one(1, dtype="f8"), "float64"),
        (one(1), [], "0 samples of 1"),
        ([], [], "0 samples of 0"),
        (one(1), [[]], "0 outputs, the reference 1, the model 1"),
        ([[]], one(1), "1 outputs, the reference 0, the model 1"),
        ([[]], [[]], "0 outputs, the reference 0, the model 1"),
    ],
)
def test_another_form_is_our_failure(reference, got, words):
    with pytest.raises(Failure) as caught:
        compare(reference, got, [0])
    assert words in str(caught.value)


floats = arrays("f4", 6, elements=st.floats(width=32))


@given(floats)
def test_everything_equals_itself(values):
    result = compare([[values]], [[values.copy()]], [0])
    assert result.bit_exact
    assert within(result)


@given(floats, floats)
def test_exact_to_the_bit_implies_no_error_and_all_is_finite(left, right):
    result = compare([[left]], [[right]], [0])
    assert not result.bit_exact or result.max_abs_error == 0
    assert math.isfinite(result.max_abs_error)
    assert math.isfinite(result.max_rel_error)


def spec(dtype: DType, quantized: bool = False) -> TensorSpec:
    quantization = Quantization(scale=0.1, zero_point=0) if quantized else None
    return TensorSpec(name="y", shape=(3,), dtype=dtype, quantization=quantization)


@pytest.mark.parametrize(
    ("output", "dtype", "values", "expected"),
    [
        (spec(DType.FLOAT32), "f4", (0, 1, 2), 1e-4),
        (spec(DType.FLOAT16), "f2", (0, 1, 2), 2e-3),
        (spec(DType.INT8, quantized=True), "i1", (-100, 0, 100), 0.1),
        (spec(DType.INT8, quantized=True), "i1", (0, 4, 8), 2 / 8),
        (spec(DType.INT8), "i1", (-100, 0, 100), 0),
        (spec(DType.INT64), "i8", (0, 1, 2), 0),
        (spec(DType.BOOL), "?", (0, 1, 1), 0),
    ],
)
def test_tolerance_of_an_output(output, dtype, values, expected):
    assert tolerances([output], one(*values, dtype=dtype)) == [expected]


def test_quantised_output_may_be_two_steps_off_but_not_three():
    reference, output = one(0, 4, 8, dtype="i1"), spec(DType.INT8, quantized=True)
    bounds = tolerances([output], reference)
    assert within(compare(reference, one(0, 6, 8, dtype="i1"), bounds))
    assert not within(compare(reference, one(0, 7, 8, dtype="i1"), bounds))


def test_a_model_without_outputs_has_nothing_to_be_wrong():
    assert within(compare([[]], [[]], tolerances([], [[]])))
