"""Compile a TFLite file as the service does, and run the module on a simulated core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinymlaas.contract.compiler import Compiled, CompileTask
from tinymlaas.contract.device import CapabilityClass, Core, FloatAbi, Fpu, Mve
from tinymlaas.contract.model import ModelFormat
from workers.compilers.cmsis_nn import plugin
from workers.models.summary import summarise
from workers.sandbox import files
from workers.toolchains.library import build_library
from workers.verify.run import RunResult, run_module

NAME = "net"
CORES = {
    "m0+": CapabilityClass(core=Core.CORTEX_M0PLUS),
    "m3": CapabilityClass(core=Core.CORTEX_M3),
    "m4": CapabilityClass(core=Core.CORTEX_M4, fpu=Fpu.SINGLE, dsp=True, float_abi=FloatAbi.HARD),
    "m7": CapabilityClass(core=Core.CORTEX_M7, fpu=Fpu.SINGLE, dsp=True, float_abi=FloatAbi.HARD),
    "m33": CapabilityClass(core=Core.CORTEX_M33, fpu=Fpu.SINGLE, dsp=True, float_abi=FloatAbi.HARD),
    "m55": CapabilityClass(
        core=Core.CORTEX_M55,
        fpu=Fpu.SINGLE,
        dsp=True,
        mve=Mve.FLOAT,
        float_abi=FloatAbi.HARD,
    ),
    "rv32": CapabilityClass(core=Core.RV32IMAC),
}


def compile_for(
    data: bytes, target: CapabilityClass, folder: Path, options: Mapping[str, str]
) -> tuple[CompileTask, Compiled]:
    """Return the task and what the plugin wrote into ``folder/out``."""
    task = CompileTask(
        name=NAME,
        model="model.tflite",
        format=ModelFormat.TFLITE,
        summary=summarise(data, ModelFormat.TFLITE),
        target=target,
        kernels="portable",
        options=dict(options),
    )
    (folder / "task").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "task" / "task.json").write_text(task.model_dump_json())
    (folder / "task" / task.model).write_bytes(data)
    compiled = plugin.compile(folder / "task" / "task.json", folder / "out")
    assert isinstance(compiled, Compiled), compiled
    return task, compiled


def simulate(
    data: bytes,
    target: CapabilityClass,
    folder: Path,
    samples: Sequence[Sequence[np.ndarray]],
    options: Mapping[str, str] | None = None,
) -> tuple[Compiled, RunResult]:
    """Build the module for `target` and run it on `samples`."""
    task, compiled = compile_for(data, target, folder, options or {})
    library = build_library(files.read(folder / "out"), compiled, task.name, target)
    return compiled, run_module(library, task.name, target, compiled, samples)
