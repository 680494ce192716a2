"""How long work tells a person what it is doing; services know only this port."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Progress(Protocol):
    """Receives the stages of each candidate."""

    def expect(self, names: Iterable[str]) -> None:
        """Say that the candidates called `names` will be built, besides any said before."""

    def stage(self, who: str, what: str) -> None:
        """Say that `who` (a candidate, or the job) has begun `what`."""

    def end(self, who: str, how: str) -> None:
        """Say that `who` has ended, and in a word or two how."""


class Silent:
    """A Progress that says nothing."""

    def expect(self, names: Iterable[str]) -> None:
        """Say nothing."""

    def stage(self, who: str, what: str) -> None:
        """Say nothing."""

    def end(self, who: str, how: str) -> None:
        """Say nothing."""


class Named(Silent):
    """Stages of one candidate under a `name` that is its own in the whole race.

    What builds it does not know which form of the model it has, or of which board it is one of
    several. When it has ended its race says, not its build.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        """Pass stages on to `progress`."""
        self._progress = progress
        self._name = name

    def stage(self, who: str, what: str) -> None:
        """Say that the candidate has begun `what`."""
        self._progress.stage(self._name, what)


class OnBoard:
    """Progress of a race that is one of several, each for its own board."""

    def __init__(self, progress: Progress, board: str) -> None:
        """Pass everything on to `progress`, with `board` before each name."""
        self._progress = progress
        self._board = board

    def expect(self, names: Iterable[str]) -> None:
        """Say that candidates will be built for the board."""
        self._progress.expect(f"{self._board}: {name}" for name in names)

    def stage(self, who: str, what: str) -> None:
        """Say that `who` has begun `what` for the board."""
        self._progress.stage(f"{self._board}: {who}", what)

    def end(self, who: str, how: str) -> None:
        """Say that `who` has ended."""
        self._progress.end(f"{self._board}: {who}", how)
