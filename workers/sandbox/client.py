"""Call a function inside: the outside's end of a job."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinymlaas.contract.errors import CompilerCrashed, Failure, one_line
from workers import child, guardian
from workers.sandbox import errors, seccomp
from workers.sandbox.frames import (
    ANSWER,
    END,
    ERROR,
    LOG,
    REFUSED,
    VALUE,
    Broken,
    Order,
    receive,
    send_modules,
    send_order,
)
from workers.sandbox.limits import Limits, Step
from workers.sandbox.seccomp import Profile
from workers.sandbox.zygotes import Base, Settings, Zygotes

_PROFILES = {Step.INSPECT: Profile.PARSE, Step.REFERENCE: Profile.PARSE}
# What functions of these steps import themselves; the zygote does so once for all of them.
_LIBRARIES = {
    Step.INSPECT: (
        "onnx",
        "onnx.shape_inference",
        "tflite",
        "workers.models.quiet",
        "workers.models.onnx_shapes",
        "workers.models.onnx_summary",
        "workers.models.tflite_shapes",
        "workers.models.tflite_summary",
        "workers.models.memory",
    ),
    Step.REFERENCE: (
        "onnxruntime",
        "ai_edge_litert.interpreter",
        "workers.models.golden",
        "workers.models.reference",
    ),
}
_MIB = 1 << 20
BUBBLEWRAP, NONE = "bubblewrap", "none"
# Why a job ended otherwise than in order: a limit, a signal, its own fault, or the sandbox's.
REASONS = ("memory", "processes", "threads", "answer", "time", "cpu", "signal", "crash", "sandbox")
_on_stop: list[Callable[[Step, str], None]] = []
_zygotes = Zygotes()
atexit.register(_zygotes.close)


def configure(settings: Settings) -> None:
    """Have all jobs of this process run as `settings` say."""
    _zygotes.configure(settings)


def settings() -> Settings:
    """Return how jobs of this process run."""
    return _zygotes.settings


def on_stop(told: Callable[[Step, str], None]) -> None:
    """Have `told` called with the step of each job of this process that ends otherwise than in
    order, and with one of `REASONS`; by the thread that has called for the job.
    """
    _on_stop[:] = [told]


def kind() -> str:
    """Return what the jobs of this process run in, for reports and provenance."""
    return NONE if _zygotes.settings.unsafe else BUBBLEWRAP


def shared() -> Settings:
    """Return settings for a process that we start and that is to use our zygotes."""
    return _zygotes.shared()


def prepare(*, preload: Sequence[str] = (), readable: Sequence[Path] = ()) -> None:
    """Start the zygote that jobs with these will be forked from, if it does not run.

    Raises:
        Failure: there is no sandbox.
    """
    _zygotes.ensure(Base(tuple(preload), tuple(readable)))


def check() -> None:
    """Do nothing inside, and return once that is done.

    Raises:
        Failure: there is no sandbox here; says why.
    """
    log = Path("/dev/null")
    call(
        "workers.sandbox.inside:nothing",
        returns=None,
        step=Step.LINK,
        what="a test of the sandbox",
        log=log,
    )


def call(
    function: str,
    *args: Any,
    returns: Any,
    step: Step,
    what: str,
    log: Path = Path(os.devnull),
    seconds: float | None = None,
    readable: Sequence[Path] = (),
    preload: Sequence[str] = (),
    imports: Sequence[str] = (),
) -> Any:
    """Call `function` ("module:name") with picklable `args` in a sandbox; return what it returns.

    Args:
        function: importable function, as ``package.module:name``; its working directory is empty.
        args: picklable arguments.
        returns: type of the value, see `workers.sandbox.codec`.
        step: which limits it has.
        what: the step's name for error messages.
        log: file that gets what the job prints.
        seconds: wall-clock limit, where that is less than the step's.
        readable: folders that are visible inside.
        preload: modules that make a zygote of their own, for all jobs that name the same.
        imports: lighter modules, which whatever zygote it is imports before the first such job.

    Raises:
        TinymlaasError: what the function itself raised of that family (`workers.sandbox.errors`).
        CompilerCrashed: any other exception, a signal, a limit, or an answer that is none.
        Failure: there is no sandbox.
    """
    ours = _zygotes.settings
    limits = ours.limits[step]
    if seconds is not None:
        limits = replace(limits, seconds=min(int(seconds) or 1, limits.seconds))
    program = b"" if ours.unsafe else seccomp.compiled(_PROFILES.get(step, Profile.TOOLS))
    order = Order(function, limits, program, pickle.dumps(args, pickle.HIGHEST_PROTOCOL))
    base = Base(tuple(preload), tuple(readable))
    connection, zygote = _zygotes.connect(base)
    connection.settimeout(limits.seconds)
    with connection, _cancellable(connection), child.log_of(log).open("ab") as sink:
        with contextlib.suppress(OSError):  # what has gone wrong is told by the answer
            modules = (function.partition(":")[0], *imports, *_LIBRARIES.get(step, ()))
            send_modules(connection, modules)
            send_order(connection, order)
        said = _Conversation(what, step, limits, sink).listen(connection)
    if said is None:
        raise Failure(
            zygote.why()
            if zygote and zygote.has_died()
            else f"{what} was stopped: its sandbox was killed"
        )
    return _value(said, returns, what)


@contextlib.contextmanager
def _cancellable(connection: socket.socket) -> Iterator[None]:
    """Have the job end if the race it belongs to is over: it dies as we hang up."""

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    with guardian.cancellable(hang_up):
        yield


@dataclass
class _Conversation:
    """What a job says, until it ends."""

    what: str
    step: Step
    limits: Limits
    sink: Any

    def listen(self, connection: socket.socket) -> bytearray | None:
        """Return the job's answer, None if whoever runs it has gone.

        Raises:
            CompilerCrashed: there is none, and why.
        """
        answer = bytearray()
        deadline = time.monotonic() + self.limits.seconds
        last, printed = b"", 0
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                kind, data = receive(connection)
            except TimeoutError:
                break
            except Broken:
                return None
            if kind == LOG and (printed := printed + len(data)) <= self.limits.log:
                self.sink.write(data)
                self.sink.flush()
                last = (last + data)[-2048:]
            elif kind == REFUSED:
                self._note(data)
            elif kind == ANSWER and len(answer) + len(data) <= self.limits.answer:
                answer += data
            elif kind == END:
                self._check(data, last)
                return answer
            else:
                raise self._stopped("sandbox", ": its sandbox says what is nothing")
        raise self._stopped("time", f" took longer than {self.limits.seconds} s and was stopped")

    def _stopped(self, reason: str, said: str) -> CompilerCrashed:
        """Return the error for an end that is not in order, having told of it."""
        for told in _on_stop:
            told(self.step, reason)
        return CompilerCrashed(f"{self.what}{said}")

    def _note(self, data: bytes) -> None:
        number = int(data) if data.isdigit() and len(data) < 6 else -1
        line = f"sandbox: {self.what}: system call {seccomp.name_of(number)} refused\n"
        self.sink.write(line.encode())
        self.sink.flush()

    def _check(self, data: bytes, last: bytes) -> None:
        """Raise for any end but an orderly one."""
        try:
            said = json.loads(data)
            reason, status = said.get("reason"), said.get("status")
        except (ValueError, AttributeError, RecursionError):
            reason, status = "unreadable", None
        if reason == "setup":
            text = one_line(str(said.get("said")))[:200]
            raise Failure(f"there is no sandbox: {text}; docs/sandbox.md says what it needs")
        if reason is not None:
            known = reason if reason in REASONS else "sandbox"
            raise self._stopped(known, f" {self._excess(reason)}")
        if status == 0:
            return
        if isinstance(status, int) and status < 0:
            known = "cpu" if -status == signal.SIGXCPU else "signal"
            raise self._stopped(known, f" {_killed(-status, self.limits)}")
        lines = [line.strip() for line in last.decode(errors="replace").split("\n") if line.strip()]
        last_line = lines[-1][-400:] if lines else "it said nothing"
        raise self._stopped("crash", f" crashed: {last_line}")

    def _excess(self, reason: str) -> str:
        limits = self.limits
        told = {
            "memory": f"used more than {limits.memory // _MIB:,} MiB of memory and was stopped",
            "processes": f"started more than {limits.processes} processes and was stopped",
            "threads": f"started more than {limits.threads} threads and was stopped",
            "answer": f"answered with more than {limits.answer // _MIB:,} MiB",
            "time": f"took longer than {limits.seconds} s and was stopped",
        }
        return told.get(reason, "ended its sandbox")


def _killed(number: int, limits: Limits) -> str:
    if number == signal.SIGXCPU:
        return f"used more than {limits.cpu} s of processor time and was stopped"
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"was killed by signal {number}"


def _value(said: bytearray, kind: Any, what: str) -> Any:
    from workers.sandbox import codec  # loads numpy, which not every process needs

    try:
        if said[:1] == VALUE:
            return codec.decode(kind, memoryview(said)[1:])
        if said[:1] == ERROR:
            raise errors.decode(json.loads(said[1:]))
    except (codec.Malformed, ValueError, RecursionError) as error:
        raise CompilerCrashed(f"{what} answered with what is no answer: {error}") from None
    except MemoryError:
        raise CompilerCrashed(f"{what} answered with more than there is memory for") from None
    raise CompilerCrashed(f"{what} ended without an answer")
