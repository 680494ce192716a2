"""The plugin interface: what it says of itself, what it refuses and how."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.running import HOST
from tests.unit.cmsis_nn.schema import Model, T
from tinymlaas.contract.compiler import Compiled, CompileTask, Unsupported
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import InvalidModel, UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn import plugin
from workers.compilers.cmsis_nn.options import AddOptions, Conv2DOptions, Pool2DOptions
from workers.compilers.cmsis_nn.reader import read_model
from workers.compilers.registry import discover
from workers.models.summary import summarise

KIND = ("int8", 0.1, 3)


def task_of(data: bytes, folder: Path, **changes) -> Path:
    """Write ``task.json`` and the model; return the former's path."""
    summary = summarise(data, ModelFormat.TFLITE)
    task = CompileTask(
        name="net",
        model="model.tflite",
        format=ModelFormat.TFLITE,
        summary=summary,
        target=HOST,
        kernels=changes.pop("kernels", "portable"),
        **changes,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(data)
    (folder / "task.json").write_text(task.model_dump_json())
    return folder / "task.json"


def small() -> Model:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    last = model.op("ADD", (source, source), T((1, 4, 4, 2), *KIND), AddOptions(1, False))
    model.outputs.append(model.op("LOGISTIC", (last,), T((1, 4, 4, 2), "int8", 1 / 256, -128)))
    return model


def test_describe_names_operators_cores_and_kernels() -> None:
    described = plugin.describe()
    int8 = next(s for s in described.operators if s.dtype is DType.INT8)
    assert {"CONV_2D", "SOFTMAX", "ADD"} <= set(int8.operators)
    assert Core.CORTEX_M0PLUS in described.cores
    assert described.kernels == ("portable", "arm")
    assert described.options["dead-channels"] == ("on", "off")


def test_is_found_and_compiles_in_a_process_of_its_own(tmp_path: Path) -> None:
    data = small().to_bytes()
    folder = task_of(data, tmp_path / "in").parent
    compiler = discover().get("cmsis-nn")
    task = CompileTask.model_validate_json((folder / "task.json").read_bytes())
    assert compiler.supports(task, data).ok
    compiled = compiler.compile(task, data).compiled
    assert compiled.entry == "net_run"
    assert compiled.arena.size == 32
    assert [t.offset for t in (*compiled.inputs, *compiled.outputs)] == [0, 0]


def test_same_task_same_bytes(tmp_path: Path) -> None:
    written = []
    for run in ("one", "other"):
        out = tmp_path / run / "out"
        path = task_of(small().to_bytes(), tmp_path / run / "in")
        out.mkdir()
        plugin.compile(path, out)
        written.append({p.name: p.read_bytes() for p in out.iterdir()})
    assert written[0] == written[1]


def test_kernels_of_layers_that_are_not_there_are_not_either(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    task = task_of(small().to_bytes(), tmp_path / "in", options={"specialise": "off"})
    plugin.compile(task, tmp_path / "out")
    text = (tmp_path / "out" / "model.c").read_text()
    assert "arm_elementwise_add_s8" in text
    assert "arm_convolve" not in text
    assert text.count("nn_requantize(int32_t") == 1


def test_every_refused_operator_is_named_with_its_index(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    one = model.op("FLOOR", (source,), T((1, 4, 4, 2), *KIND))
    two = model.op("ADD", (one, one), T((1, 4, 4, 2), *KIND), AddOptions(4, False))
    options = Pool2DOptions(1, 1, 1, 2, 2, 0)
    three = model.op("AVERAGE_POOL_2D", (two,), T((1, 4, 4, 2), *KIND), options)
    model.outputs.append(model.op("TANH", (three,), T((1, 4, 4, 2), *KIND)))
    (tmp_path / "out").mkdir()
    answer = plugin.compile(task_of(model.to_bytes(), tmp_path / "in"), tmp_path / "out")
    assert isinstance(answer, Unsupported)
    assert answer.reasons == (
        "operator 0 (FLOOR): not supported",
        "operator 1 (ADD): fused activation TANH is not supported",
        "operator 2 (AVERAGE_POOL_2D): output of 4 where the window gives 3",
        "operator 3 (TANH): output zero point 3",
    )
    written = json.loads((tmp_path / "out" / "unsupported.json").read_text())
    assert written["reasons"] == list(answer.reasons)
    assert not (tmp_path / "out" / "compiled.json").exists()


def test_supports_answers_from_the_summary_alone(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4), *KIND))
    model.outputs.append(model.op("FLOOR", (source,), T((1, 4), *KIND)))
    path = task_of(model.to_bytes(), tmp_path)
    task = CompileTask.model_validate_json(path.read_bytes())
    assert plugin.supports(task).reasons == ("operator 0 (FLOOR, int8) is not supported",)
    onnx = task.model_copy(update={"format": ModelFormat.ONNX})
    assert plugin.supports(onnx).reasons == ("cmsis-nn takes TFLite, not onnx",)


def test_supports_tells_operators_in_the_models_order(tmp_path: Path) -> None:
    model = Model()
    last = model.input(T((1, 4), *KIND))
    for name in ("SIN", "FLOOR", "ABS", "FLOOR"):
        last = model.op(name, (last,), T((1, 4), *KIND))
    model.outputs.append(last)
    path = task_of(model.to_bytes(), tmp_path)
    task = CompileTask.model_validate_json(path.read_bytes())
    backwards = task.summary.model_copy(update={"operators": task.summary.operators[::-1]})
    for summary in (task.summary, backwards):
        reasons = plugin.supports(task.model_copy(update={"summary": summary})).reasons
        assert [reason.split(", ")[0] for reason in reasons] == [
            "operator 0 (SIN",
            "operators 1",
            "operator 2 (ABS",
        ]


def test_float_models_are_refused_by_operator_and_type(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4), "float32"))
    model.outputs.append(
        model.op("ADD", (source, source), T((1, 4), "float32"), AddOptions(0, False))
    )
    path = task_of(model.to_bytes(), tmp_path / "in")
    task = CompileTask.model_validate_json(path.read_bytes())
    assert plugin.supports(task).reasons == ("operator 0 (ADD, float32) is not supported",)
    (tmp_path / "out").mkdir()
    answer = plugin.compile(path, tmp_path / "out")
    assert isinstance(answer, Unsupported)
    assert "float32, not int8" in answer.reasons[0]


