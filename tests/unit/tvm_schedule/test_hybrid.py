"""Hybrid operators give LiteRT's reference kernels' numbers, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm")
pytest.importorskip("ai_edge_litert")

from tests.unit.tvm_schedule.tflite_files import HybridFile
from tinymlaas.contract.errors import UnsupportedModel

HOST = {"kind": "llvm", "opt-level": 0}
_RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test draws the same numbers whichever ran before it in the same process."""
    monkeypatch.setattr(sys.modules[__name__], "_RNG", np.random.default_rng(3))


_RELU, _RELU6 = 1, 3


def _int8(*shape: int) -> Any:
    return _RNG.integers(-127, 128, shape).astype(np.int8)


def _bias(count: int) -> Any:
    return _RNG.standard_normal(count).astype(np.float32)


def _scales(count: int) -> tuple[float, ...]:
    return tuple(float(s) for s in _RNG.uniform(0.001, 0.02, count).astype(np.float32))


CASES = {
    "conv": HybridFile(
        "CONV_2D", (1, 7, 6, 3), (1, 7, 6, 5), _int8(5, 3, 3, 3), (0.013,), _bias(5)
    ),
    "conv_batch_relu": HybridFile(
        "CONV_2D",
        (3, 9, 8, 4),
        (3, 5, 4, 6),
        _int8(6, 3, 2, 4),
        (0.0071,),
        _bias(6),
        _RELU,
        stride=(2, 2),
    ),
    "conv_valid_dilated": HybridFile(
        "CONV_2D",
        (1, 9, 9, 2),
        (1, 5, 7, 4),
        _int8(4, 3, 3, 2),
        (0.02,),
        _bias(4),
        _RELU6,
        same=False,
        dilation=(2, 1),
    ),
    "conv_equal_scales": HybridFile(
        "CONV_2D", (1, 4, 4, 3), (1, 4, 4, 2), _int8(2, 1, 1, 3), (0.5, 0.5), _bias(2)
    ),
    "conv_per_channel": HybridFile(
        "CONV_2D", (2, 7, 6, 3), (2, 7, 6, 5), _int8(5, 3, 3, 3), _scales(5), _bias(5), _RELU
    ),
    "depthwise": HybridFile(
        "DEPTHWISE_CONV_2D", (2, 7, 6, 4), (2, 7, 6, 4), _int8(1, 3, 3, 4), _scales(4), _bias(4)
    ),
    "depthwise_multiplier": HybridFile(
        "DEPTHWISE_CONV_2D",
        (1, 8, 8, 2),
        (1, 4, 4, 6),
        _int8(1, 2, 3, 6),
        _scales(6),
        _bias(6),
        _RELU6,
        stride=(2, 2),
    ),
    "dense": HybridFile(
        "FULLY_CONNECTED", (3, 20), (3, 7), _int8(7, 20), (0.011,), _bias(7), _RELU
    ),
    "dense_no_bias": HybridFile("FULLY_CONNECTED", (2, 33), (2, 4), _int8(4, 33), (0.011,)),
    "dense_asymmetric": HybridFile(
        "FULLY_CONNECTED", (3, 20), (3, 7), _int8(7, 20), (0.011,), _bias(7), asymmetric=True
    ),
    "dense_per_channel": HybridFile(
        "FULLY_CONNECTED", (3, 20), (3, 7), _int8(7, 20), _scales(7), _bias(7)
    ),
}


def _inputs(shape: tuple[int, ...]) -> list[Any]:
    """Return inputs with all kinds of ranges: wide, tiny, one-sided, constant, zero."""
    noise = _RNG.standard_normal((4, *shape)).astype(np.float32)
    mixed = noise[0].copy()
    mixed[-1] = 0  # a batch of zeros among others
    ties = np.round(noise[1] * 8) / 2  # many halves after scaling by powers of two
    return [
        *noise[:2],
        noise[2] * 1e-6,
        noise[3] * 1e4,
        np.abs(noise[0]),
        -np.abs(noise[1]),
        ties,
        mixed,
        np.zeros(shape, np.float32),
        np.full(shape, 0.3, np.float32),
    ]


def _reference(data: bytes, inputs: list[Any]) -> list[Any]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    outputs = []
    for values in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    return outputs


def _ours(data: bytes, inputs: list[Any]) -> list[Any]:
    import tvm
    from tvm import relax

    from tests.unit.tvm_schedule.cases import CORTEX_M4
    from workers.compilers.tvm.hybrid import import_tflite
    from workers.compilers.tvm.pipeline import fuse
    from workers.compilers.tvm.schedule import schedule

    mod = schedule(fuse(import_tflite(data)), CORTEX_M4, {})
    machine = relax.VirtualMachine(tvm.compile(mod, target=tvm.target.Target(HOST)), tvm.cpu())
    return [machine["main"](tvm.runtime.tensor(values)).numpy() for values in inputs]


@pytest.mark.parametrize("name", CASES)
def test_same_bits_as_the_reference(name: str) -> None:
    case = CASES[name]
    data, inputs = case.data(), _inputs(case.input_shape)
    for ours, reference in zip(_ours(data, inputs), _reference(data, inputs), strict=True):
        np.testing.assert_array_equal(ours, reference)


def test_inputs_on_ties_are_rounded_before_the_zero_point_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sum has fewer bits left than the product, and would make ties of what is none."""
    case, inputs = CASES["dense_asymmetric"], []
    for seed in (9, 17, 22, 29, 34, 37):
        monkeypatch.setattr(sys.modules[__name__], "_RNG", np.random.default_rng(seed))
        inputs.append(_inputs(case.input_shape)[6])
    data = case.data()
    for ours, reference in zip(_ours(data, inputs), _reference(data, inputs), strict=True):
        np.testing.assert_array_equal(ours, reference)


@pytest.mark.shared
def test_keyword_spotting_has_the_same_bits_before_softmax() -> None:
    """Whole network: a flipped rounding anywhere would show in the probabilities."""
    path = Path(__file__).parents[4] / "shared/models/mlperf-tiny/kws_fp32.tflite"
    if not path.exists():
        pytest.skip("the reference models are not beside the project")
    inputs = [
        (_RNG.standard_normal((1, 49, 10, 1)) * width + offset).astype(np.float32)
        for width in (0.3, 1.0, 4.0, 30.0)
        for offset in (-20.0, 0.0, 5.0)
    ]
    data = path.read_bytes()
    for ours, reference in zip(_ours(data, inputs), _reference(data, inputs), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-7)


def test_a_model_with_hybrid_operators_asks_for_separate_rounding() -> None:
    from workers.compilers.tvm.hybrid import CFLAGS, import_tflite

    mod = import_tflite(CASES["conv"].data())
    assert mod.attrs[CFLAGS] == "-ffp-contract=off"


def test_refusal_names_operator_and_number() -> None:
    from workers.compilers.tvm.hybrid import import_tflite

    grouped = HybridFile(
        "CONV_2D", (1, 4, 4, 4), (1, 4, 4, 6), _int8(6, 3, 3, 2), (0.01,), _bias(6)
    )
    with pytest.raises(UnsupportedModel, match=r"CONV_2D #0: dynamic-range quantised with groups"):
        import_tflite(grouped.data())
