"""A TFLite model as typed data: what the reader makes and the lowering reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.options import Options

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Affine:
    """TFLite quantisation: real = scale × (q − zero_point), one entry or one per `axis` index.

    Scales stay float32 because TFLite's own arithmetic on them is partly in float32.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int = 0

    @property
    def scale(self) -> np.float32:
        """The scale of the whole tensor (the first, as TFLite takes it, where there are more)."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of the whole tensor."""
        return int(self.zero_points[0])


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the model. `data` is set for constants; `dtype` is None for types we lack.

    `type_name` is the schema's own name (``INT8``, ``RESOURCE``).
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    dtype: DType | None
    affine: Affine | None = None
    data: Array | None = None
    variable: bool = False
    sparse: bool = False


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: `inputs` and `outputs` are tensor numbers, −1 for an absent input."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """One subgraph of the model."""

    tensors: Mapping[int, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """All subgraphs; the first is the entry, others are called by operators of it."""

    graphs: tuple[Graph, ...]

    @property
    def main(self) -> Graph:
        """The subgraph that is run."""
        return self.graphs[0]