def test_models_of_int16_activations_are_refused_operator_by_operator(tmp_path: Path) -> None:
    """int16x8: moves and conversions are there, arithmetic is not."""
    wide = ("int16", 0.001, 0)
    model = Model()
    source = model.input(T((1, 4, 4, 2), *wide))
    weights = model.add(T((3, 1, 1, 2), "int8", 0.01, 0, np.ones((3, 1, 1, 2), np.int8)))
    options = Conv2DOptions(0, 1, 1, 1, 1, 0)
    hidden = model.op("CONV_2D", (source, weights), T((1, 4, 4, 3), *wide), options)
    shape = model.add(T((2,), "int32", data=np.array([1, 48], np.int32)))
    flat = model.op("RESHAPE", (hidden, shape), T((1, 48), *wide))
    model.outputs.append(model.op("LOGISTIC", (flat,), T((1, 48), "int16", 2**-15, 0)))
    path = task_of(model.to_bytes(), tmp_path / "in")
    task = CompileTask.model_validate_json(path.read_bytes())
    assert plugin.supports(task).reasons == (
        "operator 0 (CONV_2D, int16) is not supported",
        "operator 2 (LOGISTIC, int16) is not supported",
    )
    (tmp_path / "out").mkdir()
    answer = plugin.compile(path, tmp_path / "out")
    assert isinstance(answer, Unsupported)
    assert answer.reasons == (
        "operator 0 (CONV_2D): tensor 't0' is int16, not int8",
        "operator 2 (LOGISTIC): tensor 't4' is int16, not int8",
    )


def test_arm_kernels_without_their_sources_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TINYMLAAS_CMSIS_NN_ROOT", raising=False)
    path = task_of(small().to_bytes(), tmp_path / "in", kernels="arm")
    task = CompileTask.model_validate_json(path.read_bytes())
    reason = "kernels arm are not installed: set TINYMLAAS_CMSIS_NN_ROOT to a CMSIS-NN tree"
    assert plugin.supports(task).reasons == (reason,)
    (tmp_path / "out").mkdir()
    answer = plugin.compile(path, tmp_path / "out")
    assert isinstance(answer, Unsupported)
    assert answer.reasons == (reason,)


def test_unknown_kernels_are_refused(tmp_path: Path) -> None:
    task = CompileTask.model_validate_json(
        task_of(small().to_bytes(), tmp_path, kernels="other").read_bytes()
    )
    assert not plugin.supports(task).ok


@pytest.mark.parametrize("cut", [0, 10, 60, 200])
def test_damaged_files_are_told_as_such(cut: int) -> None:
    data = small().to_bytes()
    with pytest.raises((InvalidModel, UnsupportedModel)):
        read_model(data[:cut])


def test_weights_of_the_wrong_size_are_told() -> None:
    model = small()
    content = np.arange(32, dtype=np.int8)
    model.tensors[0] = T((1, 4, 4, 2), *KIND, data=content.reshape(1, 4, 4, 2))
    data = bytearray(model.to_bytes())
    assert np.array_equal(read_model(bytes(data)).main.tensors[0].data.reshape(-1), content)
    length = data.index(content.tobytes()) - 4  # a vector begins with how long it is
    data[length : length + 4] = (31).to_bytes(4, "little")
    with pytest.raises(InvalidModel, match="damaged: cannot reshape array of size 31"):
        read_model(bytes(data))


def test_a_model_of_constants_alone_compiles(tmp_path: Path) -> None:
    model = small()
    model.tensors[0] = T((1, 4, 4, 2), *KIND, data=np.zeros((1, 4, 4, 2), np.int8))
    model.inputs.clear()
    (tmp_path / "out").mkdir()
    answer = plugin.compile(task_of(model.to_bytes(), tmp_path / "in"), tmp_path / "out")
    assert isinstance(answer, Compiled)
    assert answer.inputs == ()
