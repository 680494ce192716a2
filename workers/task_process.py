"""A task in a process of its own: it can be ended with all it has started, at any moment.

The parent (`workers.pool`) sees progress as it comes. The process itself only orchestrates and
speaks to the store: what touches a model or what a compiler made is done in jobs of the sandbox.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tinymlaas.contract.pool_messages import MAX_TAIL, PoolTask, TaskEnd, TaskStatus
from tinymlaas.contract.progress import Silent
from workers import child, guardian, sandbox
from workers.build import Workbench
from workers.child import last_line, launch
from workers.notes import Note, What, noted
from workers.tasks import perform

POLL_SECONDS = 0.1
_LOG_BYTES = 1024 * 1024
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Opener:
    """How the process opens its workbench: ``module:function`` called with `argument`.

    The function returns a `Workbench`; it is named, not passed, as stores do not travel.
    """

    function: str
    argument: Any = None

    def open(self) -> Workbench:
        """Return the workbench."""
        module, _, name = self.function.partition(":")
        bench: Workbench = getattr(importlib.import_module(module), name)(self.argument)
        return bench


class _Reporter(Silent):
    """`Progress` that tells the parent."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._turn = threading.Lock()

    def stage(self, who: str, what: str) -> None:
        self.note(what)

    def note(self, what: str | Note) -> None:
        """Tell a stage, or what is counted."""
        with contextlib.suppress(OSError), self._turn:  # a parent that has gone takes us with it
            self._pipe.send(what)


def _run(
    opener: Opener,
    task: bytes,
    worker: str,
    contained: sandbox.Settings,
    folder: str,
    pipe: Connection,
) -> None:
    os.setsid()  # a session of our own: the parent can kill all that we may start
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    tempfile.tempdir = folder
    # Else our own fork server's socket would lie in our parent's folder and take it along.
    multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]
    log = Path(folder) / "log"
    with log.open("ab", buffering=0) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    child.all_logs_to(log)
    sandbox.configure(contained)
    reporter = _Reporter(pipe)
    bench = replace(noted(opener.open(), reporter.note), progress=reporter)
    pipe.send(perform(PoolTask.model_validate_json(task), worker, bench))


@dataclass(frozen=True)
class Watch:
    """What the parent looks at while it waits.

    `told` gets each stage, and every `tail_seconds` the end of the log if there is more of it;
    `wanted` says whether to go on; `note` gets what is counted.
    """

    told: Callable[[str, str | None], None]
    wanted: Callable[[], bool]
    beat: Callable[[], None]
    tail_seconds: float = 1.0
    note: Callable[[Note], None] = lambda note: None


def run_task(task: PoolTask, worker: str, opener: Opener, watch: Watch) -> tuple[TaskEnd, bytes]:
    """Do `task` in a process of its own; return how it ended, and the end of its log.

    Its jobs are forked from the zygotes of this process, which are warm.
    """
    with guardian.scratch("task") as folder:
        receiver, sender = _context.Pipe(duplex=False)
        encoded = task.model_dump_json().encode()
        arguments = (opener, encoded, worker, sandbox.shared(), str(folder), sender)
        process = _context.Process(target=_run, args=arguments)
        launch(process)
        sender.close()
        assert process.pid is not None  # noqa: S101 - for the type checker: it was started
        with guardian.group(process.pid):
            try:
                end = _await(task, worker, receiver, process, folder / "log", watch)
            finally:
                receiver.close()
                _end(process)
        return end, _tail(folder / "log", _LOG_BYTES)


def _await(
    task: PoolTask, worker: str, receiver: Connection, process: Any, log: Path, watch: Watch
) -> TaskEnd:
    began = time.monotonic()
    ended = TaskEnd(
        task_id=task.task_id,
        action=task.action,
        pool=task.pool,
        worker=worker,
        status=TaskStatus.FAILED,
    )

    def failed(reason: str) -> TaskEnd:
        return ended.model_copy(update={"reasons": (reason,), "seconds": spent()})

    def spent() -> float:
        return time.monotonic() - began

    follow = _Follower(log, watch)
    while True:
        if not watch.wanted():
            return ended.model_copy(update={"status": TaskStatus.KILLED, "seconds": spent()})
        if spent() > task.seconds:
            return failed(f"the task took longer than {task.seconds:g} s and was stopped")
        watch.beat()
        follow.look(spent())
        if not receiver.poll(POLL_SECONDS):
            continue
        try:
            said = receiver.recv()
        except (EOFError, OSError):  # or killed in the middle of what it said
            process.join(2.0)
            return failed(_cause(process.exitcode, log))
        if isinstance(said, Note):
            watch.note(said)
            continue
        if isinstance(said, TaskEnd):
            follow.over()
            return said.model_copy(update={"seconds": spent()})
        follow.stage(said)


class _Follower:
    """Tells stages as they come, and the log as it grows."""

    def __init__(self, log: Path, watch: Watch) -> None:
        self._log = log
        self._watch = watch
        self._stage = "starting"
        self._size = 0
        self._next = 0.0
        self._since = time.monotonic()

    def stage(self, what: str) -> None:
        self.over()
        self._stage = what
        self._tell()

    def over(self) -> None:
        """Note how long the present stage took."""
        now = time.monotonic()
        self._watch.note(Note(What.STAGE, self._stage, seconds=now - self._since))
        self._since = now

    def look(self, now: float) -> None:
        """Tell the log's end if it has grown, not too often."""
        if now < self._next:
            return
        self._next = now + self._watch.tail_seconds
        with contextlib.suppress(OSError):
            if self._log.stat().st_size != self._size:
                self._tell()

    def _tell(self) -> None:
        said = _tail(self._log, MAX_TAIL)
        with contextlib.suppress(OSError):
            self._size = self._log.stat().st_size
        self._watch.told(self._stage, said.decode(errors="replace") or None)


def _cause(exitcode: int | None, log: Path) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the task was killed by {signal.Signals(-exitcode).name}"
    return f"the task crashed: {last_line(log)}"


def _end(process: Any) -> None:
    """End the process and all that it has started; its own guardian ends what left its group."""
    process.join(0.05)
    for _ in range(100):
        if not process.is_alive():
            break
        guardian.kill_group(process.pid)
        process.kill()
        process.join(0.05)
    guardian.kill_group(process.pid)
    process.close()


def _tail(log: Path, most: int) -> bytes:
    """Return the last bytes of the log, `most` at most."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - most, 0))
        return file.read(most)
    return b""
