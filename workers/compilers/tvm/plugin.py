"""The compiler plugin interface for ``tvm``: describe, supports, compile."""

from __future__ import annotations

import re
from pathlib import Path

from tinymlaas.contract.compiler import (
    ArenaPlan,
    ArenaTensor,
    Compiled,
    CompilerDescription,
    CompileTask,
    Support,
    Unsupported,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import TensorSpec
from workers.compilers.tvm.emit import emit_c, used_constants
from workers.compilers.tvm.importer import import_model
from workers.compilers.tvm.kernel import make_kernel
from workers.compilers.tvm.layout import Layout, lay_out
from workers.compilers.tvm.lower import lower
from workers.compilers.tvm.pipeline import apply_schedule, fuse
from workers.compilers.tvm.program import Program, read_program

NAME = "tvm"
VERSION = "0.27.0.post1"
BUILD = "1"

_INT_IS_16_BITS = (Core.AVR, Core.MSP430)


def describe() -> CompilerDescription:
    """Return what this compiler is and takes. Does not import TVM."""
    return CompilerDescription(
        name=NAME, version=VERSION, build=BUILD, cores=tuple(Core), operators=()
    )


def supports(task: CompileTask) -> Support:
    """Return why `task` cannot be compiled, as far as its summary tells. Does not import TVM."""
    del task
    return Support()


def compile(task_path: Path, out_dir: Path) -> Compiled | Unsupported:
    """Compile the task in file `task_path` into folder `out_dir`.

    Writes ``compiled.json`` and the C file it names, or ``unsupported.json``; returns what it
    wrote there.
    """
    task = CompileTask.model_validate_json(task_path.read_bytes())
    data = (task_path.parent / task.model).read_bytes()
    answer: Compiled | Unsupported
    try:
        answer, source = _compile(task, data)
    except UnsupportedModel as error:
        answer = Unsupported(reasons=error.reasons)
        (out_dir / "unsupported.json").write_text(answer.model_dump_json(indent=1) + "\n")
        return answer
    (out_dir / answer.sources[0]).write_text(source)
    (out_dir / "compiled.json").write_text(answer.model_dump_json(indent=1) + "\n")
    return answer


def _compile(task: CompileTask, data: bytes) -> tuple[Compiled, str]:
    mod = fuse(import_model(data, task.format))
    mod = apply_schedule(mod, task.target, task.options)
    program = read_program(mod)
    functions = lower(mod)
    wide = task.target.core in _INT_IS_16_BITS
    kernels = {
        name: make_kernel(_kernel_name(number, name), functions[name], wide=wide)
        for number, name in enumerate(dict.fromkeys(call.kernel for call in program.calls))
    }
    layout = lay_out(program, kernels, 16)
    entry = f"{task.name}_run"
    source = emit_c(entry, program, kernels, layout)
    return _compiled(task, entry, program, layout), source


def _kernel_name(number: int, name: str) -> str:
    return f"k{number}_{re.sub(r'[^A-Za-z0-9]+', '_', name)[:40]}"


def _compiled(task: CompileTask, entry: str, program: Program, layout: Layout) -> Compiled:
    def place(spec: TensorSpec, number: int) -> ArenaTensor:
        return ArenaTensor(spec=spec, offset=layout.buffers[number])

    summary = task.summary
    return Compiled(
        compiler=NAME,
        version=VERSION,
        entry=entry,
        inputs=tuple(map(place, summary.inputs, program.inputs)),
        outputs=tuple(map(place, summary.outputs, program.outputs)),
        arena=ArenaPlan(size=layout.size, alignment=16),
        sources=("model.c",),
        cflags=("-O2", "-fno-strict-aliasing", "-fno-math-errno"),
        weight_bytes=sum(buffer.nbytes for _, buffer in used_constants(program)),
        options=dict(task.options),
    )
