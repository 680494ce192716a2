"""What the private servers have in common: a folder of their own, started, stopped, found again."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from tinymlaas.contract.errors import Failure
from tinymlaas.services.process import ServerProcess
from tinymlaas.services.state import State, locked, remembered


class PrivateServer(ABC):
    """A server with all its state in one folder; a context manager that starts and stops it.

    What it keeps is found again at the next start, which is on the same ports unless somebody else
    has taken them.
    """

    _TITLE: str
    _PORTS: int
    _STOP_SECONDS: float
    _COMPANIONS = False  # whether the ports 10,000 above are to be free too

    def __init__(self, folder: Path) -> None:
        """Choose where; nothing is started."""
        self._folder = folder.absolute()
        self._hold = contextlib.ExitStack()
        self._state: State | None = None
        self._server: ServerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this server.

        Raises:
            Failure: it was never started.
        """

    @abstractmethod
    def _launch(self, state: State) -> None:
        """Start `_server` and wait until it serves clients. Raises Failure."""

    @abstractmethod
    def _tidy(self) -> None:
        """Remove what a server that has ended leaves outside its folder, or beside itself."""

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None if it does not run."""
        return self._server.pid if self._server is not None else None

    def start(self) -> None:
        """Start the server and wait until it serves clients.

        Raises:
            Failure: it cannot be started, in a line that quotes its log.
        """
        if self._state is None:
            self._hold.enter_context(locked(self._folder))
        try:
            self._state = self._state or remembered(
                self._folder, self._PORTS, companions=self._COMPANIONS
            )
            self._launch(self._state)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it in good order and let go of the folder."""
        self.pause()
        self._hold.close()
        self._hold, self._state, self._server = contextlib.ExitStack(), None, None

    def pause(self) -> None:
        """Stop it in good order but keep its ports; `start` brings it back on the same."""
        if self._server is not None:
            self._server.stop(self._STOP_SECONDS)
            self._tidy()

    def restart(self) -> None:
        """Stop it in good order and start it again on the same ports, as an upgrade would."""
        self.pause()
        self.start()

    def kill(self) -> None:
        """Kill it (SIGKILL), as a crash would; `start` brings it back on the same ports."""
        if self._server is not None:
            self._server.kill()
            self._tidy()

    @property
    def _known(self) -> State:
        if self._state is None:
            raise Failure(f"{self._TITLE} was not started")
        return self._state
