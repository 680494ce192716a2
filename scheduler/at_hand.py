"""Whose jobs are being decided on, so that it is known whom a fault of the scheduler's came by.

A request that the scheduler stumbles over would come again to the next scheduler, and have it
stumble too: it has to be put aside, and for that it has to be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from scheduler.effects import Key


class AtHand:
    """The jobs at hand; those of a decision that raised stay named."""

    def __init__(self) -> None:
        """Begin with none."""
        self.keys: tuple[Key, ...] = ()

    @contextmanager
    def dealing(self, *keys: Key) -> Iterator[None]:
        """Have `keys` at hand for as long as the context lasts."""
        before, self.keys = self.keys, keys
        yield
        self.keys = before  # not where it raised

    def each(self, keys: Iterable[Key]) -> Iterator[Key]:
        """Yield `keys`, with each at hand until the next."""
        for key in keys:
            with self.dealing(key):
                yield key
