"""The process that jobs are forked from: started once, imports paid once, never sees an input.

    python -m workers.sandbox.zygote LISTENER BARE MODULE...

LISTENER is the number of a listening Unix socket's descriptor. Each connection to it is one job,
done by a fork of a fork (`supervise`); when the other side hangs up, the job is killed. BARE is
empty, or a folder for jobs where there is no sandbox.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox import linux, supervise
from workers.sandbox.frames import END, Broken, frame, receive_modules

_PATIENCE_SECONDS = 5.0
_LIFELINE = 0  # a pipe whose other end is held by whoever has started us, and closes with it


@dataclass
class _Running:
    """A job of ours: its first process, the connection that it answers on, its bare folder."""

    pid: int
    connection: socket.socket
    folder: Path | None


def main(arguments: list[str]) -> None:
    """Serve until whoever has started us has gone."""
    descriptor, bare, *modules = arguments
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that collecting in a fork does not copy every page
    listener = socket.socket(fileno=int(descriptor))
    _serve(listener, Path(bare) if bare else None)


def _serve(listener: socket.socket, bare: Path | None) -> None:
    ended, told = socket.socketpair()
    ended.setblocking(False)
    told.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(told.fileno())
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(ended, select.POLLIN)
    poll.register(_LIFELINE, select.POLLIN)
    running: dict[int, _Running] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                job = _begin(listener, bare)
                if job is not None:
                    running[job.connection.fileno()] = job
                    poll.register(job.connection, select.POLLRDHUP)
            elif descriptor == _LIFELINE:
                return
            elif descriptor == ended.fileno():
                with contextlib.suppress(BlockingIOError):
                    ended.recv(4096)
            elif descriptor in running:
                os.kill(running[descriptor].pid, signal.SIGKILL)
                poll.unregister(descriptor)
        for descriptor, job in list(running.items()):
            if os.waitpid(job.pid, os.WNOHANG)[0]:
                del running[descriptor]
                with contextlib.suppress(KeyError):
                    poll.unregister(descriptor)
                job.connection.close()
                if job.folder is not None:
                    shutil.rmtree(job.folder, ignore_errors=True)


def _begin(listener: socket.socket, bare: Path | None) -> _Running | None:
    """Take one connection and fork its job; None, and the other side told, if that fails."""
    connection, _ = listener.accept()
    _import(connection)
    try:
        folder = None if bare is None else Path(tempfile.mkdtemp(prefix="job-", dir=bare))
        pid = os.fork()
    except OSError as error:  # no process, no room: another time perhaps
        _say_setup_failed(connection, error)
        connection.close()
        return None
    if pid == 0:
        _first(connection, folder)
    return _Running(pid, connection, folder)


def _import(connection: socket.socket) -> None:
    """Import what the job will need, so that the next one finds it: the first pays for all."""
    connection.settimeout(_PATIENCE_SECONDS)
    try:
        missing = [name for name in receive_modules(connection) if name not in sys.modules]
    except (Broken, TimeoutError):
        return  # nobody is there; the job will notice
    finally:
        connection.settimeout(None)
    for name in missing:
        with contextlib.suppress(Exception):  # the job itself says what it lacks
            importlib.import_module(name)
    if missing:
        gc.collect()
        gc.freeze()


def _first(connection: socket.socket, bare: Path | None) -> None:
    """Become the job's first process: enter the namespaces and wait for the job in them."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a job to the first process: no matter
        linux.die_with_parent(signal.SIGKILL)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor not in (1, 2) and descriptor != connection.fileno():
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if bare is None:
            supervise.enter_namespaces()
        pid = os.fork()
        if pid == 0:
            supervise.supervise(connection, bare)
        os.waitpid(pid, 0)
        status = 0
    except OSError as error:
        _say_setup_failed(connection, error)
    finally:
        os._exit(status)


def _say_setup_failed(connection: socket.socket, error: OSError) -> None:
    said = {"reason": "setup", "said": str(error)}
    with contextlib.suppress(OSError):
        connection.sendall(frame(END, json.dumps(said).encode()))


if __name__ == "__main__":
    main(sys.argv[1:])
