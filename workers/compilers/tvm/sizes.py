"""What a module will take, from the model's summary alone: linear in its operators.

flash = constants + a base + so much a convolution, a dense layer and a softmax, and more where they
are quantised (TVM computes them in real numbers, between conversions). The coefficients are least
squares over linked modules of MLPerf Tiny's four models, int8 and float, and six small ones, for
each kind of core and objective (`benchmarks/estimate.py` shows what is left of error).

RAM = the activations with all element-wise operators fused + a stack: it was 40 to 160 bytes
without convolutions and 80 to 600 with, growing with what a kernel keeps in registers and spills.
An AVR keeps constants in RAM, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinymlaas.contract.compiler import CompileTask, Estimate
from tinymlaas.contract.device import Core, Fpu
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.tensors import DType
from workers.models.memory import STACK_BYTES

_DENSE = ("FULLY_CONNECTED", "BATCH_MATMUL", "Gemm", "MatMul")
_SOFTMAX = ("SOFTMAX", "LOG_SOFTMAX", "Softmax", "LogSoftmax")


@dataclass(frozen=True)
class _Code:
    """Bytes of code: of every module, and of each operator of a kind."""

    base: int
    convolution: int
    dense: int
    softmax: int
    quantised: int


_STACK, _STACK_HARD, _STACK_CONVOLUTION = 150, 100, 264
# By what floating-point arithmetic costs: an FPU, a soft one in Thumb-1, in Thumb-2, elsewhere.
_HARD = {
    "latency": _Code(1100, 580, 130, 220, 640),
    "flash": _Code(1080, 140, 0, 1180, 140),
}
_THUMB1 = {
    "latency": _Code(2900, 320, 0, 3000, 220),
    "flash": _Code(2890, 175, 0, 2940, 160),
}
_THUMB2 = {
    "latency": _Code(2100, 330, 30, 1350, 150),
    "flash": _Code(2100, 150, 0, 1350, 130),
}
_SOFT = {
    "latency": _Code(2900, 490, 270, 4200, 180),
    "flash": _Code(3200, 200, 160, 4000, 200),
}
_BY_CORE = {
    Core.CORTEX_M0: _THUMB1,
    Core.CORTEX_M0PLUS: _THUMB1,
    Core.CORTEX_M3: _THUMB2,
    Core.CORTEX_M4: _THUMB2,
    Core.CORTEX_M7: _THUMB2,
    Core.CORTEX_M33: _THUMB2,
    Core.CORTEX_M55: _THUMB2,
    Core.AVR: _THUMB2,
}


def sizes(task: CompileTask) -> Estimate:
    """Return what the module of `task` will take."""
    hard = task.target.fpu is not Fpu.NONE or task.target.core is Core.HOST
    table = _HARD if hard else _BY_CORE.get(task.target.core, _SOFT)
    code = table[task.options.get("objective", "latency")]
    summary = task.summary
    convolutions = _count(summary, lambda name: "conv" in name.lower())
    dense = _count(summary, _DENSE.__contains__)
    quantised = convolutions + dense if _quantised(summary) else 0
    text = (
        code.base
        + code.convolution * convolutions
        + code.dense * dense
        + code.softmax * _count(summary, _SOFTMAX.__contains__)
        + code.quantised * quantised
    )
    activations = summary.estimated_fused_ram_bytes or summary.estimated_ram_bytes
    constants = _constants(summary)
    in_ram = constants if task.target.core is Core.AVR else 0
    stack = _STACK_CONVOLUTION if convolutions else _STACK_HARD if hard else _STACK
    flash, ram = constants + text, activations - STACK_BYTES + stack + in_ram
    return Estimate(
        flash_bytes=flash,
        ram_bytes=ram,
        # Integer weights become float32, but which of them are that no summary tells.
        flash_at_least=summary.multiplied_bytes,
        ram_at_least=_largest_boundary(summary)
        + (summary.multiplied_bytes if task.target.core is Core.AVR else 0),
    )


def _largest_boundary(summary: ModelSummary) -> int:
    """Return the bytes of the largest input or output: all others may turn out to share its place.

    How much lies between them no summary tells for certain: TVM fuses, folds, and works in place.
    """
    return max((tensor.nbytes for tensor in (*summary.inputs, *summary.outputs)), default=0)


def _quantised(summary: ModelSummary) -> bool:
    return summary.dtype in (DType.INT8, DType.UINT8, DType.INT16)


def _constants(summary: ModelSummary) -> int:
    """Return the bytes of constants: those of a quantised model become float32."""
    if _quantised(summary):
        return summary.parameters * DType.FLOAT32.itemsize
    return summary.weight_bytes


def _count(summary: ModelSummary, kind: Callable[[str], bool]) -> int:
    return sum(len(use.indices) for use in summary.operators if kind(use.name))
