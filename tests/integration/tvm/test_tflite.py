"""Every TFLite operator the compiler claims, against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.integration.tvm import harness, tflite_cases
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.model import ModelFormat
from workers.compilers.tvm.generate import generate
from workers.compilers.tvm.operators import TFLITE, TFLITE_QUANTISED

HOST = CapabilityClass(core=Core.HOST)
FLOAT = list(tflite_cases.float_cases())
QUANTISED = list(tflite_cases.quantised_cases())


def _params(cases):
    return [pytest.param(model, id=f"{name} {variant}") for name, variant, model in cases]


def _reference(model: bytes, rng: np.random.Generator):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    inputs = []
    for detail in interpreter.get_input_details():
        inputs.append(_random(rng, detail["shape"], np.dtype(detail["dtype"])))
        interpreter.set_tensor(detail["index"], inputs[-1])
    interpreter.invoke()
    return inputs, [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def _random(rng: np.random.Generator, shape, dtype: np.dtype):
    if dtype == np.float32:
        return rng.normal(0, 3, shape).astype(dtype)
    low, high = {"bool": (0, 2), "int8": (-128, 128), "int32": (0, 4)}[dtype.name]
    return rng.integers(low, high, shape).astype(dtype)


def _outputs(model: bytes, tmp_path):
    inputs, expected = _reference(model, np.random.default_rng(0))
    got = harness.run(generate(model, ModelFormat.TFLITE, HOST), inputs, tmp_path)
    return [(g.reshape(e.shape), e) for g, e in zip(got, expected, strict=True)]


@pytest.mark.parametrize("model", _params(FLOAT))
def test_float(model, tmp_path):
    for got, expected in _outputs(model, tmp_path):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", _params(QUANTISED))
def test_quantised_within_one_step(model, tmp_path):
    for got, expected in _outputs(model, tmp_path):
        atol = 1 if expected.dtype == np.int8 else 1e-5
        np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=0, atol=atol)


def test_every_claimed_operator_has_a_case():
    assert {name for name, _, _ in FLOAT} == set(TFLITE) - {"DEQUANTIZE", "QUANTIZE"}
    assert {name for name, _, _ in QUANTISED} == set(TFLITE_QUANTISED)
