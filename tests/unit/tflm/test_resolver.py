"""The resolver's methods, held against the symbols of the TFLM library that is installed."""

import re
from pathlib import Path

import pytest
from tflite import BuiltinOperator

from workers.compilers.tflm.resolver import METHODS

runtime = pytest.importorskip("tflite_micro", reason="tflite-micro (extra 'tflm') is missing")
SYMBOLS = b"".join(
    path.read_bytes() for path in sorted(Path(runtime.__file__).parent.rglob("_runtime*.so"))
)


def test_every_operator_is_in_the_schema_and_in_tflm():
    assert set(METHODS) <= {name for name in vars(BuiltinOperator) if name.isupper()}
    kernels = {found.decode() for found in re.findall(rb"Register_([A-Z0-9_]+?)Ev", SYMBOLS)}
    assert "CONV_2D" in kernels
    assert set(METHODS) <= kernels


def test_methods_are_spelt_as_tflm_spells_its_operators():
    """TFLM has a parser ``ParseX`` for most operators that it adds by ``AddX``."""
    parsers = {found.decode() for found in re.findall(rb"\dParse([A-Z][A-Za-z0-9]+?)E", SYMBOLS)}
    spelt = {name.lower(): name for name in parsers} | {"cumsum": "CumSum"}
    plain = {method.removeprefix("Add") for method in METHODS.values()}
    shared = {name for name in plain if name.lower() in spelt}
    assert len(shared) > 75
    assert {name for name in shared if spelt[name.lower()] != name} == set()


@pytest.mark.parametrize(
    ("operator", "method"),
    [("CONV_2D", "AddConv2D"), ("BATCH_MATMUL", "AddBatchMatMul"), ("PADV2", "AddPadV2")],
)
def test_irregular_names(operator, method):
    assert METHODS[operator] == method
