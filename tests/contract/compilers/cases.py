"""Small ONNX models and tasks for the compiler contract, and a way to run what comes out."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from tinymlaas.contract.compiler import CompileTask
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.compilers.plugin import Output
from workers.sandbox import files

SHAPE = (2, 3, 4)


def model_of(operators: list[str], shape: tuple[int, ...] = SHAPE) -> bytes:
    """Return an ONNX model that applies `operators` in turn; two-input ones also take `b`."""
    from onnx import TensorProto, helper

    nodes, last = [], "a"
    for index, operator in enumerate(operators):
        inputs = [last, "b"] if operator in ("Add", "Mul", "Sub") else [last]
        last = "y" if index == len(operators) - 1 else f"t{index}"
        nodes.append(helper.make_node(operator, inputs, [last]))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("a", "b")]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", values, [result])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def task_of(operators: list[str], core: Core = Core.HOST, dtype: DType = DType.FLOAT32):
    """Return the task for `model_of(operators)`."""
    spec = {name: TensorSpec(name=name, shape=SHAPE, dtype=dtype) for name in ("a", "b", "y")}
    data = model_of(operators)
    summary = ModelSummary(
        digest=sha256(data),
        format=ModelFormat.ONNX,
        opset=17,
        inputs=(spec["a"], spec["b"]),
        outputs=(spec["y"],),
        operators=tuple(OperatorUse(name=o, dtype=dtype, indices=(0,)) for o in operators),
        dtype=dtype,
        macs=0,
        weight_bytes=0,
        parameters=0,
        estimated_flash_bytes=0,
        estimated_ram_bytes=0,
    )
    task = CompileTask(
        name="tiny",
        model="model.onnx",
        format=ModelFormat.ONNX,
        summary=summary,
        target=CapabilityClass(core=core),
    )
    return task, data


def run_on_host(folder: Path, made: Output, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Build what the compiler wrote with the host's gcc in `folder` and run its entry once."""
    compiled, out, library = made.compiled, folder / "out", folder / "lib.so"
    files.write(out, made.files)
    sources = [str(out / s) for s in compiled.sources] + [str(out / o) for o in compiled.objects]
    includes = [f"-I{out / d}" for d in compiled.include_dirs]
    command = ["gcc", "-std=c11", "-O1", "-shared", "-fPIC", *compiled.cflags, *includes]
    subprocess.run([*command, *sources, "-lm", "-o", str(library)], check=True)
    raw = np.zeros(compiled.arena.size + 64, np.uint8)
    start = -raw.ctypes.data % compiled.arena.alignment
    arena = raw[start : start + compiled.arena.size]
    loaded = ctypes.CDLL(str(library))
    pointer = ctypes.c_void_p(arena.ctypes.data)
    for tensor, value in zip(compiled.inputs, inputs, strict=True):
        arena[tensor.offset : tensor.offset + value.nbytes] = np.frombuffer(value.tobytes(), "u1")
    if compiled.init:
        assert getattr(loaded, compiled.init)(pointer) == 0
    assert getattr(loaded, compiled.entry)(pointer) == 0
    return [
        np.frombuffer(arena[t.offset : t.offset + t.spec.nbytes].tobytes(), t.spec.dtype).reshape(
            t.spec.shape
        )
        for t in compiled.outputs
    ]
