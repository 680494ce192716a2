"""The plugin interface as a program and as functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import helper

from tests.integration.tvm.onnx_models import build
from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Support,
    Unsupported,
)
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.compilers.tvm import plugin

PROGRAM = [sys.executable, "-m", "workers.compilers.tvm"]
RELU = build([helper.make_node("Relu", ["x"], ["y"])], {"x": (2, 3)}, ["y"])


def write_task(folder, model=RELU, operator="Relu", outputs=(2, 3), **changes):
    specs = {
        name: TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)
        for name, shape in (("x", (2, 3)), ("y", outputs))
    }
    summary = ModelSummary(
        digest=sha256(model),
        format=ModelFormat.ONNX,
        opset=17,
        inputs=(specs["x"],),
        outputs=(specs["y"],),
        operators=(OperatorUse(name=operator, dtype=DType.FLOAT32, indices=(0,)),),
        dtype=DType.FLOAT32,
        macs=0,
        weight_bytes=0,
        parameters=0,
        estimated_flash_bytes=0,
        estimated_ram_bytes=0,
    )
    task = CompileTask(
        name="relu",
        model="model.onnx",
        format=ModelFormat.ONNX,
        summary=summary,
        target=CapabilityClass(core=Core.CORTEX_M4),
    ).model_copy(update=changes)
    (folder / "model.onnx").write_bytes(model)
    (folder / "task.json").write_text(task.model_dump_json())
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return task, folder / "task.json", out


def run(*arguments, **environment):
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_describe():
    done = run("describe")
    described = CompilerDescription.model_validate_json(done.stdout)
    assert (described.name, done.returncode, done.stderr) == ("tvm", 0, "")
    assert set(described.cores) == set(Core)
    assert described.options["objective"][0] == "latency"


def test_supports(tmp_path):
    _, task, _ = write_task(tmp_path)
    assert Support.model_validate_json(run("supports", task).stdout).ok
    _, task, _ = write_task(tmp_path, operator="Det")
    answer = Support.model_validate_json(run("supports", task).stdout)
    assert answer.reasons == ("Det: this operator is not supported",)


def test_answering_imports_neither_tvm_nor_onnx():
    program = (
        "import sys; from workers.compilers.tvm import plugin; plugin.describe();"
        "print([m for m in ('tvm', 'onnx', 'tflite', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_compile_writes_what_it_names(tmp_path):
    _, task, out = write_task(tmp_path)
    done = run("compile", task, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    compiled = Compiled.model_validate_json((out / "compiled.json").read_bytes())
    assert compiled.entry == "relu_run"
    assert {path.name for path in out.iterdir()} == {"compiled.json", *compiled.sources}
    for tensor in (*compiled.inputs, *compiled.outputs):
        assert tensor.offset % compiled.arena.alignment == 0
        assert tensor.offset + tensor.spec.nbytes <= compiled.arena.size
    text = (out / compiled.sources[0]).read_text()
    assert "int32_t relu_run(uint8_t *arena)" in text
    assert "tvm" not in text.lower()
    assert str(tmp_path) not in text


def test_unsupported_is_said_with_status_3(tmp_path):
    model = build([helper.make_node("NonZero", ["x"], ["y"])], {"x": (2, 3)}, ["y"])
    _, task, out = write_task(tmp_path, model, "NonZero")
    assert run("compile", task, out).returncode == 3
    refused = Unsupported.model_validate_json((out / "unsupported.json").read_bytes())
    assert refused.reasons[0].startswith("NonZero")
    assert [path.name for path in out.iterdir()] == ["unsupported.json"]


def test_wrong_use_is_status_2():
    done = run("compile")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage:")


def test_a_task_that_does_not_describe_its_model_is_refused(tmp_path):
    _, task, out = write_task(tmp_path, outputs=(2, 4))
    assert run("compile", task, out).returncode == 3
    assert "tensor y" in (out / "unsupported.json").read_text()


@pytest.mark.parametrize("core", [Core.CORTEX_M4, Core.MSP430, Core.AVR])
def test_the_same_task_gives_the_same_bytes(core, tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    model = build(nodes, {"x": (2, 3)}, ["y"], {"w": weights})
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        target = CapabilityClass(core=core)
        _, task, out = write_task(folder, model, "MatMul", (2, 5), target=target)
        assert run("compile", task, out, PYTHONHASHSEED=seed).returncode == 0
        found.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert found[0] == found[1]


def test_options_choose_flags(tmp_path):
    for value, flag in (("latency", "-O2"), ("flash", "-Os")):
        _, task, out = write_task(tmp_path, options={"objective": value})
        answer = plugin.compile(task, out)
        assert isinstance(answer, Compiled)
        assert flag in answer.cflags
        assert answer.options == {"objective": value}
        assert json.loads((out / "compiled.json").read_text())["options"] == {"objective": value}
