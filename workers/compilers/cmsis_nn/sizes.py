"""What a module will take, once its C is there: constants and arena are known, code is guessed.

Code grows with the text of its C, by so many bytes a character as gcc makes of it on each kind of
core; the figures are least squares over linked modules of MLPerf Tiny's four models and the digits
(`benchmarks/estimate.py` shows what is left of error). Stacks were 64 to 330 bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.device import CapabilityClass, Core, Mve

_TABLE = re.compile(r"static const [^{;]*\{[^}]*\};")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BSS = 8


@dataclass(frozen=True)
class _Code:
    """Bytes of code: of every image, and of each character of C; and bytes of stack."""

    base: int
    character: float
    stack: int = 160


_THUMB2 = _Code(700, 0.156)
_MVE = _Code(800, 0.183, 240)
_OTHERS = {
    Core.CORTEX_M0: _Code(0, 0.21),
    Core.CORTEX_M0PLUS: _Code(0, 0.21),
    Core.RV32IMC: _Code(0, 0.27),
    Core.RV32IMAC: _Code(0, 0.27),
}


def sizes(source: str, constants: int, arena: int, target: CapabilityClass) -> Estimate:
    """Return what the module of this C file takes with `constants` and `arena` bytes.

    An AVR keeps constants in RAM, and their initial values in flash.
    """
    code = _MVE if target.mve is not Mve.NONE else _OTHERS.get(target.core, _THUMB2)
    text = len(_COMMENT.sub("", _TABLE.sub("", source)))
    in_ram = constants if target.core is Core.AVR else 0
    return Estimate(
        flash_bytes=constants + round(code.base + code.character * text),
        ram_bytes=arena + in_ram + _BSS + code.stack,
        flash_at_least=constants,
        ram_at_least=arena + in_ram,
    )
