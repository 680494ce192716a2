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

_LIST_TYPES = (DType.INT32, DType.INT64)
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

    def refuse_empty(self) -> None:
        """Refuse tensors without elements, but for lists (of axes, of sizes) in later inputs."""
        lists = set(self.operator.inputs[1:]) - set(self.operator.outputs)
        for number in (*self.operator.inputs, *self.operator.outputs):
            tensor = self.graph.tensors.get(number)
            if tensor is None or 0 not in tensor.shape:
                continue
            if number not in lists or tensor.shape != (0,) or tensor.dtype not in _LIST_TYPES:
                raise Refusal(f"tensor {tensor.name!a} of shape {tensor.shape} is empty")

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

    def integer(self, position: int, what: str) -> int:
        """Return the one constant integer at input `position`."""
        values = self.integers(position, what)
        if len(values) != 1:
            raise Refusal(f"{what} of {len(values)} elements")
        return values[0]

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
    if not _in_range(tensor.affine.zero_point, tensor):
        raise Refusal(f"tensor {tensor.name!a} has zero point {tensor.affine.zero_point}")
    return tensor.affine


def _in_range(value: int, tensor: Tensor) -> bool:
    assert tensor.dtype is not None  # noqa: S101 - for the type checker
    info = np.iinfo(tensor.dtype.value)
    return int(info.min) <= value <= int(info.max)


def require_type(tensor: Tensor, *dtypes: DType) -> None:
    """Refuse a tensor that is of none of `dtypes`."""
    if tensor.dtype not in dtypes:
        wanted = " or ".join(dtype.value for dtype in dtypes)
        raise Refusal(f"tensor {tensor.name!a} is {tensor.type_name.lower()}, not {wanted}")


def axis_of(axis: int, rank: int) -> int:
    """Return `axis` counted from the first of `rank` dimensions."""
    if not -rank <= axis < rank:
        raise Refusal(f"axis {axis} of {rank} dimensions")
    return axis % rank


def shape4(tensor: Tensor) -> tuple[int, int, int, int]:
    """Return the NHWC shape of a 4-D tensor."""
    if len(tensor.shape) != 4:
        raise Refusal(f"tensor {tensor.name!a} has {len(tensor.shape)} dimensions, not 4")
    n, h, w, c = tensor.shape
    return n, h, w, c
