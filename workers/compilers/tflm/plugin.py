"""The compiler plugin interface for ``tflm``: describe, supports, compile."""

from __future__ import annotations

from pathlib import Path

from tinymlaas.contract.compiler import (
    ArenaPlan,
    ArenaTensor,
    Compiled,
    CompilerDescription,
    CompileTask,
    OperatorSupport,
    Support,
    Unlinked,
    Unsupported,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.compilers.tflm import tree
from workers.compilers.tflm.emit import Module, cmake, source
from workers.compilers.tflm.resolver import METHODS
from workers.models.tflite_model import read_tflite
from workers.verify import tflm_host

NAME = "tflm"
TREE_VARIABLE = tree.VARIABLE
_ALIGNMENT = 16
# MicroInterpreter takes below 300 bytes on a 32-bit core, a resolver 48 an operator; twice that
# for hosts. The module asserts it when it is compiled.
_INTERPRETER_BYTES = 640
_OPERATOR_BYTES = 96
_DTYPES = (DType.INT8, DType.INT16, DType.FLOAT32)
# Cores for which TFLM has no port are left out.
_CORES = tuple(core for core in Core if core not in (Core.AVR, Core.MSP430))
_CFLAGS = ("-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_STRIP_ERROR_STRINGS", "-DNDEBUG")
_UNLINKED = (
    f"not compiled or linked: a TFLM source tree is needed ({tree.VARIABLE} names none); "
    "numbers and arena are those of the TFLM interpreter on the host"
)


def describe() -> CompilerDescription:
    """Return what this compiler is and takes; the tree, if there is one, is in the version."""
    root = tree.configured()
    suffix = f"+tree.{tree.digest(root)[:12]}" if root else ""
    operators = tuple(sorted(METHODS))
    return CompilerDescription(
        name=NAME,
        version=tflm_host.name().rpartition(" ")[2] + suffix,
        cores=_CORES,
        operators=tuple(
            OperatorSupport(
                format=ModelFormat.TFLITE,
                dtype=dtype,
                operators=operators,
                exact=dtype is not DType.FLOAT32,
            )
            for dtype in _DTYPES
        ),
        kernels=("reference",),
    )


def supports(task: CompileTask) -> Support:
    """Return why `task` cannot be compiled, as far as its summary tells."""
    if task.format is not ModelFormat.TFLITE:
        return Support(reasons=(f"{NAME} takes TFLite, not {task.format.value}",))
    if task.target.core not in _CORES:
        return Support(reasons=(f"TensorFlow Lite Micro has no port to {task.target.core.value}",))
    unknown = [use for use in task.summary.operators if use.name not in METHODS]
    unknown.sort(key=lambda use: use.indices[0])
    return Support(reasons=tuple(use.unsupported for use in unknown))


def compile(task_path: Path, out_dir: Path) -> Compiled | Unsupported:
    """Compile the task in file `task_path` into folder `out_dir`.

    Writes ``compiled.json`` and the files it names, or ``unsupported.json``; returns what it wrote.
    """
    task = CompileTask.model_validate_json(task_path.read_bytes())
    data = (task_path.parent / task.model).read_bytes()
    try:
        module = _module(task, data)
    except UnsupportedModel as error:
        refused = Unsupported(reasons=error.reasons)
        (out_dir / "unsupported.json").write_text(refused.model_dump_json(indent=1) + "\n")
        return refused
    (out_dir / "model.cc").write_text(source(module))
    (out_dir / "CMakeLists.txt").write_text(cmake(task.name))
    answer = _compiled(task, module, out_dir)
    (out_dir / "compiled.json").write_text(answer.model_dump_json(indent=1) + "\n")
    return answer


def _module(task: CompileTask, data: bytes) -> Module:
    methods = _methods(data)
    inputs, end = _placed(task.summary.inputs, 0)
    outputs, end = _placed(task.summary.outputs, end)
    runtime = _aligned(_INTERPRETER_BYTES + _OPERATOR_BYTES * len(methods))
    return Module(
        name=task.name,
        model=data,
        methods=methods,
        inputs=inputs,
        outputs=outputs,
        variables=tflm_host.resource_variables(data),
        runtime_offset=end,
        tensors_offset=end + runtime,
        tensor_arena=tflm_host.smallest_arena(data),
    )


def _methods(data: bytes) -> list[str]:
    """Return the resolver's methods for the operators of all subgraphs, sorted.

    Raises:
        UnsupportedModel: TFLM has none for an operator; names each with its place.
    """
    used = [
        (operator.name, graph, index)
        for graph, each in enumerate(read_tflite(data).graphs)
        for index, operator in enumerate(each.operators)
    ]
    unknown = [
        f"operator {index} of subgraph {graph} ({name}) is not supported"
        for name, graph, index in used
        if name not in METHODS
    ]
    if unknown:
        raise UnsupportedModel(*unknown)
    return sorted({METHODS[name] for name, _, _ in used})


def _compiled(task: CompileTask, module: Module, out: Path) -> Compiled:
    root = tree.configured()
    sources, includes = tree.copy_in(root, out) if root else ((), ())
    return Compiled(
        compiler=NAME,
        version=describe().version,
        entry=f"{task.name}_run",
        init=f"{task.name}_start",
        inputs=tuple(module.inputs),
        outputs=tuple(module.outputs),
        arena=ArenaPlan(size=module.tensors_offset + module.tensor_arena, alignment=_ALIGNMENT),
        sources=("model.cc", *sources),
        extras=("CMakeLists.txt",),
        include_dirs=includes,
        cflags=_CFLAGS,
        weight_bytes=len(module.model),
        unlinked=None if root else _unlinked(module),
    )


def _unlinked(module: Module) -> Unlinked:
    return Unlinked(reason=_UNLINKED, interpreter="tflite-micro", arena=module.tensor_arena)


def _placed(specs: tuple[TensorSpec, ...], start: int) -> tuple[tuple[ArenaTensor, ...], int]:
    """Return `specs` one after the other from offset `start`, and the end."""
    tensors = []
    for spec in specs:
        tensors.append(ArenaTensor(spec=spec, offset=start))
        start = _aligned(start + spec.nbytes)
    return tuple(tensors), start


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
