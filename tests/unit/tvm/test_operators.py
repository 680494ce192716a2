"""The static tables against those of the installed TVM and of our own rewrites."""

import inspect

import pytest

from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType
from workers.compilers.tvm import operators
from workers.compilers.tvm.graph.rewrites import REWRITES


def test_onnx_operators_are_converted_rewritten_or_folded():
    onnx_frontend = pytest.importorskip("tvm.relax.frontend.onnx.onnx_frontend")
    imported = set(operators._ONNX_IMPORTED.split())
    assert imported <= set(onnx_frontend._get_convert_map())
    own = set(operators._ONNX_REWRITTEN.split()) - {"OptionalGetElement", "OptionalHasElement"}
    assert own <= set(REWRITES)
    assert not own & imported


def test_every_onnx_operator_exists():
    from onnx import defs

    known = {s.name if not s.domain else f"{s.domain}.{s.name}" for s in defs.get_all_schemas()}
    assert set(operators.ONNX) <= known


def test_tflite_operators_have_a_converter():
    frontend = pytest.importorskip("tvm.relax.frontend.tflite.tflite_frontend")
    source = inspect.getsource(frontend.OperatorConverter.__init__)
    for name in operators.TFLITE | operators.TFLITE_QUANTISED:
        assert f'"{name}":' in source, name


def test_no_operators_for_half_floats():
    assert not operators.operators(ModelFormat.ONNX, DType.FLOAT16)
    assert operators.operators(ModelFormat.ONNX, DType.INT8)


def test_listed_sorted_by_format_and_type():
    listed = operators.supported()
    assert {(s.format, s.dtype) for s in listed} == {
        (fmt, dtype) for fmt in ModelFormat for dtype in DType if dtype != DType.FLOAT16
    }
    assert all(list(s.operators) == sorted(set(s.operators)) for s in listed)
