"""A hostile compiler as a fixture: one program, an attack for each value of its option `does`.

    with planted(tmp_path) as plan:
        compiler = install(tmp_path / "hostile", plan)   # a CommandCompiler

The modules beside this one are the compiler's, not the tests': they know nothing of the service.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import workers
from tests.services import stub_compiler

NEEDLE = "planted" + secrets.token_hex(8)
_ROOTS = ("/tmp", "/home", "/root", "/var", "/run", "/dev/shm", "/mnt", "/srv", "/opt", "/job")
_IPC_RMID, _IPC_CREAT = 0, 0o1000


@dataclass
class Planted:
    """What an attack could get hold of, and what has come of it as seen from outside."""

    folder: Path
    plan: dict[str, Any]
    heard: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.plan[name]

    def harm(self) -> list[str]:
        """Say what is not as it was; empty if all is."""
        plan, found = self.plan, []
        for name in ("secret", "other", "removable"):
            if Path(plan[name]).read_text() != self._content:
                found.append(f"{plan[name]} was changed")
        found += [f"heard by {name}" for name in self.heard]
        for folder in (plan["tmp"], "/dev/shm", plan["store"], plan["cache"], plan["home"]):
            if Path(folder, plan["written_name"]).exists():
                found.append(f"{folder}/{plan['written_name']} is there")
        if Path(plan["written_path"]).exists():
            found.append(f"{plan['written_path']} is there")
        found += [f"process {pid} goes on" for pid in self.lasting()]
        if _state(plan["victim"]) == "Z":
            found.append("the victim was killed")
        return found

    def repair(self) -> None:
        """Take away what an attack has left outside of our folder."""
        for folder in (self.plan["tmp"], "/dev/shm"):
            Path(folder, self.plan["written_name"]).unlink(missing_ok=True)
        for pid in self.lasting():
            os.kill(pid, signal.SIGKILL)

    def lasting(self) -> list[int]:
        """Processes that an attack has left."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if self.plan["lasting"].encode() in words:
                    found.append(int(pid))
        return found

    @property
    def _content(self) -> str:
        return f"{NEEDLE}: a secret\n"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def planted(folder: Path, *, canary: bool = False) -> Iterator[Planted]:
    """Plant secrets, servers and a victim; all are taken away again.

    With `canary` what is written stays, for the test to see it and take it away.
    """
    token = secrets.token_hex(6)
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}-{token}" for name in ("secret", "other", "removable")}
    for path in paths.values():
        path.write_text(f"{NEEDLE}: a secret\n")
    folders = {name: folder / name for name in ("store", "home", "cache")}
    for made in folders.values():
        made.mkdir()
        (made / "file").touch()
    plan = {name: str(path) for name, path in (paths | folders).items()} | {
        "canary": canary,
        "needle": NEEDLE[::-1],
        "roots": [str(folder)] if canary else list(_ROOTS),
        "planted_name": paths["secret"].name,
        "written_name": f"hostile-{token}",
        "written_path": str(folder / f"written-{token}"),
        "tmp": tempfile.gettempdir(),
        "service": str(Path(workers.__file__).parent),
        "hostname": os.uname().nodename,
        "lasting": f"lasting-{token}",
    }
    found = Planted(folder, plan)
    with contextlib.ExitStack() as stack:
        plan |= stack.enter_context(_servers(folder, token, found))
        plan["shared_memory"] = stack.enter_context(_shared_memory())
        plan["victim"] = stack.enter_context(_victim())
        yield found


def install(folder: Path, plan: Planted) -> Path:
    """Put the compiler and its plan into `folder`, which is made; return it."""
    folder.mkdir()
    for source in Path(__file__).parent.glob("*.py"):
        if source.name != "__init__.py":
            shutil.copy(source, folder / source.name)
    shutil.copy(Path(stub_compiler.__file__).parent / "elf.py", folder / "elf.py")
    (folder / "plan.json").write_text(json.dumps(plan.plan))
    command = '["python3", "-I", "-S", "program.py"]'
    (folder / "compiler.toml").write_text(f'name = "hostile"\nversion = "1"\ncommand = {command}\n')
    return folder


@contextlib.contextmanager
def _victim() -> Iterator[int]:
    """A process with the secret in its environment and its command line, which may be killed."""
    sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)", NEEDLE]
    process = subprocess.Popen(sleeper, env={"SECRET": NEEDLE})
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _shared_memory() -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    key = secrets.randbits(30) | 1
    identity = libc.shmget(key, 4096, _IPC_CREAT | 0o600)
    if identity < 0 and ctypes.get_errno() == errno.EPERM:
        yield key  # a pod's seccomp profile: nobody there has any
        return
    assert identity >= 0
    try:
        yield key
    finally:
        libc.shmctl(identity, _IPC_RMID, None)


@contextlib.contextmanager
def _servers(folder: Path, token: str, found: Planted) -> Iterator[dict[str, Any]]:
    """Listen in every way that an attack tries, and answer; who is heard is noted."""
    halt = threading.Event()
    abstract, datagram = f"hostile-{token}", f"hostile-d-{token}"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        # The path of a socket has at most 107 bytes, which pytest's folders are beyond.
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="h-"))
        servers = {"tcp": tcp, "udp": udp}
        for name, kind, address in (
            ("unix", socket.SOCK_STREAM, f"{short}/s"),
            ("abstract", socket.SOCK_STREAM, "\0" + abstract),
            ("abstract_datagram", socket.SOCK_DGRAM, "\0" + datagram),
        ):
            servers[name] = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            servers[name].bind(address)
            if kind == socket.SOCK_STREAM:
                servers[name].listen()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        threads = [
            threading.Thread(target=_serve, args=(name, server, halt, found))
            for name, server in servers.items()
        ]
        threads.append(threading.Thread(target=_visit, args=(port, halt, found)))
        for thread in threads:
            thread.start()
        try:
            yield {
                "tcp": tcp.getsockname()[1],
                "udp": udp.getsockname()[1],
                "unix": f"{short}/s",
                "abstract": abstract,
                "abstract_datagram": datagram,
                "bind": port,
            }
        finally:
            halt.set()
            for thread in threads:
                thread.join()


def _serve(name: str, server: socket.socket, halt: threading.Event, found: Planted) -> None:
    server.settimeout(0.1)
    while not halt.is_set():
        with contextlib.suppress(TimeoutError):
            if server.type == socket.SOCK_DGRAM:
                _, who = server.recvfrom(100)
                if who:
                    server.sendto(b"answered", who)
            else:
                with server.accept()[0] as made:
                    made.recv(100)
                    made.sendall(b"answered")
            found.heard.append(name)


def _visit(port: int, halt: threading.Event, found: Planted) -> None:
    """Try to reach whoever may listen at `port`."""
    while not halt.wait(0.1):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as made:
            made.sendall(b"from outside")
            found.heard.append("bind")
