"""Samples from a user's file, read in the sandbox: an archive of compressed arrays is an input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tinymlaas.contract.tensors import TensorSpec
from workers import sandbox
from workers.samples import Samples


def read_samples(
    data: bytes, name: str, specs: Sequence[TensorSpec], limit: int | None = None
) -> Samples:
    """Return the first `limit` samples of an npz for inputs of `specs`.

    Raises:
        UsageError: see `workers.samples.load_samples`.
        Failure: there is no sandbox.
    """
    found: Samples = sandbox.call(
        "workers.samples:load_samples",
        data,
        name,
        list(specs),
        limit,
        returns=Samples,
        step=sandbox.Step.INSPECT,
        what=f"reading {name}",
        log=Path(os.devnull),
    )
    return found
