"""Keeps processes running: what dies is started again, ever later if it dies again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from broker.connecting import pauses
from tinymlaas.contract.errors import TinymlaasError

_LOOK_SECONDS = 0.2
_SOUND_SECONDS = 3.0  # who has run that long is started again without much delay
_LONGEST_PAUSE = 10.0

Say = Callable[[str], None]


class Kept(Protocol):
    """Something that runs."""

    name: str

    @property
    def running(self) -> bool:
        """Whether it does."""
        ...

    def start(self) -> None:
        """Start it. Raises TinymlaasError if it cannot be."""
        ...

    def how_it_ended(self) -> str:
        """Say in a line how it ended."""
        ...


class Keeper:
    """Looks after one thing that was started already."""

    def __init__(self, what: Kept, say: Say) -> None:
        """Look after `what` from now on, on a thread; `say` gets a line for each end of it."""
        self._what = what
        self._say = say
        self._released = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"keep-{what.name}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Start it no more; it may end now."""
        self._released.set()
        self._thread.join()

    def _keep(self) -> None:
        wait = pauses(first=_LOOK_SECONDS, longest=_LONGEST_PAUSE)
        while not self._released.wait(_LOOK_SECONDS):
            if self._what.running:
                continue
            if time.monotonic() - self._began > _SOUND_SECONDS:
                wait = pauses(first=_LOOK_SECONDS, longest=_LONGEST_PAUSE)
            self._say(f"{self._what.name} {self._what.how_it_ended()}; starting it again")
            if self._released.wait(next(wait)):
                return
            self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        try:
            self._what.start()
        except TinymlaasError as error:
            self._say(f"{self._what.name}: {error}")
