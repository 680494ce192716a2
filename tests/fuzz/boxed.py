"""Heavy parsers run in the sandbox, as they do for a user: the one place that says how."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.inside import UNTYPED
from tinymlaas.contract.errors import CompilerCrashed
from workers.sandbox import client
from workers.sandbox.limits import Step

ROOT = Path(__file__).parents[2]
_PRELOAD = ("workers.models.summary", "workers.models.reference", "onnx", "tflite", "onnxruntime")
FUNCTION = "tests.fuzz.inside:inspect_all"
CRASHED = "the child crashed: "


def inspect_all(mutants: Sequence[bytes]) -> list[str]:
    """Return for each mutant what `inside.inspect_all` says; of one that kills the child, why."""
    with tempfile.TemporaryDirectory() as folder:
        return _all(list(mutants), Path(folder) / "log")


def _all(mutants: list[bytes], log: Path) -> list[str]:
    try:
        told: list[str] = client.call(
            FUNCTION,
            mutants,
            returns=list[str],
            step=Step.INSPECT,
            what="inspecting the model",
            log=log,
            readable=(ROOT,),
            preload=_PRELOAD,
        )
    except CompilerCrashed as error:
        if len(mutants) == 1:
            return [CRASHED + str(error)]
        half = len(mutants) // 2
        return _all(mutants[:half], log) + _all(mutants[half:], log)
    if len(told) != len(mutants):
        return [UNTYPED + "the child answered for others"] * len(mutants)
    return told
