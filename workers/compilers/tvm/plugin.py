"""The compiler plugin interface for ``tvm``: describe, supports, compile."""

from __future__ import annotations

from pathlib import Path

from tinymlaas.contract.compiler import (
    ArenaPlan,
    ArenaTensor,
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
    Unsupported,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import TensorSpec
from workers.compilers.tvm.generate import Generated, generate
from workers.compilers.tvm.operators import refusals, supported
from workers.compilers.tvm.sizes import sizes

__all__ = ["compile", "describe", "generate", "supports"]

NAME = "tvm"
VERSION = "0.27.0.post1"

# Values of the option "objective", the default first.
_OPTIMISE = {"latency": "-O2", "flash": "-Os"}
# Buffers of different types take turns in the arena, so accesses may not be told apart by type.
_CFLAGS = ("-fno-strict-aliasing", "-fno-math-errno")


def describe() -> CompilerDescription:
    """Return what this compiler is and takes. Does not import TVM."""
    return CompilerDescription(
        name=NAME,
        version=VERSION,
        cores=tuple(Core),
        operators=supported(),
        options={"objective": tuple(_OPTIMISE)},
        estimates=True,
    )


def supports(task: CompileTask) -> Support:
    """Return why `task` cannot be compiled, as far as its summary tells. Does not import TVM."""
    return Support(reasons=tuple(dict.fromkeys(refusals(task))))


def estimate(task: CompileTask) -> Estimate:
    """Return what the module of `task` will take, from its summary. Does not import TVM."""
    return sizes(task)


def compile(task_path: Path, out_dir: Path) -> Compiled | Unsupported:
    """Compile the task in file `task_path` into folder `out_dir`.

    Writes ``compiled.json`` and the C file it names, or ``unsupported.json``; returns what it
    wrote there.
    """
    task = CompileTask.model_validate_json(task_path.read_bytes())
    data = (task_path.parent / task.model).read_bytes()
    try:
        if reasons := supports(task).reasons:
            raise UnsupportedModel(*reasons)
        made = generate(data, task.format, task.target, task.name, task.options)
        answer = _compiled(task, made)
    except UnsupportedModel as error:
        refused = Unsupported(reasons=error.reasons)
        (out_dir / "unsupported.json").write_text(refused.model_dump_json(indent=1) + "\n")
        return refused
    for path in answer.sources:
        (out_dir / path).write_text(made.source)
    for path in answer.objects:
        (out_dir / path).write_bytes(made.obj)
    (out_dir / "compiled.json").write_text(answer.model_dump_json(indent=1) + "\n")
    return answer


def _compiled(task: CompileTask, made: Generated) -> Compiled:
    """Return the description of what was made.

    Raises:
        UnsupportedModel: TVM's importer gave a boundary tensor another type or size.
    """

    def place(spec: TensorSpec, number: int) -> ArenaTensor:
        buffer = made.program.buffers[number]
        if (buffer.dtype, buffer.nbytes) != (spec.dtype, spec.nbytes):
            raise UnsupportedModel(
                f"tensor {spec.name}: TVM makes it {buffer.nbytes} bytes of {buffer.dtype},"
                f" the model {spec.nbytes} bytes of {spec.dtype}"
            )
        return ArenaTensor(spec=spec, offset=made.layout.buffers[number])

    summary, program = task.summary, made.program
    sides = ((summary.inputs, program.inputs), (summary.outputs, program.outputs))
    if any(len(specs) != len(numbers) for specs, numbers in sides):
        raise UnsupportedModel("TVM's importer leaves out inputs or outputs of this model")
    return Compiled(
        compiler=NAME,
        version=VERSION,
        entry=made.entry,
        inputs=tuple(map(place, summary.inputs, program.inputs)),
        outputs=tuple(map(place, summary.outputs, program.outputs)),
        arena=ArenaPlan(size=made.layout.size, alignment=made.layout.alignment),
        sources=() if made.obj else ("model.c",),
        objects=("model.o",) if made.obj else (),
        cflags=(_OPTIMISE[task.options.get("objective", "latency")], *_CFLAGS, *made.cflags),
        weight_bytes=made.weight_bytes,
        options=dict(task.options),
    )
