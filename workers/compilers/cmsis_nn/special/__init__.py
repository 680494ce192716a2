"""Specialised int8 kernels: one C function a layer, everything about it a constant.

`specialise` returns None where there is no special kernel for a layer on a target; the caller
then uses the generic kernels.
"""

from __future__ import annotations

from tinymlaas.contract.device import CapabilityClass
from workers.compilers.cmsis_nn.special.layers import KernelCode, Layer, Options


def specialise(
    layer: Layer, target: CapabilityClass, prefix: str, options: Options | None = None
) -> KernelCode | None:
    """Return the C of `layer` for `target`, its names beginning with `prefix`, or None."""
    del layer, target, prefix, options
    return None
