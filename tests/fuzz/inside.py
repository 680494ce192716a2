"""What is done with mutants that a heavy parser sees; runs where that parser may crash."""

from __future__ import annotations

import signal
from types import FrameType

import numpy as np

from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.model import ModelSummary

TAKEN = ""
UNTYPED = "untyped: "
_SECONDS = 20
_MACS = 10_000_000  # what is run here; a hundred mutants must not take minutes


class Hang(BaseException):
    """A case took longer than any may."""


def _hang(signal_number: int, frame: FrameType | None) -> None:
    raise Hang


def inspect_all(mutants: list[bytes]) -> list[str]:
    """Inspect each, and run on the reference what passes; return each one's reason or `TAKEN`.

    What is no error of ours is told with `UNTYPED` before it.
    """
    signal.signal(signal.SIGALRM, _hang)
    return [_inspected(mutant) for mutant in mutants]


def _inspected(mutant: bytes) -> str:
    signal.alarm(_SECONDS)
    try:
        _run(mutant)
    except TinymlaasError as error:
        return "; ".join(error.reasons) or UNTYPED + "no reason"
    except Hang:
        return UNTYPED + f"longer than {_SECONDS} s"
    except Exception as error:  # this is what is looked for
        return UNTYPED + f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
    return TAKEN


def _run(mutant: bytes) -> None:
    from workers.models.reference import open_reference
    from workers.models.summary import inspect

    found = inspect(mutant, "mutant")
    if found.summary.macs > _MACS:
        return
    reference = open_reference(found.model, found.format, found.summary.dtype)
    reference.run(_zeros(found.summary))


def _zeros(summary: ModelSummary) -> list[np.ndarray]:
    return [np.zeros(spec.shape, spec.dtype.value) for spec in summary.inputs]
