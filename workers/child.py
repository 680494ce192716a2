"""The processes of tasks: forked from a fork server, and where what their tools say goes.

Imports named in `preload` are paid once per parent and not once per task.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.util
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tinymlaas.contract.errors import CompilerCrashed
from workers import guardian

_LOG_TAIL = 400

_context = multiprocessing.get_context("forkserver")
_main_hidden = threading.Lock()
_one_log: Path | None = None


def preload(*modules: str) -> None:
    """Have the fork server import `modules` before its first fork (no effect once it runs)."""
    _context.set_forkserver_preload([__name__, *modules])


def all_logs_to(log: Path) -> None:
    """Have all tools that this process starts append to `log`, whatever file is named for them.

    For a process that does one task, whose log somebody follows.
    """
    global _one_log  # noqa: PLW0603 - as stdout is, it is the whole process's
    _one_log = log


def log_of(log: Path) -> Path:
    """Return the file that a tool's output goes to: `log`, or the one log of the process."""
    return _one_log or log


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Hide our main module: children would import it anew, which takes them longer than the work.

    What they run is importable by its name, so they do not need it.
    """
    with _main_hidden:
        ours = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = ours


def launch(process: ForkServerProcess) -> None:
    """Start `process`, which runs what is importable by its name.

    Raises:
        CompilerCrashed: it cannot be started.
    """
    _guard_server()
    try:
        with _no_main():
            process.start()
    except OSError as error:  # the fork server's socket has a path of at most 107 bytes
        raise CompilerCrashed(
            f"no child process can be started with temporary files in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; set TMPDIR to a short path"
        ) from None
    except EOFError:  # the fork server died of it, or its child at once; the next try starts anew
        raise CompilerCrashed(
            "no child process can be started: is there too little memory, or too many processes?"
        ) from None


def warm_up() -> None:
    """Start the fork server now, so that the first child need not wait for what is preloaded."""
    _guard_server()
    with _no_main():
        forkserver.ensure_running()


@functools.cache
def _guard_server() -> None:
    """Have the folder with the fork server's socket removed however we end."""
    guardian.remove_at_end(multiprocessing.util.get_temp_dir())


def last_line(log: Path, since: int = 0) -> str:
    """Return the last non-blank line of `log`, shortened, or a remark that there is none.

    What the file held before its byte `since` is somebody else's.
    """
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - 2 * _LOG_TAIL, since))
        lines = file.read(2 * _LOG_TAIL).decode(errors="replace").split("\n")
        if said := [line.strip() for line in lines if line.strip()]:
            return said[-1][-_LOG_TAIL:]
    return "it said nothing"
