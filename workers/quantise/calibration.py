"""Calibration samples: read without trust, checked for what would spoil the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import TensorSpec
from workers.samples import Samples, load_samples

Array = NDArray[Any]

MOST_SAMPLES = 1000
"""More samples hardly move the ranges, but every one costs two inferences."""


@dataclass(frozen=True)
class Calibration:
    """Samples, each one array an input of the input's shape, and remarks about them."""

    samples: Samples
    warnings: tuple[str, ...]

    @property
    def labels(self) -> Array | None:
        """One class a sample, or None."""
        return self.samples.labels


def load_calibration(
    data: bytes, name: str, inputs: Sequence[TensorSpec], first_output: TensorSpec
) -> Calibration:
    """Read at most `MOST_SAMPLES` of the npz `data`; `name` is used in reasons only.

    Raises:
        UsageError: see `workers.samples.load_samples`; or labels are no classes of the first
            output.
    """
    found = load_samples(data, name, inputs, MOST_SAMPLES + 1)
    labels = None if found.labels is None else found.labels[:MOST_SAMPLES]
    samples = Samples(found.samples[:MOST_SAMPLES], labels)
    if samples.labels is not None:
        _check_labels(samples.labels, name, first_output)
    warnings = _warnings(samples, inputs)
    if len(found.samples) > MOST_SAMPLES:
        warnings.insert(0, f"only the first {MOST_SAMPLES} samples were used")
    return Calibration(samples, tuple(warnings))


def _check_labels(labels: Array, name: str, output: TensorSpec) -> None:
    wrong = labels[(labels < 0) | (labels >= output.size)]
    if len(wrong):
        raise UsageError(
            f"{name}: label {wrong[0]} is no class of output '{output.name}', "
            f"which has {output.size} elements"
        )


def _warnings(samples: Samples, inputs: Sequence[TensorSpec]) -> list[str]:
    warnings = []
    count = len(samples.samples)
    if count == 1:
        warnings.append(
            "calibrated with 1 sample: its range is all that is known; give some hundred"
        )
    for number, spec in enumerate(inputs):
        values = [sample[number] for sample in samples.samples]
        if spec.size and all((value == values[0].flat[0]).all() for value in values):
            warnings.append(f"all samples of '{spec.name}' are the constant {values[0].flat[0]}")
    return warnings
