"""The outer wall: the command that starts a zygote in bubblewrap (bwrap(1))."""

from __future__ import annotations

import os
import shutil
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinymlaas.contract.errors import Failure

_PACKAGES = ("tinymlaas", "storage", "workers")
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
_PROCESSORS = "/sys/devices/system/cpu"
_UNKNOWN_USER = "1000"
_IMPORT_BYTES = str(64 << 20)
JOB = "/job"  # where each job mounts its own tmpfs; not /tmp, as our environment may lie there


def command(program: Sequence[str], readable: Sequence[Path]) -> list[str]:
    """Return the command line that runs `program` inside, `readable` folders visible.

    Raises:
        Failure: bubblewrap is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise Failure("there is no sandbox: apt-get install bubblewrap")
    return [
        found,
        "--unshare-all",
        "--die-with-parent",
        *("--uid", _UNKNOWN_USER, "--gid", _UNKNOWN_USER),
        *("--hostname", "sandbox"),
        *("--cap-drop", "ALL"),
        "--clearenv",
        *_environment(),
        *_system(),
        # Not --proc: as root that covers parts of it, and then no job may mount its own over it.
        # Each job does; only the zygote, which sees no input, sees this one.
        *("--bind", "/proc", "/proc"),
        *("--dev", "/dev"),
        *("--dev-bind", "/dev/null", "/dev/zero"),  # which gives shared memory that nothing counts
        *("--tmpfs", "/tmp"),  # noqa: S108 - inside, and read-only in the end
        # For libraries that want a place for files when they are imported; jobs never see it.
        *("--size", _IMPORT_BYTES, "--tmpfs", JOB),
        *_ours(),
        *(part for path in readable for part in ("--ro-bind", str(path), str(path))),
        *("--remount-ro", "/dev"),
        *("--remount-ro", "/tmp"),  # noqa: S108
        *("--remount-ro", "/"),
        *("--chdir", "/"),
        *program,
    ]


def variables() -> dict[str, str]:
    """Return the environment of zygotes and jobs: of ours only where Python's modules are."""
    beside = Path(sys.executable).parent
    return {
        "PATH": f"{beside}:/usr/local/bin:/usr/bin:/bin",
        "HOME": JOB,
        "TMPDIR": JOB,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(str(root) for root in _roots()),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _environment() -> Iterator[str]:
    for name, value in variables().items():
        yield from ("--setenv", name, value)


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for path in map(Path, (*_CONFIGURATION, _PROCESSORS)):
        if path.exists():
            yield from ("--ro-bind", str(path), str(path))


def _ours() -> Iterator[str]:
    """Yield the binds of Python's environment and of our packages, and of nothing beside them."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    if site.ENABLE_USER_SITE:
        prefixes.add(site.getusersitepackages())
    folders = {Path(prefix) for prefix in prefixes}
    folders |= {root / name for root in _roots() for name in _PACKAGES}
    for folder in sorted(folders):
        covered = folder.is_relative_to("/usr") or any(
            folder != other and folder.is_relative_to(other) for other in folders
        )
        if folder.is_dir() and not covered:
            yield from ("--ro-bind", str(folder), str(folder))


def _roots() -> list[Path]:
    """Return the folders that our packages lie in."""
    roots = [Path(sys.modules["workers"].__path__[0]).parent]
    for name in _PACKAGES:
        module = sys.modules.get(name)
        if module is not None and module.__file__ is not None:
            roots.append(Path(module.__file__).parent.parent)
    return sorted(set(roots))
