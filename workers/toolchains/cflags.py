"""Compiler flags: those of every translation unit, those of a core, those a compiler may add."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinymlaas.contract.device import CapabilityClass, Core, FloatAbi, Fpu, Mve
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError

# A multiply and add may become one fused instruction wherever the core has one: it is faster and
# rounds once less. -std=c11 alone would forbid it.
BASE = (
    "-O2",
    "-g0",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
)
LANGUAGE = {
    ".c": ("-std=c11",),
    ".S": (),
    ".cc": ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"),
    ".cpp": ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"),
}

_ALLOWED = (
    r"-O[0123s]",
    r"-D[A-Za-z_][A-Za-z0-9_]*(=[A-Za-z0-9_.+-]*)?",
    r"-W(no-)?[a-z-]+",
    r"-f(no-)?(strict-aliasing|math-errno|unroll-loops|wrapv|fast-math|finite-math-only|tree-vectorize"
    r"|tree-loop-distribute-patterns|builtin|inline|signed-char|unsigned-char|ivopts|gcse"
    r"|schedule-insns2?|math-errno|associative-math|signed-zeros|trapping-math|reciprocal-math)",
    r"-ffp-contract=(off|on|fast)",
    r"--param=[a-z-]+=[0-9]+",
)
_ALLOWED_FLAG = re.compile("|".join(_ALLOWED))


def check_extra(flags: Sequence[str]) -> tuple[str, ...]:
    """Return `flags` as they are, if each is on the allow-list.

    Raises:
        CompilerCrashed: a compiler asks for a flag that could reach outside its own sources.
    """
    wrong = [flag for flag in flags if not _ALLOWED_FLAG.fullmatch(flag)]
    if wrong:
        raise CompilerCrashed(f"compiled.json asks for forbidden compiler flags: {' '.join(wrong)}")
    return tuple(flags)


def machine_flags(target: CapabilityClass) -> tuple[str, ...]:
    """Return gcc's machine flags (-mcpu, -mfpu, -march, …) for `target`.

    Raises:
        ToolchainError: the core needs a gcc -mmcu name (`cpu`) and has none.
    """
    core = target.core
    if core in _CORTEX_M:
        return ("-mthumb", *_cortex_m(target))
    if core in (Core.RV32IMAC, Core.RV32IMC):
        return (f"-march={core.value}", "-mabi=ilp32")
    if core in (Core.AVR, Core.MSP430):
        if not target.cpu:
            raise ToolchainError(f"a board with an {core.value} core must name its cpu")
        return (f"-mmcu={target.cpu}",)
    return ("-fcf-protection=none", "-fPIE", "-U_FORTIFY_SOURCE")


_CORTEX_M = {
    Core.CORTEX_M0,
    Core.CORTEX_M0PLUS,
    Core.CORTEX_M3,
    Core.CORTEX_M4,
    Core.CORTEX_M7,
    Core.CORTEX_M33,
    Core.CORTEX_M55,
}
_FPU_NAMES = {
    (Core.CORTEX_M4, Fpu.SINGLE): "fpv4-sp-d16",
    (Core.CORTEX_M7, Fpu.SINGLE): "fpv5-sp-d16",
    (Core.CORTEX_M7, Fpu.DOUBLE): "fpv5-d16",
    (Core.CORTEX_M33, Fpu.SINGLE): "fpv5-sp-d16",
}


def _cortex_m(target: CapabilityClass) -> tuple[str, ...]:
    core = target.core
    if core is Core.CORTEX_M55:
        return _cortex_m55(target)
    if target.fpu is Fpu.NONE:
        abi: tuple[str, ...] = ("-mfloat-abi=soft",)
    elif (core, target.fpu) in _FPU_NAMES:
        abi = (f"-mfpu={_FPU_NAMES[core, target.fpu]}", f"-mfloat-abi={target.float_abi.value}")
    else:
        raise ToolchainError(f"there is no {core.value} with a {target.fpu.value} precision FPU")
    name = core.value
    if core is Core.CORTEX_M33:
        name += "" if target.dsp else "+nodsp"
        name += "+nofp" if target.fpu is Fpu.NONE else ""
    return (f"-mcpu={name}", *abi)


def _cortex_m55(target: CapabilityClass) -> tuple[str, ...]:
    """GCC knows the M55's FPU with double precision or not at all; single is spelt as -march."""
    scalar = {Fpu.NONE: "", Fpu.SINGLE: "+fp", Fpu.DOUBLE: "+fp.dp"}[target.fpu]
    vector = {Mve.NONE: "", Mve.INTEGER: "+mve", Mve.FLOAT: "+mve.fp"}[target.mve]
    if target.mve is Mve.FLOAT and target.fpu is Fpu.NONE:
        raise ToolchainError(
            "a cortex-m55 with floating-point MVE has an FPU; the profile has none"
        )
    abi = target.float_abi if scalar or vector else FloatAbi.SOFT
    return (
        f"-march=armv8.1-m.main+dsp{vector}{scalar}",
        "-mtune=cortex-m55",
        f"-mfloat-abi={abi.value}",
    )
