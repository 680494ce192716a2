"""The MLPerf Tiny models on this machine, against LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.tvm import harness
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.model import ModelFormat
from workers.compilers.tvm.generate import generate

FOLDER = Path(__file__).parents[4] / "shared" / "models" / "mlperf-tiny"
HOST = CapabilityClass(core=Core.HOST)


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["fp32", "int8"])
@pytest.mark.parametrize(
    "model", ["kws", "ad", *(pytest.param(each, marks=pytest.mark.slow) for each in ("ic", "vww"))]
)
def test_like_the_reference(model, kind, tmp_path):
    path = FOLDER / f"{model}_{kind}.tflite"
    if not path.exists():
        pytest.skip("the reference models are not beside the project (../shared/models)")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, source["shape"]).astype(np.float32)
    if source["dtype"] == np.int8:
        values = rng.integers(-128, 128, source["shape"]).astype(np.int8)
    interpreter.set_tensor(source["index"], values)
    interpreter.invoke()
    expected = interpreter.get_tensor(result["index"]).astype(np.float64)
    made = generate(path.read_bytes(), ModelFormat.TFLITE, HOST)
    (got,) = harness.run(made, [values], tmp_path)
    error = np.abs(got.reshape(expected.shape) - expected).max()
    if kind == "int8":
        # Layers run in float between roundings to int8; a rounding that falls the other way moves
        # all that follow. Noise as input is the worst case.
        assert error <= 12
        assert got.argmax() == expected.argmax()
    else:
        assert error <= 1e-4 * np.ptp(expected)
