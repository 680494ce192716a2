"""What is counted of a task while it runs, in its own process, told to the worker that counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from storage.observed import ObservedStore
from storage.signing import PublicKey, Signer
from tinymlaas.contract.errors import TinymlaasError
from workers import sandbox
from workers.build import Workbench

# The stages that tasks say they are in: few, for each is a label of a metric.
STAGES = (
    "starting",
    "inspecting",
    "reading the model",
    "quantising to int8",
    "quantising to int16x8",
    "compiling",
    "building the library",
    "linking for the board",
    "running the reference",
    "running on the host",
    "running in the simulator",
    "comparing with the reference",
    "comparing layer by layer",
    "packing",
    "running labelled samples",
)


class What(StrEnum):
    """What a note is of."""

    STAGE = "stage"
    STORE = "store"
    SIGNATURE = "signature"
    STOP = "stop"


class Note(NamedTuple):
    """One thing that has happened.

    Of a stage: its `name` and `seconds`; of a request to the store: operation, the fault as
    `detail` (none if it was answered), `seconds`; of a signature: ``made`` or ``failed``, and
    `seconds`; of a job of the sandbox that was stopped: step, and the reason as `detail`.
    """

    what: What
    name: str
    detail: str = ""
    seconds: float = 0.0


Notes = Callable[[Note], None]


def noted(bench: Workbench, note: Notes) -> Workbench:
    """Return `bench` with all that is counted of it told to `note`; the sandbox's stops too."""

    def stored(operation: str, fault: str | None, seconds: float) -> None:
        note(Note(What.STORE, operation, fault or "", seconds))

    sandbox.on_stop(lambda step, reason: note(Note(What.STOP, step.value, reason)))
    return replace(
        bench,
        store=ObservedStore(bench.store, stored),
        signer=_NotedSigner(bench.signer, note),
    )


@dataclass(frozen=True)
class _NotedSigner:
    """`Signer` of which it is told whether each signature was made."""

    inner: Signer
    note: Notes

    @property
    def public_key(self) -> PublicKey:
        """See `Signer.public_key`."""
        try:
            return self.inner.public_key
        except TinymlaasError:
            self.note(Note(What.SIGNATURE, "failed"))
            raise

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`."""
        began = time.monotonic()
        try:
            signature = self.inner.sign(data)
        except TinymlaasError:
            self.note(Note(What.SIGNATURE, "failed", seconds=time.monotonic() - began))
            raise
        self.note(Note(What.SIGNATURE, "made", seconds=time.monotonic() - began))
        return signature
