"""The job's own process: gives up every power, then calls what was asked, and answers."""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import signal
import socket
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tinymlaas.contract.errors import CompilerCrashed, TinymlaasError
from workers import guardian
from workers.sandbox import codec, errors, linux, seccomp
from workers.sandbox.frames import ERROR, VALUE, Order
from workers.sandbox.limits import Limits
from workers.sandbox.proc import Processes

_ANSWER, _FIRST_CLOSED = 3, 4
_VARIABLES = ("PATH", "LANG", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Ends:
    """The job's ends: pipes for its answer and for what it prints, a socket to its supervisor."""

    answer: int
    log: int
    letterbox: socket.socket


def perform(order: Order, folder: Path, ends: Ends, processes: Processes | None) -> NoReturn:
    """Do `order` in `folder`; `processes` are those of our namespaces, None if we have none.

    Ends the process, and never with an exception.
    """
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        linux.die_with_parent(signal.SIGKILL)
        if processes is not None:
            processes.show_ourselves()
        _settle(folder)
        _limit(order.limits)
        letterbox = _descriptors(ends)
        _give_up(order.filter, letterbox, bare=processes is None)
        _answer(order)
        status = 0
    except BaseException:  # whatever it is, it ends here: we are a fork of somebody else's process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _settle(folder: Path) -> None:
    """Have `folder` be all that we know of the world."""
    kept = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=str(folder), TMPDIR=str(folder))
    os.chdir(folder)
    tempfile.tempdir = str(folder)


def _limit(limits: Limits) -> None:
    for kind, most in (
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.files),
        (resource.RLIMIT_NPROC, limits.threads + 3),  # it counts threads; two are the supervisors'
        (resource.RLIMIT_CPU, limits.cpu),
        (resource.RLIMIT_NOFILE, limits.descriptors),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 64 << 10),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _descriptors(ends: Ends) -> socket.socket:
    """Keep what is said, the answer's end and the letterbox; close all else."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    letterbox = ends.letterbox.detach()
    high = [os.dup2(each, 200 + i) for i, each in enumerate((nothing, ends.log, ends.answer))]
    letter = os.dup2(letterbox, 210)
    os.dup2(high[0], 0)
    os.dup2(high[1], 1)
    os.dup2(high[1], 2)
    os.dup2(high[2], _ANSWER, inheritable=False)
    os.dup2(letter, _FIRST_CLOSED, inheritable=False)
    os.closerange(_FIRST_CLOSED + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return socket.socket(fileno=_FIRST_CLOSED)


def _give_up(program: bytes, letterbox: socket.socket, *, bare: bool) -> None:
    """Give up capabilities and all but the system calls allowed."""
    if not bare:
        guardian.rely_on_namespaces()
        linux.drop_capabilities()
        linux.gain_nothing_by_exec()
        listener = seccomp.install(program)
        socket.send_fds(letterbox, [b"."], [listener])
        os.close(listener)
    letterbox.close()


def _answer(order: Order) -> None:
    """Call what was asked and write what came of it to the answer's pipe."""
    module, _, name = order.function.partition(":")
    try:
        arguments = pickle.loads(order.arguments)  # noqa: S301 - from outside, our own
        value = getattr(importlib.import_module(module), name)(*arguments)
        data = VALUE + codec.encode(value)
    except TinymlaasError as error:
        data = ERROR + errors.encode(error).encode()
    except MemoryError:
        data = ERROR + errors.encode(CompilerCrashed(f"{name} ran out of memory")).encode()
    with open(_ANSWER, "wb", closefd=False) as pipe:
        pipe.write(data)
