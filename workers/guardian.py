"""Whatever ends this process, even SIGKILL, nothing it has started stays behind.

Compilers and simulators run in process groups of their own, out of reach of a Ctrl-C, and nobody
tidies up after a SIGKILL of his own. So a second process, the guardian, is told of every such group
and of every scratch folder. When the pipe from us closes, however that comes about, it kills the
groups and removes the folders that are left.

This file is both sides: imported it is ours, run as a program (with nothing but the standard
library, so that it starts at once) it is the guardian.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

_GROUP, _FOLDER = "group", "folder"
_REMOVAL_TRIES = 100
_TRY_SECONDS = 0.05


@contextlib.contextmanager
def scratch(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a private folder for the duration, below `parent` or where temporary files go.

    Raises:
        OSError: it cannot be made.
    """
    prefix = f"tinymlaas-{purpose}-" if parent is None else f".tinymlaas-{purpose}-"
    # There before the folder is: while it starts we may be killed, and nobody would know of that.
    _guardian.begin()
    made = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    # Absolute, for the guardian has another working directory.
    with _watched(_FOLDER, os.path.abspath(made.name)), made as folder:
        yield Path(folder)


def remove_at_end(folder: str) -> None:
    """Have `folder` removed if we are killed; at an orderly end those who made it do that."""
    _guardian.add(_FOLDER, os.path.abspath(folder))
    atexit.register(_guardian.discard, _FOLDER, os.path.abspath(folder))


@contextlib.contextmanager
def group(pid: int) -> Iterator[None]:
    """Have the process group that `pid` leads killed if we end within this context."""
    scope = _scope.get()
    if scope is not None:
        scope.groups.add(pid)
    try:
        with _watched(_GROUP, str(pid)):
            yield
    finally:
        if scope is not None:
            scope.groups.discard(pid)


@contextlib.contextmanager
def cancellable(cancel: Callable[[], None]) -> Iterator[None]:
    """Have `cancel` called if the scope that we are in is ended within this context."""
    scope = _scope.get()
    if scope is not None:
        scope.cancels.append(cancel)
    try:
        yield
    finally:
        if scope is not None:
            scope.cancels.remove(cancel)


class Scope:
    """What threads have begun within it, to be ended without any other."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.groups: set[int] = set()
        self.cancels: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Count what this thread begins within this context as the scope's."""
        token = _scope.set(self)
        try:
            yield
        finally:
            _scope.reset(token)

    def kill_all(self) -> None:
        """End all that runs now; who waits for some of it sees it fail."""
        for cancel in self.cancels.copy():
            cancel()
        for pid in self.groups.copy():
            kill_group(pid)


_scope: ContextVar[Scope | None] = ContextVar("scope", default=None)


def rely_on_namespaces() -> None:
    """Guard nothing from here on: whatever this process starts ends with it in any case."""
    _guardian.idle = True


def kill_group(pid: int) -> None:
    """Kill every process of the group that `pid` leads, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _watched(kind: str, what: str) -> Iterator[None]:
    _guardian.add(kind, what)
    try:
        yield
    finally:
        _guardian.discard(kind, what)


class _Guardian:
    """Our end of the pipe; the process starts with the first thing to guard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: set[tuple[str, str]] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self.idle = False

    def begin(self) -> None:
        """Start the process if there is none."""
        if not self.idle:
            with self._lock:
                self._process = self._process or _start()

    def add(self, kind: str, what: str) -> None:
        if self.idle:
            return
        with self._lock:
            self._things.add((kind, what))
            if self._process is None or not _tell(self._process, "+", kind, what):
                self._process = _start()  # the first, or somebody has killed the one there was
                for thing in self._things:
                    _tell(self._process, "+", *thing)

    def discard(self, kind: str, what: str) -> None:
        with self._lock:
            self._things.discard((kind, what))
            if self._process is not None:
                _tell(self._process, "-", kind, what)

    def end(self) -> None:
        if self._process is not None:
            self._process.communicate()


def _tell(process: subprocess.Popen[bytes], sign: str, kind: str, what: str) -> bool:
    """Write one order; return whether the guardian is still there to read it."""
    assert process.stdin is not None  # noqa: S101 - for the type checker: we asked for a pipe
    try:
        process.stdin.write(f"{sign}{kind} {os.fsencode(what).hex()}\n".encode())
        process.stdin.flush()
    except (BrokenPipeError, ValueError):  # it has died, or we are at our very end
        return False
    return True


def _start() -> subprocess.Popen[bytes]:
    # A session of its own, so that what is sent to our group or terminal does not reach it; no
    # descriptor of ours, so that nobody who reads our output waits for it.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=os.sep,
        start_new_session=True,
    )


_guardian = _Guardian()
atexit.register(_guardian.end)


def _guard(orders: IO[bytes]) -> None:
    """Follow `orders` until they end, then kill and remove what is left."""
    left: dict[str, set[str]] = {_GROUP: set(), _FOLDER: set()}
    for order in orders:
        if not order.endswith(b"\n"):
            break  # we were killed in the middle of a word
        verb, what = order.decode().split()
        change = set.add if verb[0] == "+" else set.discard
        change(left[verb[1:]], os.fsdecode(bytes.fromhex(what)))
    for pid in map(int, left[_GROUP]):
        kill_group(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)  # it may not yet have become the leader of its group
    _remove(left[_FOLDER])


def _remove(folders: Iterable[str]) -> None:
    """Remove `folders`; those killed a moment ago may still be writing into them."""
    for folder in folders:
        for _ in range(_REMOVAL_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.lexists(folder):
                break
            time.sleep(_TRY_SECONDS)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when we do, not before
    _guard(sys.stdin.buffer)
