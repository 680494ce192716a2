"""What a module will take, once its C is there: constants and arena are known, code is guessed.

Code grows with the text of its C, by so many bytes a character as gcc makes of it on each kind of
core; the figures are least squares over linked modules of MLPerf Tiny's four models and the digits
(`benchmarks/estimate.py` shows what is left of error). Stacks grow with what nested loops keep in
registers and spill: they were 16 to 184 bytes in modules of dense layers, 144 to 324 where there
are convolutions, whose loops nest deeper.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.device import CapabilityClass, Core, Mve

_TABLE = re.compile(r"static const [^{;]*\{[^}]*\};")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LOOP = re.compile(r"( *)(?:for|while|do)\b")
_BSS = 8
_SHALLOW = 3


@dataclass(frozen=True)
class _Code:
    """Bytes of code: of every image, and of each character of C; and bytes of stack.

    `shallow` is the stack where no loop is nested deeper than `_SHALLOW`, `deep` where one is.
    """

    base: int
    character: float
    shallow: int
    deep: int


_THUMB1 = _Code(0, 0.21, 110, 230)
_THUMB2 = _Code(700, 0.156, 90, 175)
_MVE = _Code(800, 0.183, 125, 280)
_RISCV = _Code(0, 0.27, 64, 190)
_OTHERS = {
    Core.CORTEX_M0: _THUMB1,
    Core.CORTEX_M0PLUS: _THUMB1,
    Core.RV32IMC: _RISCV,
    Core.RV32IMAC: _RISCV,
}


def sizes(source: str, constants: int, arena: int, target: CapabilityClass) -> Estimate:
    """Return what the module of this C file takes with `constants` and `arena` bytes.

    An AVR keeps constants in RAM, and their initial values in flash.
    """
    code = _MVE if target.mve is not Mve.NONE else _OTHERS.get(target.core, _THUMB2)
    plain = _COMMENT.sub("", _TABLE.sub("", source))
    stack = code.deep if _nesting(plain) > _SHALLOW else code.shallow
    in_ram = constants if target.core is Core.AVR else 0
    return Estimate(
        flash_bytes=constants + round(code.base + code.character * len(plain)),
        ram_bytes=arena + in_ram + _BSS + stack,
        flash_at_least=constants,
        ram_at_least=arena + in_ram,
    )


def _nesting(source: str) -> int:
    """Return how deep loops are nested at most, as the generated C is indented."""
    deepest, around = 0, list[int]()
    for line in source.splitlines():
        indent = len(line) - len(line.lstrip())
        while line.strip() and around and indent <= around[-1]:
            around.pop()
        if _LOOP.match(line):
            around.append(indent)
            deepest = max(deepest, len(around))
    return deepest
