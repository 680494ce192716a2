"""Which kernel computes each layer: a specialised one where its scratch fits, else a generic one.

Scratch enlarges the arena only where many values live at once. There a kernel must do with what
an interpreter-free use of CMSIS-NN would take (its im2col buffer of two columns), so that speed
never costs more RAM than that; elsewhere it may use whatever lies idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from tinymlaas.contract.device import CapabilityClass
from workers.compilers.cmsis_nn.arena import Sharing, lay_out, occupancy
from workers.compilers.cmsis_nn.code import Code
from workers.compilers.cmsis_nn.generic import generic
from workers.compilers.cmsis_nn.layers import AnyLayer, ConvLayer
from workers.compilers.cmsis_nn.program import Program
from workers.compilers.cmsis_nn.special import specialise
from workers.compilers.cmsis_nn.special.layers import Layer, Options
from workers.compilers.cmsis_nn.switches import Switches

_BUDGETS = (64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Chooser:
    """The choice of kernels for one program on one target."""

    program: Program
    target: CapabilityClass
    sharing: Sharing
    switches: Switches

    def choose(self, entry: str) -> list[Code]:
        """Return the C of each step, functions named ``<entry>_l<step>``."""
        plain = [generic(step.layer, f"{entry}_l{i}") for i, step in enumerate(self.program.steps)]
        if not self.switches.specialise:
            return plain
        free = [self._special(i, code, None) for i, code in enumerate(plain)]
        bound = self._bound(plain)
        if lay_out(self.program, free, self.sharing).size <= bound:
            return free
        return self._within(bound, plain, free)

    def _within(self, bound: int, plain: list[Code], free: list[Code]) -> list[Code]:
        """Return kernels whose scratch keeps the arena near `bound`."""
        live = occupancy(self.program, free, self.sharing)
        chosen = list(free)
        for index, code in enumerate(free):
            spare = max(0, bound - live[index])
            if code.kernel.scratch_bytes > spare:
                chosen[index] = self._tight(index, plain[index], spare)
        return chosen

    def _tight(self, index: int, plain: Code, spare: int) -> Code:
        """Return the special kernel with at most `spare` bytes, or with the least more."""
        for limit in (spare, *(b for b in _BUDGETS if b > spare)):
            code = self._special(index, plain, limit)
            if code is not plain:
                return code
        return plain

    def _special(self, index: int, plain: Code, limit: int | None) -> Code:
        layer = self.program.steps[index].layer
        if not isinstance(layer, get_args(Layer)):
            return plain
        options = Options(self.switches.objective, limit)
        kernel = specialise(layer, self.target, plain.kernel.function, options)
        return plain if kernel is None else Code(kernel)

    def _bound(self, plain: list[Code]) -> int:
        """Return the arena that generic kernels with CMSIS-NN's own scratch would take."""
        live = occupancy(self.program, plain, self.sharing)
        scratch = [_columns(step.layer) for step in self.program.steps]
        size = lay_out(self.program, plain, self.sharing).size
        return max([size, *(a + b for a, b in zip(live, scratch, strict=True))])


def _columns(layer: AnyLayer) -> int:
    """Return the bytes of CMSIS-NN's im2col buffer: two columns of int16 (none for 1×1)."""
    if not isinstance(layer, ConvLayer):
        return 0
    _, height, width, depth = layer.weights.shape
    return 0 if height == width == 1 else 2 * 2 * height * width * depth
