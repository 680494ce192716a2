"""A scheduler or a worker as a child process: its log in a file, its pages on a port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from tinymlaas.contract.errors import Failure
from tinymlaas.farm.environment import HTTP_HOST_VARIABLE
from tinymlaas.farm.process import WRONG_ENVIRONMENT
from tinymlaas.services.ports import free_ports
from tinymlaas.services.process import NotReady, ServerProcess

_PAGE_SECONDS = 5.0
_TAIL_BYTES = 4000
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine


class FarmMember(ServerProcess):
    """One ``python -m scheduler`` or ``python -m workers``; in a session of its own, for a Ctrl-C
    is for us, who have it drain. It lives no longer than we do.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Choose a port for its pages; nothing is started. The log is ``<name>.log`` in `folder`.

        Raises:
            RetryableFailure: no port is free.
        """
        (port,) = free_ports(1)
        # -P: modules are found where ours are, not in the folder with the logs.
        command = [sys.executable, "-P", "-m", *arguments, "--http-port", str(port)]
        super().__init__(name, command, environment, folder)
        self.name = name
        self.log = folder / f"{name}.log"
        self.url = f"http://{_reached(environment.get(HTTP_HOST_VARIABLE, ''))}:{port}"
        self._logged = 0

    def start(self) -> None:
        """Start it; what it says from now on is told by `said_last`.

        Raises:
            Failure: the program cannot be run.
        """
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        super().start()

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of a page such as ``/readyz``; status 0 if nobody answers."""
        try:
            with _DIRECTLY.open(self.url + path, timeout=_PAGE_SECONDS) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with contextlib.suppress(OSError, HTTPException):
                return error.code, error.read().decode()
            return 0, "it was killed while it answered"
        except (OSError, HTTPException) as error:  # the latter if it is killed while it answers
            return 0, str(error)

    def check_ready(self) -> None:
        """Return if it says it is ready.

        Raises:
            NotReady: it does not; with what it says.
        """
        status, text = self.page("/readyz")
        if status != 200:
            raise NotReady(text.strip() if status else "starting")

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); returns at once."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def status(self) -> int | None:
        """Return what it ended with (minus the signal's number); None if it runs or never did."""
        return None if self._process is None else self._process.poll()

    def how_it_ended(self) -> str:
        """Say in a line how it ended."""
        status = self.status()
        if status is None:
            return "does not run"
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        said = self.said_last()
        return f"ended with status {status}" + (f": {said}" if said else "")

    def wrong_environment(self) -> Failure | None:
        """Return why it ended if a second start would end the same way."""
        if self.status() != WRONG_ENVIRONMENT:
            return None
        return Failure(f"{self.name}: {self.said_last() or f'see {self.log}'}")

    def said_last(self) -> str:
        """Return its last line since it was started, best one that says what is wrong."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._logged, self.log.stat().st_size - _TAIL_BYTES))
                lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        except OSError:  # somebody has removed it; what died is started again all the same
            return ""
        wrong = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        last = next((line for line in reversed(lines) if line), "")
        return "; ".join(wrong) or _from_json(last) or last


def _from_json(line: str) -> str:
    """Return what a line of a JSON log says; "" if it is none."""
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict):
            return "; ".join(event.get("reasons") or [str(event.get("event", ""))])
    return ""


def _reached(host: str) -> str:
    """Return where a process that listens on `host` is reached from this machine."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - asked for by the operator, not bound here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
