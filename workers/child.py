"""Run one function in a child process of its own session, with a time limit.

Parsers and compilers are large native programs that may crash or hang; here they can only take
their own process with them. Children are forked from a fork server, so imports named in
`preload` are paid once per parent and not once per call.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tinymlaas.contract.errors import CompilerCrashed, TinymlaasError
from workers import guardian

_GRACE_SECONDS = 2.0
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
def _quiet(log: Path) -> Iterator[None]:
    """Send what native code prints into `log`: stdout belongs to our caller."""
    with log.open("ab", buffering=0) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        yield


def _child(
    function: str, args: tuple[Any, ...], scratch: str, log: str, answer: Connection
) -> None:
    os.setsid()  # a session of our own: the parent can kill all that we may start
    tempfile.tempdir = scratch  # goes away with the parent's, however we end
    # Else a fork server of our own would have its socket in our parent's folder, to be removed.
    multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]
    module, _, name = function.partition(":")
    with _quiet(Path(log)):
        try:
            result = getattr(importlib.import_module(module), name)(*args)
        except TinymlaasError as error:
            answer.send((False, error))
        except MemoryError:
            answer.send((False, CompilerCrashed(f"{name} ran out of memory")))
        else:
            answer.send((True, result))


def call(function: str, *args: Any, seconds: float, log: Path, what: str) -> Any:
    """Call `function` ("module:name") with picklable `args` in a child; return what it returns.

    Args:
        function: importable function, as ``package.module:name``.
        args: picklable arguments.
        seconds: wall-clock limit after which the child and all it started are killed.
        log: file that gets the child's stdout and stderr.
        what: the step's name for error messages.

    Raises:
        TinymlaasError: what the function itself raised of that family.
        CompilerCrashed: any other exception, a signal, or the time limit.
    """
    _guard_server()
    scratch, log = log.parent, log_of(log)
    before = _size(log)
    receiver, sender = _context.Pipe(duplex=False)
    arguments = (function, args, str(scratch), str(log), sender)
    process = _context.Process(target=_child, args=arguments, daemon=True)
    launch(process)
    sender.close()
    assert process.pid is not None  # noqa: S101 - for the type checker: it was started
    with guardian.group(process.pid):
        try:
            ok, value = _await_answer(receiver, process, seconds, (log, before), what)
        finally:
            receiver.close()
            _stop(process)
    if ok:
        return value
    raise value


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


def _await_answer(
    receiver: Connection,
    process: ForkServerProcess,
    seconds: float,
    log: tuple[Path, int],
    what: str,
) -> tuple[bool, Any]:
    if not receiver.poll(seconds):
        raise CompilerCrashed(f"{what} took longer than {seconds:g} s and was stopped")
    try:
        ok, value = receiver.recv()
    except (EOFError, OSError):  # or killed in the middle of its answer
        process.join(_GRACE_SECONDS)
        raise CompilerCrashed(_cause(process.exitcode, log, what)) from None
    return ok, value


def _cause(exitcode: int | None, log: tuple[Path, int], what: str) -> str:
    if exitcode is not None and exitcode < 0:
        return f"{what} was killed by {signal.Signals(-exitcode).name}"
    return f"{what} crashed: {last_line(*log)}"


def _size(log: Path) -> int:
    with contextlib.suppress(OSError):
        return log.stat().st_size
    return 0


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


def _stop(process: ForkServerProcess) -> None:
    deadline = time.monotonic() + _GRACE_SECONDS
    process.join(0.05)
    while process.is_alive() and time.monotonic() < deadline and process.pid is not None:
        guardian.kill_group(process.pid)
        process.kill()  # also before it had time to become a session leader
        process.join(0.05)
    if process.pid is not None and process.exitcode != 0:
        guardian.kill_group(process.pid)
    process.close()
