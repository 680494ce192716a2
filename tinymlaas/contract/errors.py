"""Typed errors. Every error says what is wrong in one line and, where it can, what to do next.

Two families decide what becomes of a job: `Rejection` is the input's fault (exit 2, status
``rejected``), `Failure` is ours (exit 1, status ``failed``). `Retryable` marks failures that a
second try may cure.
"""

from __future__ import annotations

_LONGEST = 2000  # characters of a reason: it may quote names from outside, of any length


class TinymlaasError(Exception):
    """Base of all errors a user may see; `reasons` are single lines of plain English."""

    exit_code = 1
    retryable = False

    def __init__(self, *reasons: str) -> None:
        """Keep the reasons, each folded to one line, not too long, that a terminal may be shown."""
        self.reasons: tuple[str, ...] = tuple(_shortened(one_line(each)) for each in reasons)
        super().__init__("; ".join(self.reasons))


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def one_line(text: str) -> str:
    """Return `text`, in which names come from outside, on one line that a terminal may be shown.

    Control characters and bytes that are no text are escaped.
    """
    folded = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in folded)


class Rejection(TinymlaasError):
    """The request cannot be served as it stands; the same request will fail again."""

    exit_code = 2


class UsageError(Rejection):
    """The command or request itself is malformed."""


class InvalidModel(Rejection):
    """The model file is damaged, of an unknown format, or uses a forbidden feature."""


class UnsupportedModel(Rejection):
    """The model is sound but uses something no candidate compiler supports."""


class UnknownBoard(Rejection):
    """No device profile has this name."""


class InvalidBoard(Rejection):
    """A device profile has mistakes; one reason each."""


class DoesNotFit(Rejection):
    """The module needs more flash or RAM than the device has."""


class VerificationError(Rejection):
    """A signature, digest, envelope or archive does not verify."""


class Failure(TinymlaasError):
    """Something of ours went wrong; the input may be fine."""


class CompilerCrashed(Failure):
    """A compiler ended without an answer (signal, timeout, or output that breaks the interface)."""


class ToolchainError(Failure):
    """A cross toolchain or simulator is missing or failed."""


class StoreError(Failure):
    """The object store could not be read or written."""


class RetryableFailure(Failure):
    """A failure that a second try may cure."""

    retryable = True
