"""How long work tells a person what it is doing; services know only this port."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the stages of each candidate."""

    def stage(self, who: str, what: str) -> None:
        """Say that `who` (a candidate, or the job) has begun `what`."""


class Silent:
    """A Progress that says nothing."""

    def stage(self, who: str, what: str) -> None:
        """Say nothing."""
