"""What every source format gives the stage: its boundary, its float outputs, its int8 form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.quantisation import Activations, FloatFormat
from tinymlaas.contract.tensors import TensorSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class Boundary:
    """A float model's inputs and outputs, static, in its own order and layout."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


NEAR = 1e-3
"""Largest difference, by the output's range, of a rebuilt float model from the source."""


def difference(got: Array, want: Array) -> float:
    """Return the largest difference by the range of `want`; infinite if the shapes differ."""
    if got.shape != want.shape:
        return float("inf")
    spread = float(np.ptp(want)) or float(np.abs(want).max()) or 1.0
    return float(np.abs(got - want).max()) / spread


def refuse_other_numbers(
    by: str, got: Sequence[Array], want: Sequence[Array], reference: str
) -> None:
    """Refuse a conversion that computes something else.

    Raises:
        UnsupportedModel: an output differs by more than `NEAR`.
    """
    worst = max(difference(one, other) for one, other in zip(got, want, strict=True))
    if not worst <= NEAR:
        raise UnsupportedModel(
            f"rebuilt for {by} the model computes other numbers than {reference} (off by "
            f"{worst:.2g} of the output's range): it cannot be quantised this way"
        )


class FloatModel(Protocol):
    """A loaded float model."""

    format: FloatFormat
    boundary: Boundary
    reference: str  # which implementation `run` is

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the float outputs of one sample."""
        ...

    def quantise(self, samples: Sequence[Sequence[Array]], activations: Activations) -> bytes:
        """Return a TFLite file with the ranges that `samples` show.

        Raises:
            UnsupportedModel: something in the model has no integer form.
        """
        ...
