"""A server process in a group of its own: started, asked to end, killed; nothing left behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tinymlaas.contract.errors import Failure
from workers import guardian

_POLL_SECONDS = 0.1
_TAIL_BYTES = 600


class NotReady(Exception):
    """What a probe raises while the server does not answer as it should; says why."""


class ServerProcess:
    """One server. It lives no longer than we do, however we end (`workers.guardian`)."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Remember what to start; the server runs in `folder` and writes `<name>.log` there."""
        self._name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = contextlib.ExitStack()

    @property
    def pid(self) -> int | None:
        """The process id, or None if it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it.

        Raises:
            Failure: the program cannot be run.
        """
        self.kill()
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C is for us, who then end it in good order
                )
        except OSError as error:
            raise Failure(f"cannot start {self._command[0]}: {error.strerror or error}") from error
        self._watch.enter_context(guardian.group(self._process.pid))

    def await_ready(self, probe: Callable[[], None], seconds: float) -> None:
        """Return once `probe` raises `NotReady` no more.

        Raises:
            Failure: the process ended, or `seconds` have passed; the log's end is quoted.
        """
        deadline = time.monotonic() + seconds
        while True:
            if not self.running:
                raise Failure(f"{self._name} ended while starting: {self._tail()}")
            try:
                return probe()
            except NotReady as error:
                if time.monotonic() > deadline:
                    raise Failure(
                        f"{self._name} was not ready within {seconds:.0f} s ({error}): "
                        f"{self._tail()}"
                    ) from error
            time.sleep(_POLL_SECONDS)

    def stop(self, grace_seconds: float) -> bool:
        """Ask it to end, kill what is left after `grace_seconds`; True if it ended by itself."""
        if self._process is None:
            return True
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self.kill()  # children it may have left
        return True

    def kill(self) -> None:
        """Kill it and its group at once (SIGKILL)."""
        if self._process is not None:
            guardian.kill_group(self._process.pid)
            self._process.wait()
            self._process = None
        self._watch.close()

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._name}.log"

    def _tail(self) -> str:
        text = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return f"the end of {self._log} is: {text.strip() or '(empty)'}"
