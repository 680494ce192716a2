"""The lowered model: values in the arena or in flash, and the steps that compute them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.graph import Array
from workers.compilers.cmsis_nn.layers import AnyLayer


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor. A constant has `data`; one that lasts between runs has `initial` content.

    `channels` are those of the model's tensor that are left of its last axis, where some are not.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    data: Array | None = None
    initial: Array | None = None
    channels: tuple[int, ...] = ()

    @property
    def persistent(self) -> bool:
        """True if it keeps its bytes between runs."""
        return self.initial is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Step:
    """One layer applied to values; `origin` names the operator it came from."""

    layer: AnyLayer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    origin: str


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in the order they run; `inputs` and `outputs` are the module's own tensors."""

    values: Mapping[int, Value]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def writer(self, number: int) -> Step | None:
        """Return the step that writes value `number`, or None for inputs and constants."""
        return next((step for step in self.steps if number in step.outputs), None)
