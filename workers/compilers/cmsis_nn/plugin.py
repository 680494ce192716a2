"""The compiler plugin interface for ``cmsis-nn``: describe, supports, compile."""

from __future__ import annotations

from pathlib import Path

from tinymlaas.contract.compiler import (
    ArenaPlan,
    ArenaTensor,
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    OperatorSupport,
    Support,
    Unsupported,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from workers.compilers.cmsis_nn.arm import copy_tree
from workers.compilers.cmsis_nn.arm_tree import ROOT_VARIABLE, ArmTree, configured
from workers.compilers.cmsis_nn.build import Built, build
from workers.compilers.cmsis_nn.lower import OPERATORS
from workers.compilers.cmsis_nn.sizes import sizes
from workers.compilers.cmsis_nn.switches import OPTIONS, VARIANTS, parse

NAME = "cmsis-nn"
VERSION = "7.0"
BUILD = "1"
MODEL_FILE = "model.c"
PORTABLE, ARM = "portable", "arm"
TREE_VARIABLE = ROOT_VARIABLE
# C is all this makes, and there is no gcc for MSP430 among the toolchains.
_CORES = tuple(core for core in Core if core is not Core.MSP430)
_NO_TREE = f"kernels {ARM} are not installed: set {ROOT_VARIABLE} to a CMSIS-NN tree"


def _version(tree: ArmTree | None) -> str:
    return f"{VERSION}+tree.{tree.digest[:12]}" if tree else VERSION


def describe() -> CompilerDescription:
    """Return what this compiler is and takes; Arm's tree, if there is one, is in the version."""
    return CompilerDescription(
        name=NAME,
        version=_version(configured()),
        build=BUILD,
        cores=_CORES,
        operators=tuple(
            OperatorSupport(format=ModelFormat.TFLITE, dtype=dtype, operators=names, exact=True)
            for dtype, names in OPERATORS.items()
        ),
        kernels=(PORTABLE, ARM),
        unavailable={ARM: _NO_TREE} if configured() is None else {},
        options=OPTIONS,
        variants=VARIANTS,
        estimates=True,
        taps=True,
    )


def supports(task: CompileTask) -> Support:
    """Return why `task` cannot be compiled, as far as its summary tells."""
    if task.format is not ModelFormat.TFLITE:
        return Support(reasons=(f"{NAME} takes TFLite, not {task.format.value}",))
    unknown = [u for u in task.summary.operators if u.name not in OPERATORS.get(u.dtype, ())]
    unknown.sort(key=lambda use: use.indices[0])
    reasons = [use.unsupported for use in unknown]
    return Support(reasons=(*reasons, *_kernel_reasons(task.kernels)))


def _kernel_reasons(kernels: str) -> tuple[str, ...]:
    if kernels == PORTABLE:
        return ()
    if kernels != ARM:
        return (f"there is no kernel library {kernels}: choose {PORTABLE} or {ARM}",)
    if configured() is None:
        return (_NO_TREE,)
    return ()


def estimate_model(task_path: Path) -> Estimate | None:
    """Return what the module of the task in file `task_path` will take.

    All passes are run, as weights and arena depend on them; only gcc is not. What Arm's kernels
    take is not known before.

    Raises:
        UnsupportedModel: the model cannot be compiled; see `build.build`.
    """
    task = CompileTask.model_validate_json(task_path.read_bytes())
    if task.kernels != PORTABLE:
        return None
    data = (task_path.parent / task.model).read_bytes()
    built = build(data, f"{task.name}_run", task.target, parse(task.options))
    return sizes(built.source, built.weight_bytes, built.layout.size, task.target)


def compile(task_path: Path, out_dir: Path) -> Compiled | Unsupported:
    """Compile the task in file `task_path` into folder `out_dir`.

    Writes ``compiled.json`` and the C file it names, or ``unsupported.json``; returns what it
    wrote there.
    """
    task = CompileTask.model_validate_json(task_path.read_bytes())
    data = (task_path.parent / task.model).read_bytes()
    entry = f"{task.name}_run"
    answer: Compiled | Unsupported
    try:
        reasons = _kernel_reasons(task.kernels)
        if reasons:
            raise UnsupportedModel(*reasons)
        tree = configured() if task.kernels == ARM else None
        switches = parse(task.options)
        built = build(data, entry, task.target, switches, tree, tapped=task.tapped)
    except UnsupportedModel as error:
        answer = Unsupported(reasons=error.reasons)
        (out_dir / "unsupported.json").write_text(answer.model_dump_json(indent=1) + "\n")
        return answer
    copied = copy_tree(tree, built.arm_functions, out_dir) if tree else ()
    answer = _compiled(task, entry, built, copied)
    (out_dir / MODEL_FILE).write_text(built.source)
    (out_dir / "compiled.json").write_text(answer.model_dump_json(indent=1) + "\n")
    return answer


def _compiled(task: CompileTask, entry: str, built: Built, copied: tuple[str, ...]) -> Compiled:
    layout, program, summary = built.layout, built.program, task.summary
    inputs = zip(summary.inputs, program.inputs, strict=True)
    outputs = zip(summary.outputs, program.outputs, strict=True)
    return Compiled(
        compiler=NAME,
        version=_version(configured()),
        entry=entry,
        init=built.init,
        inputs=tuple(ArenaTensor(spec=s, offset=layout.values[n]) for s, n in inputs),
        outputs=tuple(ArenaTensor(spec=s, offset=layout.values[n]) for s, n in outputs),
        arena=ArenaPlan(size=built.arena_bytes, alignment=16),
        sources=(MODEL_FILE, *copied),
        include_dirs=("cmsis_nn/Include",) if copied else (),
        cflags=("-fno-strict-aliasing",),
        weight_bytes=built.weight_bytes,
        options=dict(task.options),
        taps=built.taps,
    )
