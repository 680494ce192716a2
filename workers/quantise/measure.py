"""How near the quantised model is to the float one, on the samples it was calibrated with."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.quantisation import OutputError
from tinymlaas.contract.tensors import TensorSpec
from workers.models.reference import Reference
from workers.verify.numerics import value_range
from workers.verify.quantising import dequantised, quantised

Array = NDArray[Any]
FAR_OFF_DB = 15.0
"""Below this the error's RMS is more than 18% of the signal's."""
Outputs = list[list[Array]]
"""One list a sample, one array an output."""


def run_quantised(
    reference: Reference,
    samples: Sequence[Sequence[Array]],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Outputs:
    """Return the real-valued outputs of a quantised model on real-valued samples."""
    results = []
    for sample in samples:
        given = [quantised(v, spec) for v, spec in zip(sample, inputs, strict=True)]
        answer = reference.run(given)
        results.append([dequantised(v, spec) for v, spec in zip(answer, outputs, strict=True)])
    return results


def output_errors(
    expected: Outputs, got: Outputs, outputs: Sequence[TensorSpec]
) -> tuple[OutputError, ...]:
    """Return the error statistics of each output over all samples."""
    return tuple(
        _error(
            spec.name,
            np.stack([sample[index] for sample in expected]).astype(np.float64),
            np.stack([sample[index] for sample in got]).astype(np.float64),
        )
        for index, spec in enumerate(outputs)
    )


def far_off(errors: Sequence[OutputError]) -> tuple[str, ...]:
    """Return a warning for each output whose error is more than a sixth of its signal."""
    return tuple(
        f"output '{error.name}' is far from the float model's: SQNR {error.sqnr_db:.1f} dB"
        for error in errors
        if error.sqnr_db is not None and error.sqnr_db < FAR_OFF_DB
    )


def _error(name: str, expected: Array, got: Array) -> OutputError:
    error = np.abs(got.reshape(expected.shape) - expected)
    spread = value_range([expected])
    noise, signal = float(np.mean(error**2)), float(np.mean(expected**2))
    return OutputError(
        name=name,
        range=spread,
        max_error=float(error.max()) / spread,
        mean_error=float(error.mean()) / spread,
        rms_error=noise**0.5 / spread,
        sqnr_db=10 * log10(signal / noise) if noise and signal else None,
    )
