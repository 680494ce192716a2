"""One container from outside: what it is made of, started and ended as a kubelet would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.pods import seccomp
from tests.unit.scaffold.project import ROOT, packages

PROFILE = ROOT / "deploy" / "node" / "seccomp" / "tinymlaas-worker.json"
UID = 10001
# The image's file system: this machine's programs and libraries, our Python and our packages.
_SYSTEM = ("/usr", "/etc", "/opt")
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
    profile: Path | None = PROFILE
    network: str = ""
    read_only_root: bool = True
    extra: Sequence[Path] = ()  # more of this machine that belongs to the image

    def spec(self, staging: Path) -> dict[str, object]:
        """Return what `runtime` is to make."""
        return {
            "arguments": list(self.arguments),
            "variables": image_variables() | dict(self.variables),
            "mounts": [each.told() for each in self.mounts],
            "files": {},
            "uid": self.uid,
            "gid": self.gid,
            "groups": list(self.groups),
            "directory": self.directory,
            "filter": seccomp.compiled(self.profile).hex() if self.profile else "",
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
    return sorted(path for path in found if os.path.isdir(path))


def image_variables() -> dict[str, str]:
    """Return what the image's `ENV` says: where its Python and our packages are."""
    beside = Path(sys.executable).parent
    return {
        "PATH": f"{beside}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }


@contextlib.contextmanager
def started(container: Container, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run it with its output in `log`; SIGKILL at the end if it has not ended."""
    with tempfile.TemporaryDirectory(prefix="pod-") as folder:
        staging = Path(folder, "root")
        staging.mkdir()
        told = Path(folder, "spec.json")
        told.write_text(json.dumps(container.spec(staging)))
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.pods.runtime", str(told)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def run(container: Container, log: Path, seconds: float = 120.0) -> tuple[int, str]:
    """Run it to its end; return its status and what it said."""
    with started(container, log) as process:
        status = process.wait(seconds)
    return status, log.read_text(errors="replace")
