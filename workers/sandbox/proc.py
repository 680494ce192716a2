"""A job's /proc, and what its supervisor reads of the job's processes.

Where the kernel lets us, a job has a procfs of its own, which shows its own processes only. In a
container it does not: the runtime hides parts of /proc, and a procfs of ours would show them
(mount_too_revealing() in fs/namespace.c). There a job's /proc is a folder with a few facts about
the machine and with one process, the job's own (TensorFlow wants to know its program); `self`
leads that process to itself and its children nowhere. The supervisor keeps the container's /proc by
a descriptor that no job has once it is asked to do anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox import linux

PROC = "/proc"
# What libraries and compilers ask a machine for when they choose how many threads to start, how
# large a cache is and how to take memory. None is about a process.
_FACTS = (
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
    "sys/kernel/osrelease",
    "sys/kernel/pid_max",
    "sys/kernel/threads-max",
    "sys/vm/max_map_count",
    "sys/vm/overcommit_memory",
)
_LINKS = {"mounts": "self/mounts", "net": "self/net"}
_LEAST_PIDS = 301  # the kernel takes no smaller kernel.pid_max
_PLAIN = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_MEMORY = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:", b"HugetlbPages:")
_NO_PROCESS = (errno.ESRCH, errno.EINVAL, errno.ENOENT)
_MOST_BYTES = 1 << 16  # of a status or a fdinfo
_ROOM = "size=64k,nr_inodes=64,mode=0755"


@dataclass(frozen=True)
class Usage:
    """What a process holds: threads, and bytes of memory in no file, with its page tables."""

    threads: int
    memory: int


@dataclass(frozen=True)
class _Status:
    """What proc(5)'s status says: `inside` is the pid in each namespace; no `memory`: gone."""

    threads: int
    memory: int | None
    inside: tuple[int, ...]


class Processes:
    """The processes of one job but its first, our own, as an open /proc shows them."""

    def __init__(self, descriptor: int, *, own: bool) -> None:
        """Read by `descriptor`, of the job's `own` /proc or of one that shows others as well."""
        self._proc = descriptor
        self._own = own
        self._depth = 1 if own else len(self._status("self/status").inside)

    def usages(self) -> Iterator[Usage]:
        """Yield what each holds now; who ends meanwhile is left out.

        Raises:
            OSError: they cannot be told or read here, so that no limit would hold.
        """
        for name in os.listdir(self._proc):
            if not name.isdecimal():
                continue
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = self._status(f"{name}/status")
                if status.inside[-1] != 1 and self._is_of_job(int(name), status):
                    yield self._usage(name, status)

    def show_ourselves(self) -> None:
        """Have this process in the job's /proc; to be called by it while it still may mount.

        Raises:
            OSError: the kernel does not let us.
        """
        if self._own:
            return
        pid = os.readlink("self", dir_fd=self._proc)
        os.mkdir(f"{PROC}/{pid}")
        os.fchdir(self._proc)
        linux.bind_read_only(pid, f"{PROC}/{pid}", _PLAIN)
        os.chdir("/")
        linux.mount("tmpfs", PROC, _PLAIN | linux.MS_RDONLY | linux.MS_REMOUNT)

    def _is_of_job(self, pid: int, status: _Status) -> bool:
        """Return whether `pid` is the process of that number in our own pid namespace."""
        if self._own:
            return True
        if len(status.inside) != self._depth:
            return False
        try:
            found = os.pidfd_open(status.inside[-1])
        except OSError as error:
            if error.errno in _NO_PROCESS:  # ours of that number is a thread, or nobody
                return False
            raise
        try:
            # Whose pid that is in the namespace of the /proc that we read by.
            return b"\nPid:\t%d\n" % pid in self._read(f"self/fdinfo/{found}")
        finally:
            os.close(found)

    def _usage(self, name: str, status: _Status) -> Usage:
        """Return what process `name` holds. Once its first thread has ended, another one knows."""
        if status.memory is None:
            for thread in self._threads(name):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found = self._status(f"{name}/task/{thread}/status").memory
                    if found is not None:
                        return Usage(status.threads, found)
        return Usage(status.threads, status.memory or 0)

    def _threads(self, name: str) -> list[str]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        folder = os.open(f"{name}/task", flags, dir_fd=self._proc)
        try:
            return os.listdir(folder)
        finally:
            os.close(folder)

    def _status(self, path: str) -> _Status:
        """Return what is said of a process or thread.

        The first line is a name that the process chooses: lines end at a line feed and nowhere
        else, and ours are told by how they begin.
        """
        threads, memory = 0, None
        inside: tuple[int, ...] = (0,)
        for line in self._read(path).split(b"\n"):
            if line.startswith(b"Threads:"):
                threads = int(line.split()[1])
            elif line.startswith(b"NSpid:"):
                inside = tuple(map(int, line.split()[1:]))
            elif line.startswith(_MEMORY):
                memory = (memory or 0) + (int(line.split()[1]) << 10)
        return _Status(threads, memory, inside)

    def _read(self, path: str) -> bytes:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            return os.read(file, _MOST_BYTES)
        finally:
            os.close(file)


def mount(staging: str, threads: int) -> Processes:
    """Give the job its /proc, for at most `threads` threads; `staging` is a folder to mount on.

    Raises:
        OSError: the kernel does not let us.
    """
    outer = os.open(PROC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        linux.mount("proc", PROC, _PLAIN)
    except PermissionError:
        _mount_facts(staging)
        return Processes(outer, own=False)
    os.close(outer)
    if linux.pids_have_a_limit_of_their_own():
        with contextlib.suppress(OSError):  # a second wall only: we count them as well
            Path(PROC, "sys/kernel/pid_max").write_text(str(max(threads, _LEAST_PIDS)))
    # Read-only, for /proc/sys of a root user's machine is root's to write.
    linux.mount("proc", PROC, _PLAIN | linux.MS_RDONLY | linux.MS_REMOUNT)
    return Processes(os.open(PROC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), own=True)


def _mount_facts(staging: str) -> None:
    """Cover /proc with a folder that has nothing but facts."""
    linux.mount("tmpfs", staging, _PLAIN, _ROOM)
    for name in _FACTS:
        source, place = Path(PROC, name), Path(staging, name)
        if source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            linux.bind_read_only(str(source), str(place), _PLAIN)
    for name, target in _LINKS.items():
        Path(staging, name).symlink_to(target)
    # The link itself, which is another one for each process that looks, and not where it leads us.
    link = os.open(f"{PROC}/self", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    Path(staging, "self").touch()
    linux.bind(f"{PROC}/self/fd/{link}", f"{staging}/self")
    os.close(link)
    linux.move_mount(staging, PROC)
