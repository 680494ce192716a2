"""What every lowering uses: access to an operator's tensors, and the refusal of what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.graph import Affine, Array, Graph, Operator, Tensor, TfliteModel
from workers.compilers.cmsis_nn.layers import AnyLayer
from workers.compilers.cmsis_nn.options import Options
from workers.compilers.cmsis_nn.program import Step

if TYPE_CHECKING:
    from workers.compilers.cmsis_nn.lower.state import Variables

T = TypeVar("T", bound=Options)


class Refusal(Exception):
    """An operator cannot be lowered; the text says which property stands in the way."""


@dataclass
class Context:
    """One operator being lowered, and the steps made from it so far."""

    model: TfliteModel
    graph: Graph
    operator: Operator
    variables: Variables
    steps: list[Step] = field(default_factory=list)

    def add(self, layer: AnyLayer, inputs: Iterable[int], outputs: Iterable[int]) -> None:
        """Append a step."""
        origin = f"{self.operator.name} {self.operator.index}"
        self.steps.append(Step(layer, tuple(inputs), tuple(outputs), origin))

    def options(self, kind: type[T]) -> T:
        """Return the operator's options.

        Raises:
            Refusal: it has none.
        """
        if not isinstance(self.operator.options, kind):
            raise Refusal("it has no options")
        return self.operator.options

    def arity(self, inputs: int | tuple[int, int], outputs: int = 1) -> None:
        """Check how many inputs (an exact number or a range) and outputs there are."""
        low, high = inputs if isinstance(inputs, tuple) else (inputs, inputs)
        if not low <= len(self.operator.inputs) <= high or len(self.operator.outputs) != outputs:
            raise Refusal(
                f"{len(self.operator.inputs)} inputs and {len(self.operator.outputs)} outputs"
            )

    def has_input(self, position: int) -> bool:
        """Return whether input `position` is given."""
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def input(self, position: int = 0) -> Tensor:
        """Return the tensor at input `position`."""
        if not self.has_input(position):
            raise Refusal(f"input {position} is missing")
        return self.graph.tensors[self.operator.inputs[position]]

    def output(self, position: int = 0) -> Tensor:
        """Return the tensor at output `position`."""
        return self.graph.tensors[self.operator.outputs[position]]

    def constant(self, position: int, what: str, *dtypes: DType) -> Array:
        """Return the constant at input `position`."""
        tensor = self.input(position)
        if tensor.sparse:
            raise Refusal(f"{what} stored sparse")
        if tensor.data is None:
            raise Refusal(f"{what} not constant")
        if dtypes and tensor.dtype not in dtypes:
            raise Refusal(f"{what} of type {tensor.type_name}")
        return tensor.data

    def integers(self, position: int, what: str) -> tuple[int, ...]:
        """Return the constant integers at input `position`, flattened."""
        data = self.constant(position, what, DType.INT32, DType.INT64)
        return tuple(int(v) for v in np.asarray(data).reshape(-1))


def affine(tensor: Tensor, *dtypes: DType) -> Affine:
    """Return the per-tensor quantisation of an activation of one of these types."""
    require_type(tensor, *dtypes)
    if tensor.affine is None:
        raise Refusal(f"tensor {tensor.name!a} is not quantised")
    if len(tensor.affine.scales) != 1:
        raise Refusal(f"activation {tensor.name!a} is quantised per channel")
    if not np.isfinite(tensor.affine.scale) or tensor.affine.scale <= 0:
        raise Refusal(f"tensor {tensor.name!a} has scale {tensor.affine.scale}")
    return tensor.affine


def require_type(tensor: Tensor, *dtypes: DType) -> None:
    """Refuse a tensor that is of none of `dtypes`."""
    if tensor.dtype not in dtypes:
        wanted = " or ".join(dtype.value for dtype in dtypes)
        raise Refusal(f"tensor {tensor.name!a} is {tensor.type_name.lower()}, not {wanted}")


def shape4(tensor: Tensor) -> tuple[int, int, int, int]:
    """Return the NHWC shape of a 4-D tensor."""
    if len(tensor.shape) != 4:
        raise Refusal(f"tensor {tensor.name!a} has {len(tensor.shape)} dimensions, not 4")
    n, h, w, c = tensor.shape
    return n, h, w, c
