"""The supervisor of one job: the first process of its namespaces, trusted, deaf to the job.

It prepares what the job sees, starts it, hands on what it says and ends with it; the kernel then
ends whatever is left. It also counts what no limit of Linux counts: the memory of all processes
together, and processes where the user is root (whose number RLIMIT_NPROC does not limit).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import NoReturn

from workers.sandbox import linux, perform, proc, seccomp
from workers.sandbox.bubblewrap import JOB
from workers.sandbox.frames import (
    ANSWER,
    CHUNK,
    END,
    LOG,
    REFUSED,
    Broken,
    Order,
    frame,
    receive_order,
)
from workers.sandbox.limits import Limits

_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 10  # the outside ends what is late; this is for an outside that is stopped
_INODES_PER_MIB = 64
_SHARED_MEMORY = 64 << 20
_PIPE_BYTES = 2 << 20  # twice what a pipe holds at most without privileges
_SHM = "/dev/shm"  # noqa: S108 - the job's own
_NOTHING = linux.MS_NOSUID | linux.MS_NODEV


def supervise(connection: socket.socket, bare: Path | None) -> NoReturn:
    """Do one job; `bare` is its folder where there are no namespaces. Ends the process."""
    linux.die_with_parent(signal.SIGKILL)
    linux.be_opaque()
    try:
        order = receive_order(connection)
        try:
            folder, processes = (bare, None) if bare else _prepare(order.limits)
        except OSError as error:
            _end(connection, {"reason": "setup", "said": str(error)})
        else:
            _Job(connection, order, folder, processes).run()
    except (Broken, OSError):  # whoever asked has gone
        pass
    except (
        BaseException
    ):  # no job makes us fall, but if one did, that would be its end and not ours
        traceback.print_exc()
        with contextlib.suppress(OSError):
            _end(connection, {"reason": "supervisor"})
    finally:
        os._exit(0)


def enter_namespaces() -> None:
    """Leave all namespaces; the next process we fork is the first of the new ones.

    Raises:
        OSError: the kernel does not let us.
    """
    user, group = os.getuid(), os.getgid()
    linux.unshare(linux.ALL_NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _prepare(limits: Limits) -> tuple[Path, proc.Processes]:
    """Mount what the job has for itself; return its folder and what shows its processes."""
    linux.make_mounts_private()
    processes = proc.mount(JOB, limits.threads)
    inodes = limits.files // (1 << 20) * _INODES_PER_MIB
    linux.mount("tmpfs", JOB, _NOTHING, f"size={limits.files},nr_inodes={inodes},mode=0700")
    linux.mount("tmpfs", _SHM, _NOTHING, f"size={_SHARED_MEMORY},nr_inodes=1024,mode=0700")
    folder = Path(JOB, "work")
    folder.mkdir()
    return folder, processes


def _end(connection: socket.socket, what: dict[str, object]) -> None:
    connection.sendall(frame(END, json.dumps(what).encode()[:CHUNK]))


class _Uncounted(Exception):
    """What a job holds is not to be seen."""


class _Job:
    """The job's process and what comes from it."""

    def __init__(
        self,
        connection: socket.socket,
        order: Order,
        folder: Path,
        processes: proc.Processes | None,  # None: there are no namespaces
    ) -> None:
        self._connection = connection
        self._limits = order.limits
        self._others = processes
        self._deadline = time.monotonic() + order.limits.seconds + _GRACE_SECONDS
        self._refused: set[int] = set()
        self._left = {ANSWER: order.limits.answer, LOG: order.limits.log}
        answer, log = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            ends = perform.Ends(answer[1], log[1], theirs)
            perform.perform(order, folder, ends, processes)
        os.close(answer[1])
        os.close(log[1])
        theirs.close()
        self._pipes = {answer[0]: ANSWER, log[0]: LOG}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
        self._letterbox: socket.socket | None = ours
        self._listener: int | None = None
        self._process = os.pidfd_open(self._pid)

    def run(self) -> None:
        """Hand on what the job says until it ends or does what it must not."""
        poll = select.poll()
        for descriptor in (*self._pipes, self._process, self._letterbox):
            poll.register(descriptor, select.POLLIN)  # type: ignore[arg-type]
        poll.register(self._connection, select.POLLRDHUP)
        try:
            self._watch(poll)
        except _Uncounted as error:
            _end(self._connection, {"reason": "setup", "said": str(error)})

    def _watch(self, poll: select.poll) -> None:
        self._count()  # at once: where it cannot be done, a job that does nothing tells of it
        look = 0.0
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(_LOOK_SECONDS * 1000)}
            if self._connection.fileno() in ready:
                return
            if self._letterbox is not None and self._letterbox.fileno() in ready:
                self._hear(poll)
            if self._listener in ready:
                self._refuse()
            for pipe in ready & self._pipes.keys():
                if not self._hand_on(pipe):
                    poll.unregister(pipe)
            if self._process in ready:
                return self._ended()
            if time.monotonic() >= look:
                look = time.monotonic() + _LOOK_SECONDS
                if reason := self._excess():
                    return _end(self._connection, {"reason": reason})

    def _hear(self, poll: select.poll) -> None:
        """Take the descriptor at which the kernel asks us about calls that are not allowed."""
        assert self._letterbox is not None  # noqa: S101 - for the type checker
        poll.unregister(self._letterbox)
        _, descriptors, _, _ = socket.recv_fds(self._letterbox, 1, 1)
        self._letterbox.close()
        self._letterbox = None
        if descriptors:
            self._listener = descriptors[0]
            poll.register(self._listener, select.POLLIN)

    def _refuse(self) -> None:
        assert self._listener is not None  # noqa: S101 - for the type checker
        number = seccomp.refuse(self._listener)
        if number is not None and number not in self._refused and len(self._refused) < 100:
            self._refused.add(number)
            self._connection.sendall(frame(REFUSED, str(number).encode()))

    def _hand_on(self, pipe: int) -> bool:
        """Pass on what there is at `pipe`; False at its end."""
        kind = self._pipes[pipe]
        try:
            data = os.read(pipe, CHUNK)
        except BlockingIOError:
            return True
        taken = data[: max(self._left[kind], 0)]
        if taken:
            self._connection.sendall(frame(kind, taken))
        self._left[kind] -= len(data)
        if self._left[kind] < 0 and kind == ANSWER:
            _end(self._connection, {"reason": "answer"})
            os._exit(0)
        return bool(data)

    def _ended(self) -> None:
        """Pass on what is left in the pipes of a job that has ended, and say how it did."""
        _, status = os.waitpid(self._pid, 0)
        if self._others is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    -1, signal.SIGKILL
                )  # all but us: nobody fills the pipes while we empty them
        for pipe in self._pipes:
            left = self._left[self._pipes[pipe]]
            while self._has_more(pipe) and self._hand_on(pipe):
                if self._left[self._pipes[pipe]] < left - _PIPE_BYTES:
                    break  # a process outside of any namespace still writes
        _end(self._connection, {"status": os.waitstatus_to_exitcode(status)})

    @staticmethod
    def _has_more(pipe: int) -> bool:
        return bool(select.select([pipe], [], [], 0)[0])

    def _excess(self) -> str:
        """Say what there is too much of, if anything; and reap what the job has orphaned."""
        self._reap()
        if time.monotonic() > self._deadline:
            return "time"
        if self._others is None:
            return ""
        processes, threads, memory = self._count()
        for place in (JOB, _SHM):
            facts = os.statvfs(place)
            memory += (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        if processes > self._limits.processes:
            return "processes"
        if threads > self._limits.threads:
            return "threads"
        return "memory" if memory > self._limits.memory else ""

    def _count(self) -> tuple[int, int, int]:
        """Return how many processes and threads there are, and the bytes that they hold.

        Raises:
            _Uncounted: that is not to be seen, so that no limit would hold.
        """
        if self._others is None:
            return 0, 0, 0
        try:
            found = list(self._others.usages())
        except OSError as error:
            raise _Uncounted(f"a job's processes cannot be counted: {error}") from error
        if not found:  # its first one is there until we wait for it
            raise _Uncounted("a job's processes cannot be counted: none is to be seen in /proc")
        return len(found), sum(x.threads for x in found), sum(x.memory for x in found)

    def _reap(self) -> None:
        """Collect orphans, which become ours; the job's own process is waited for elsewhere."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == self._pid:
                return
            os.waitpid(found.si_pid, 0)
