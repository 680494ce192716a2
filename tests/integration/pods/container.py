"""One container from outside: what it is made of, started and ended as a kubelet would."""

from __future__ import annotations

import contextlib
import json
import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.pods import cgroup, seccomp
from tests.unit.scaffold.project import ROOT, packages

UID = 10001
_KILLED = 137
# The image's file system: this machine's programs and libraries, our Python and our packages.
# Of /etc what an image has; the rest is this machine's.
_SYSTEM = ("/usr", *(f"/etc/{name}" for name in (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl", "nsswitch.conf", "passwd",
    "group", "protocols", "services", "mime.types", "fonts", "localtime",
)))  # fmt: skip
_LINKS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")


@dataclass(frozen=True)
class Mount:
    """What is seen at `at`: `source` of this machine, or a tmpfs of `size` bytes if it is None."""

    at: str
    source: Path | None = None
    size: int | None = None
    read_only: bool = False

    def told(self) -> dict[str, object]:
        """Return it as `runtime` reads it."""
        source = None if self.source is None else str(self.source)
        return {"at": self.at, "source": source, "size": self.size, "read_only": self.read_only}


@dataclass(frozen=True)
class Container:
    """A command with all that a runtime is told of it."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    uid: int = UID
    gid: int = UID
    groups: Sequence[int] = ()
    directory: str = "/"
    filter: bytes = field(default_factory=lambda: seccomp.compiled(seccomp.worker()))
    network: str = ""
    hostname: str = "pod"
    memory: int | None = None  # of all its processes, where this machine can limit it
    files: Mapping[str, str] = field(default_factory=dict)  # what the kubelet writes, /etc/hosts
    read_only_root: bool = True
    extra: Sequence[Path] = ()  # more of this machine that belongs to the image

    def spec(self, staging: Path) -> dict[str, object]:
        """Return what `runtime` is to make."""
        return {
            "arguments": list(self.arguments),
            "variables": image_variables() | dict(self.variables),
            "mounts": [each.told() for each in self.mounts],
            "files": dict(self.files),
            "hostname": self.hostname,
            "uid": self.uid,
            "gid": self.gid,
            "groups": list(self.groups),
            "directory": self.directory,
            "filter": self.filter.hex(),
            "network": self.network,
            "read_only_root": self.read_only_root,
            "image": image(self.extra),
            "links": {link: os.readlink(link) for link in _LINKS if os.path.islink(link)},
            "staging": str(staging),
            "descriptors": 65536,
        }


def image(extra: Sequence[Path] = ()) -> list[str]:
    """Return the folders of this machine that stand for the image's."""
    prefixes = {sys.prefix, sys.base_prefix}
    found = {*_SYSTEM, *prefixes, *(str(ROOT / name) for name in packages())}
    found |= {link for link in _LINKS if os.path.isdir(link) and not os.path.islink(link)}
    found |= {str(each) for each in extra}
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return sorted(path for path in found if os.path.exists(path))


def image_variables() -> dict[str, str]:
    """Return what the image's `ENV` says: where its Python and our packages are."""
    beside = Path(sys.executable).parent
    return {
        "PATH": f"{beside}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
    }


class Running:
    """A container that was started, or is to be; what it says is in `log`."""

    def __init__(self, container: Container, log: Path) -> None:
        """Start nothing yet."""
        self._container, self._log = container, log
        self._hold = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        folder = Path(self._hold.enter_context(tempfile.TemporaryDirectory(prefix="pod-")))
        staging = folder / "root"
        staging.mkdir()
        group = cgroup.make(self._container.memory) if self._container.memory else None
        if group is not None:
            self._hold.callback(cgroup.remove, group)
        spec = self._container.spec(staging) | {"cgroup": str(group or "")}
        told = folder / "spec.json"
        told.write_text(json.dumps(spec))
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.pods.runtime", str(told)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._started.poll() is None

    @property
    def pid(self) -> int | None:
        """Its first process, as this machine numbers it; None before it is there."""
        found = _children(self._started.pid) if self.runs else []
        return found[0] if found else None

    def children(self) -> list[int]:
        """What its first process has started, or was left."""
        pid = self.pid
        return [] if pid is None else _children(pid)

    def said(self) -> str:
        """Return the end of what it has said."""
        return self._log.read_text(errors="replace")[-4000:]

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.runs:
            self._started.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its status; it is killed after `seconds`: 137."""
        try:
            return self._started.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return _KILLED
        finally:
            self._hold.close()

    def kill(self) -> None:
        """SIGKILL, which takes all of its processes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._hold.close()

    def execute(self, command: Sequence[str], uid: int) -> int:
        """Run a command within, in its network too, as exec probes do; return its status."""
        pid = self.pid
        if pid is None:
            return 1
        inside = ["nsenter", "-t", str(pid), "-m", "-n", "-p", "-S", str(uid), "-G", str(uid)]
        return subprocess.run([*inside, *command], capture_output=True, check=False).returncode


def _children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in found for word in text.split()]


def run(container: Container, log: Path, seconds: float = 120.0) -> tuple[int, str]:
    """Run it to its end; return its status and all that it said."""
    running = Running(container, log)
    running.start()
    status = running.wait(seconds)
    return status, log.read_text(errors="replace")
