"""Operators that contradict themselves are refused by name; none ends in a crash or in wrong C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.networks import KIND, int32
from tests.unit.cmsis_nn.running import Module, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, Op, T
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.cmsis_nn.build import build
from workers.compilers.cmsis_nn.lower import LOWERINGS, lower
from workers.compilers.cmsis_nn.lower.context import Context
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    ConcatenationOptions,
    Conv2DOptions,
    LeakyReluOptions,
    MulOptions,
    Options,
    ReducerOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SoftmaxOptions,
    SplitOptions,
    SVDFOptions,
    UnidirectionalSequenceLSTMOptions,
    VarHandleOptions,
)
from workers.compilers.cmsis_nn.reader import read_model
from workers.compilers.cmsis_nn.switches import parse

_WIDE_HALF = ResizeBilinearOptions(False, False)


def refusal(model: Model) -> str:
    """The only reason `model` is refused for."""
    with pytest.raises(UnsupportedModel) as caught:
        lower(read_model(model.to_bytes()))
    (reason,) = caught.value.reasons
    return reason


def one(
    name: str,
    shape: tuple[int, ...],
    target: tuple[int, ...],
    options: Options | None = None,
    constants: tuple[object, ...] = (),
    inputs: int = 1,
    kinds: tuple[tuple, tuple] = (KIND, KIND),
) -> Model:
    """One operator on one int8 input, given `inputs` times, and constants of int32."""
    model = Model()
    numbers = [model.input(T(shape, *kinds[0]))] * inputs
    numbers += [int32(model, values) for values in constants]
    model.outputs.append(model.op(name, numbers, T(target, *kinds[1]), options))
    return model


def split(axis: object) -> Model:
    model = Model()
    numbers = int32(model, axis), model.input(T((1, 4), *KIND))
    model.outputs.append(model.op("SPLIT", numbers, T((1, 4), *KIND), SplitOptions(1)))
    return model


def scaled(name: str, one_scale: float, target: float, options: Options | None, many: int) -> Model:
    kinds = ("int8", one_scale, 0), ("int8", target, 0)
    return one(name, (1, 4), (1, 4), options, inputs=many, kinds=kinds)


def conv_of_scale(scale: float) -> Model:
    model = Model()
    source = model.input(T((1, 2, 2, 1), "int8", scale, 0))
    weights = model.add(T((1, 1, 1, 1), "int8", 1.0, 0, np.ones((1, 1, 1, 1), np.int8)))
    options = Conv2DOptions(0, 1, 1, 1, 1, 0)
    target = T((1, 2, 2, 1), "int8", 1.0, 0)
    model.outputs.append(model.op("CONV_2D", (source, weights), target, options))
    return model


SOFT = ("int8", 1 / 256, -128)
NAN, FAR = float("nan"), ("int8", 0.1, 5000)
CASES: dict[str, tuple[Model, str]] = {
    "bilinear of more than int16 columns": (
        one("RESIZE_BILINEAR", (1, 1, 40000, 1), (1, 1, 9, 1), _WIDE_HALF, ([1, 9],)),
        "more than 32,767",
    ),
    "bilinear of steps that leave the input": (
        one("RESIZE_BILINEAR", (1, 1, 4, 1), (1, 1, 8000, 1), _WIDE_HALF, ([1, 8000],)),
        "too many for 10 fraction bits",
    ),
    "nearest of more than uint16 columns": (
        one(
            "RESIZE_NEAREST_NEIGHBOR",
            (1, 1, 70000, 1),
            (1, 1, 2, 1),
            ResizeNearestNeighborOptions(False, False),
            ([1, 2],),
        ),
        "more than 65,535",
    ),
    "activation of another shape": (
        one("RELU", (1, 2, 2, 8), (1, 2, 1, 16)),
        "(1, 2, 2, 8) becomes (1, 2, 1, 16)",
    ),
    "sum of nothing": (one("ADD", (1, 0), (1, 0), AddOptions(0, False), inputs=2), "is empty"),
    "activation of nothing": (one("RELU", (0, 4), (0, 4)), "is empty"),
    "mean over nothing": (one("MEAN", (1, 0, 4), (1, 4), ReducerOptions(False), ([1],)), "empty"),
    "resize to nothing": (
        one("RESIZE_BILINEAR", (1, 4, 4, 1), (1, 0, 4, 1), _WIDE_HALF, ([0, 4],)),
        "(1, 0, 4, 1) is empty",
    ),
    "split along two axes": (split([1, 1]), "axis of 2 elements"),
    "split of parts along two axes": (
        one("SPLIT_V", (1, 4), (1, 4), None, ([4], [1, 0])),
        "axis of 2 elements",
    ),
    "an odd number of paddings": (
        one("PAD", (1, 4), (1, 4), None, ([1, 1, 1],)),
        "paddings [1, 1, 1] for 2 dimensions",
    ),
    "a slope that is no number": (
        one("LEAKY_RELU", (1, 4), (1, 4), LeakyReluOptions(NAN)),
        "alpha nan",
    ),
    "concatenation of nothing": (
        one("CONCATENATION", (1, 4), (1, 4), ConcatenationOptions(1, 0), inputs=0),
        "no inputs",
    ),
    "concatenation of scalars": (
        one("CONCATENATION", (), (2,), ConcatenationOptions(0, 0), inputs=2),
        "() within (2,)",
    ),
    "softmax by no number": (
        one("SOFTMAX", (1, 4), (1, 4), SoftmaxOptions(NAN), kinds=(KIND, SOFT)),
        "beta nan",
    ),
    "mean along an axis outside": (
        one("MEAN", (1, 3, 4), (3, 4), ReducerOptions(False), ([9],)),
        "axis 9 of 3 dimensions",
    ),
    "a zero point outside its type": (
        one("ADD", (1, 4), (1, 4), AddOptions(0, False), inputs=2, kinds=(FAR, KIND)),
        "zero point 5000",
    ),
    "a sum larger than its terms": (
        one("ADD", (1, 4), (3, 4), AddOptions(0, False), inputs=2),
        "(1, 4) and (1, 4) become (3, 4)",
    ),
    "a product larger than its factors": (
        one("MUL", (1, 4), (3, 4), MulOptions(0), inputs=2),
        "(1, 4) and (1, 4) become (3, 4)",
    ),
    "a product's scales": (scaled("MUL", 2.0**30, 1, MulOptions(0), 2), "2^30 or more"),
    "a conversion's scales": (scaled("QUANTIZE", 2.0**60, 1, None, 1), "2^30 or more"),
    "a slope's scale": (scaled("LEAKY_RELU", 1, 1, LeakyReluOptions(3e38), 1), "2^30 or more"),
    "a convolution's scales": (conv_of_scale(2.0**40), "2^30 or more"),
    "a convolution's first scale beyond": (conv_of_scale(2.0**30), "2^30 or more"),
}


@pytest.mark.parametrize(("model", "why"), CASES.values(), ids=CASES.keys())
def test_what_contradicts_itself_is_refused(model: Model, why: str) -> None:
    reason = refusal(model)
    assert why in reason
    assert reason.startswith(f"operator 0 ({model.operators[0].name}): ")
    assert "malformed" not in reason


def svdf(features: tuple[int, ...], times: tuple[int, ...], biases: int = 4) -> Model:
    model = Model()
    numbers = [
        model.input(T((1, 4), *KIND)),
        model.add(T(features, "int8", 0.1, 0, np.ones(features, np.int8))),
        model.add(T(times, "int16", 0.1, 0, np.ones(times, np.int16))),
        model.add(T((biases,), "int32", 0.1, 0, np.ones(biases, np.int32))),
        model.add(T((1, 8), "int16", 0.1, 0, variable=True)),
    ]
    model.outputs.append(model.op("SVDF", numbers, T((1, 4), *KIND), SVDFOptions(1, 0)))
    return model


def test_svdf_with_weights_or_biases_of_another_size_is_refused() -> None:
    lower(read_model(svdf((4, 4), (4, 2)).to_bytes()))
    assert "weights of shape (4,) and (4, 2)" in refusal(svdf((4,), (4, 2)))
    assert "weights of shape (4, 4) and (4,)" in refusal(svdf((4, 4), (4,)))
    assert "2 biases for 4 units" in refusal(svdf((4, 4), (4, 2), 2))


def test_variables_are_no_outputs() -> None:
    model = svdf((4, 4), (4, 2))
    model.outputs.append(4)
    assert refusal(model) == "tensor 't4' is a variable and an input or output of the model"


def lstm(cell_scale: float, states: int = 3) -> Model:
    """Three units over three steps of four inputs; `states` are what the hidden state holds."""
    model = Model()
    rng = np.random.default_rng(3)
    numbers = [model.input(T((3, 1, 4), "int8", 0.02, 0))]
    for depth in (4,) * 4 + (3,) * 4:
        data = rng.integers(-127, 128, (3, depth)).astype(np.int8)
        numbers.append(model.add(T((3, depth), "int8", 0.01, 0, data)))
    numbers += [-1] * 3
    numbers += [model.add(T((3,), "int32", 2e-4, 0, np.full(3, 9000))) for _ in range(4)]
    numbers += [-1] * 2
    numbers.append(model.add(T((1, states), "int8", 1 / 128, 0, variable=True)))
    numbers.append(model.add(T((1, 3), "int16", cell_scale, 0, variable=True)))
    numbers += [-1] * 4
    options = UnidirectionalSequenceLSTMOptions(4, 0.0, 0.0, True)
    target = T((3, 1, 3), "int8", 1 / 128, 0)
    model.outputs.append(model.op("UNIDIRECTIONAL_SEQUENCE_LSTM", numbers, target, options))
    return model


def test_lstm_with_a_cell_that_overflows_is_refused(tmp_path: Path) -> None:
    """The tanh's argument is 3 × 2^12 of the cell's: at a scale of 8 it leaves int32."""
    data = lstm(2.0**2).to_bytes()
    given = [np.full((3, 1, 4), 127, np.int8)]
    assert_equal(compiled(data, tmp_path).run(given), Oracle(data).run(given, 1))
    assert "cell scale 8.0" in refusal(lstm(2.0**3))


def test_lstm_with_states_of_another_size_is_refused() -> None:
    assert "gates of [3, 3, 3, 3] units with states" in refusal(lstm(2.0**-11, states=2))


@pytest.mark.parametrize(
    "error", [ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError]
)
def test_what_no_check_foresees_is_a_refusal_too(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(context: Context) -> None:
        raise error("oh")

    monkeypatch.setitem(LOWERINGS, "RELU", stumble)
    told = refusal(one("RELU", (1, 4), (1, 4)))
    assert told.startswith(f"operator 0 (RELU): malformed ({error.__name__}: ")


def test_an_assignment_of_nothing_is_refused() -> None:
    model = one("RELU", (1, 4), (1, 4))
    handle = model.add(T((), "resource"))
    model.operators.append(Op("VAR_HANDLE", (), (handle,), VarHandleOptions("", "held")))
    model.operators.append(Op("ASSIGN_VARIABLE", (handle,), ()))
    assert refusal(model) == "operator 2 (ASSIGN_VARIABLE): 1 inputs and 0 outputs"


def biased(bias: int, zero: int) -> Model:
    """One weight of 1 and a scale ratio of 1 - 2^-28: what is requantised is almost the bias."""
    model = Model()
    source = model.input(T((1, 1, 1, 1), "int8", 1 + 512 * 2.0**-23, 0))
    data = np.ones((1, 1, 1, 1), np.int8)
    weights = model.add(T((1, 1, 1, 1), "int8", 1 - 1024 * 2.0**-24, 0, data))
    biases = model.add(T((1,), "int32", 1.0, 0, np.array([bias], np.int32)))
    options = Conv2DOptions(0, 1, 1, 1, 1, 0)
    target = T((1, 1, 1, 1), "int8", 1.0, zero)
    model.outputs.append(model.op("CONV_2D", (source, weights, biases), target, options))
    return model


def requantised() -> Model:
    model = Model()
    source = model.input(T((4,), "int32", 1 - 2.0**-24, 0))
    model.outputs.append(model.op("QUANTIZE", (source,), T((4,), "int16", 1.0, 300)))
    return model


RISCV = CapabilityClass(core=Core.RV32IMAC)  # its specialised kernels are plain C
_EXTREME = [-(2**31), -(2**31) + 1, 2**31 - 1, 2**31 - 2]


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (biased(2**31 - 1, 127), np.zeros((1, 1, 1, 1), np.int8)),
        (biased(-(2**31), -128), np.zeros((1, 1, 1, 1), np.int8)),
        (requantised(), np.array(_EXTREME, np.int32)),
    ],
    ids=["bias at the top", "bias at the bottom", "int32 input"],
)
@pytest.mark.parametrize("options", [{}, {"specialise": "off"}], ids=["specialised", "plain"])
def test_a_zero_point_on_the_largest_values_overflows_nowhere(
    model: Model,
    given: np.ndarray,
    options: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    flags = ("-O1", "-fsanitize=undefined")
    data = model.to_bytes()
    module = Module(build(data, "m_run", RISCV, parse(options)), tmp_path, flags)
    got = module.run([given])
    assert "runtime error" not in capfd.readouterr().err
    assert_equal(got, Oracle(data).run([given], 1))
