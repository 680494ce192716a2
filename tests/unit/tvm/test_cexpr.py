"""Literals keep every bit; helpers exist for what is asked."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.compilers.tvm.cexpr import NoCodeError, c_type, float_literal, helper, int_literal


def parse(text: str) -> float:
    text = text.removesuffix("f")
    return float.fromhex(text) if "0x" in text else float(text)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_literals_are_exact(value):
    text = float_literal(value, "float32")
    assert text.endswith("f")
    assert np.float32(parse(text)).tobytes() == np.float32(value).tobytes()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float64_literals_are_exact(value):
    text = float_literal(value, "float64")
    assert not text.endswith("f")
    assert math.copysign(1, parse(text)) == math.copysign(1, value)
    assert parse(text) == value


def test_what_is_no_number():
    assert float_literal(math.nan, "float32") == '__builtin_nanf("")'
    assert float_literal(-math.inf, "float32") == "(-__builtin_inff())"
    assert float_literal(math.inf, "float64") == "(__builtin_inf())"


def test_integer_extremes_are_no_overflowing_literals():
    assert int_literal(-(2**31), "int32") == "INT32_MIN"
    assert int_literal(-(2**63), "int64") == f"(-INT64_C({2**63 - 1}) - 1)"
    assert int_literal(2**32 - 1, "uint32") == f"UINT32_C({2**32 - 1})"
    assert int_literal(-128, "int8") == "-128"


def test_int_of_16_bits_gets_long_literals():
    assert int_literal(70000, "int32", wide=True) == "70000L"
    assert int_literal(7, "int8", wide=True) == "7"


@pytest.mark.parametrize(
    "name", ["min_float32", "max_int8", "floordiv_int32", "floormod_int64", "nearbyint_float32"]
)
def test_helpers_define_their_name(name):
    assert re.match(rf"static inline \w+ {name}\(", helper(name))


def test_no_type_for_half_floats():
    with pytest.raises(NoCodeError, match="float16"):
        c_type("float16")
