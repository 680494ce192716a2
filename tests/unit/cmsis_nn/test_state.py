"""What a model remembers from run to run: variables, SVDF and LSTM, against TFLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.unit.cmsis_nn.draws import scales, seeds, weights, zero_points
from tests.unit.cmsis_nn.random_cases import Case, amounts, check
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, Op, T
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.lower import OPERATORS, lower
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    CallOnceOptions,
    ConcatenationOptions,
    StridedSliceOptions,
    SVDFOptions,
    UnidirectionalSequenceLSTMOptions,
    VarHandleOptions,
)
from workers.compilers.cmsis_nn.reader import read_model
from workers.models.limits import ModelLimits
from workers.models.summary import summarise
from workers.models.tflite_checks import check_tflite

KIND = ("int8", 0.05, -7)
_RUNS = 8


def svdf(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    batch, depth, rank = draw(st.integers(1, 2)), draw(st.integers(1, 10)), draw(st.integers(1, 3))
    units, memory = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    filters = units * rank
    kind = draw(st.sampled_from(["int8", "int16"]))
    one, mid, out = draw(scales), 2.0 ** draw(st.floats(-12, -6)), draw(scales)
    natural = mid / one / (40 * depth**0.5)
    feature_scale = np.float32(natural * 2.0 ** draw(st.floats(-3, 3)))
    time_scale = np.float32(out / mid / (60 * (rank * memory) ** 0.5))
    if kind == "int16":
        feature_scale, time_scale = feature_scale * np.float32(100), time_scale / np.float32(9e4)
    info = np.iinfo(kind)
    times = rng.integers(info.min // 2, info.max // 2, (filters, memory))
    source = model.input(T((batch, depth), "int8", one, draw(zero_points)))
    inputs = (
        source,
        model.add(T((filters, depth), "int8", feature_scale, 0, weights(rng, (filters, depth)))),
        model.add(T((filters, memory), kind, time_scale, 0, times)),
        model.add(
            T(
                (units,),
                "int32",
                np.float32(np.float32(mid) * time_scale),
                0,
                rng.integers(-2000, 2000, units),
            )
        ),
        model.add(T((batch, filters * memory), kind, mid, 0, variable=True)),
    )
    relu = draw(st.booleans())
    target = T((batch, units), "int8", out, -128 if relu else draw(zero_points))
    model.outputs.append(model.op("SVDF", inputs, target, SVDFOptions(rank, int(relu))))


def lstm(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    major = draw(st.booleans())
    batch = draw(st.integers(1, 3)) if major else 1
    steps, depth, size = (draw(st.integers(1, n)) for n in (4, 8, 7))
    one, hidden = 2.0 ** draw(st.floats(-8, -3)), 2.0 ** draw(st.floats(-8.5, -6.5))
    shape = (steps, batch) if major else (batch, steps)
    zero, hidden_zero = draw(zero_points), draw(zero_points)
    cell_scale = 2.0 ** draw(st.integers(-12, -8))
    kernel_scales = [2.0 ** draw(st.floats(-10, -6)) for _ in range(8)]
    numbers = [model.input(T((*shape, depth), "int8", one, zero))]
    for k, scale in enumerate(kernel_scales):
        part = (size, depth if k < 4 else size)
        numbers.append(model.add(T(part, "int8", scale, 0, weights(rng, part))))
    numbers += [-1] * 3
    for k in range(4):
        product = np.float32(np.float32(one) * np.float32(kernel_scales[k]))
        values = rng.integers(-5000, 5000, size)
        numbers.append(model.add(T((size,), "int32", product, 0, values)))
    numbers += [-1] * 2
    numbers.append(model.add(T((batch, size), "int8", hidden, hidden_zero, variable=True)))
    numbers.append(model.add(T((batch, size), "int16", cell_scale, 0, variable=True)))
    numbers += [-1] * 4
    clip = draw(st.sampled_from([0.0, 0.0, 1.0, 10.0]))
    options = UnidirectionalSequenceLSTMOptions(4, clip, 0.0, major)
    target = T((*shape, size), "int8", hidden, hidden_zero)
    model.outputs.append(model.op("UNIDIRECTIONAL_SEQUENCE_LSTM", numbers, target, options))


def variable(draw: st.DrawFn, model: Model) -> None:
    """A first-in-first-out window: read, append the input, drop the oldest, keep."""
    kind = ("int8", draw(scales), draw(zero_points))
    width, length, new = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    source = model.input(T((new, width), *kind))
    handle = _variable(model, "window")
    window = model.op("READ_VARIABLE", (handle,), T((length, width), *kind))
    shape = (length + new, width)
    options = ConcatenationOptions(0, 0)
    whole = model.op("CONCATENATION", (window, source), T(shape, *kind), options)
    bounds = [
        model.add(T((2,), "int32", data=np.array(values, np.int32)))
        for values in ([new, 0], shape, [1, 1])
    ]
    cut = StridedSliceOptions(0, 0, 0, 0, 0, False)
    rest = model.op("STRIDED_SLICE", (whole, *bounds), T((length, width), *kind), cut)
    _assign(model, handle, rest)
    model.outputs += [whole, rest]
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(seeds))
        content = rng.integers(-128, 128, (length, width)).astype(np.int8)
        model.operators.insert(0, Op("CALL_ONCE", (), (), CallOnceOptions(1)))
        model.others.append(initial(content, kind))


@amounts
@pytest.mark.parametrize("case", [svdf, lstm, variable], ids=lambda case: case.__name__)
def test_random_cases_equal_tflm(case: Case, wanted: int, tmp_path: Path) -> None:
    check(case, tmp_path, wanted)


def _variable(model: Model, name: str) -> int:
    handle = model.add(T((), "resource"))
    model.operators.append(Op("VAR_HANDLE", (), (handle,), VarHandleOptions("", name)))
    return handle


def _assign(model: Model, handle: int, value: int) -> None:
    model.operators.append(Op("ASSIGN_VARIABLE", (handle, value), ()))


def streaming() -> Model:
    """A window over the last four inputs: read, append, drop the oldest, keep."""
    model = Model()
    source = model.input(T((1, 2), *KIND))
    handle = _variable(model, "window")
    window = model.op("READ_VARIABLE", (handle,), T((1, 6), *KIND))
    options = ConcatenationOptions(1, 0)
    whole = model.op("CONCATENATION", (window, source), T((1, 8), *KIND), options)
    bounds = [
        model.add(T((2,), "int32", data=np.array(values, np.int32)))
        for values in ([0, 2], [1, 8], [1, 1])
    ]
    cut = StridedSliceOptions(0, 0, 0, 0, 0, False)
    rest = model.op("STRIDED_SLICE", (whole, *bounds), T((1, 6), *KIND), cut)
    _assign(model, handle, rest)
    model.outputs.append(
        model.op("ADD", (whole, whole), T((1, 8), "int8", 0.1, 3), AddOptions(0, False))
    )
    return model


def initial(content: np.ndarray, kind: tuple = KIND) -> Model:
    """The subgraph that fills the window."""
    model = Model()
    handle = _variable(model, "window")
    _assign(model, handle, model.add(T(content.shape, *kind, data=content)))
    return model


def run_both(data: bytes, folder: Path, options: dict[str, str]) -> None:
    oracle, module = Oracle(data), compiled(data, folder, options)
    assert module.built.init == "m_setup"
    rng = np.random.default_rng(1)
    for _ in range(_RUNS):
        given = [rng.integers(-128, 128, (1, 2)).astype(np.int8)]
        assert_equal(module.run(given), oracle.run(given, 1))


@pytest.mark.parametrize("options", [{}, ALL_OFF], ids=["optimised", "plain"])
def test_variables_start_at_zero_and_last(options: dict[str, str], tmp_path: Path) -> None:
    run_both(streaming().to_bytes(), tmp_path, options)


@pytest.mark.parametrize("content", [np.arange(6), np.full(6, 9)], ids=["values", "fill"])
def test_variables_start_with_what_call_once_assigns(content: np.ndarray, tmp_path: Path) -> None:
    model = streaming()
    model.operators.insert(0, Op("CALL_ONCE", (), (), CallOnceOptions(1)))
    model.others.append(initial(content.reshape(1, 6).astype(np.int8)))
    run_both(model.to_bytes(), tmp_path, {})


def test_the_service_takes_models_with_variables() -> None:
    model = streaming()
    model.operators.insert(0, Op("CALL_ONCE", (), (), CallOnceOptions(1)))
    model.others.append(initial(np.arange(6).reshape(1, 6).astype(np.int8)))
    data = model.to_bytes()
    check_tflite(data, ModelLimits())
    summary = summarise(data, ModelFormat.TFLITE)
    used = {use.name: use.dtype for use in summary.operators}
    assert used["READ_VARIABLE"] is used["ASSIGN_VARIABLE"] is summary.dtype is DType.INT8
    assert all(name in OPERATORS[dtype] for name, dtype in used.items())


def test_variables_lie_behind_everything_else(tmp_path: Path) -> None:
    built = compiled(streaming().to_bytes(), tmp_path).built
    (offset,) = built.layout.persistent.values()
    others = [built.layout.values[n] + built.program.values[n].nbytes for n in built.layout.values]
    assert offset >= max(others)
    assert built.layout.size == offset + 6


def test_call_once_that_computes_is_refused() -> None:
    inner = Model()
    handle = _variable(inner, "window")
    one = inner.add(T((1, 6), *KIND, data=np.ones((1, 6), np.int8)))
    total = inner.op("ADD", (one, one), T((1, 6), *KIND), AddOptions(0, False))
    _assign(inner, handle, total)
    model = streaming()
    model.operators.insert(0, Op("CALL_ONCE", (), (), CallOnceOptions(1)))
    model.others.append(inner)
    with pytest.raises(UnsupportedModel, match=r"operator 0 \(CALL_ONCE\): its ADD 1"):
        lower(read_model(model.to_bytes()))


def test_a_variable_no_one_assigns_is_refused() -> None:
    model = Model()
    handle = _variable(model, "window")
    model.outputs.append(model.op("READ_VARIABLE", (handle,), T((1, 6), *KIND)))
    with pytest.raises(UnsupportedModel, match="a variable that no operator assigns"):
        lower(read_model(model.to_bytes()))
