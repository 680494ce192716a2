"""Child processes with a time limit that takes their whole process group along."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.errors import ToolchainError

_PASSED_ON = ("PATH", "TMPDIR", "HOME")


class TimedOut(ToolchainError):
    """A child process was still running at its time limit and was killed."""


@dataclass(frozen=True)
class Completed:
    """What a child process left behind; `returncode` is negative for a signal."""

    returncode: int
    stdout: str
    stderr: str


def child_environment() -> dict[str, str]:
    """Return the environment of every tool: the search path, and messages in English."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}


def require(tool: str, package: str) -> str:
    """Return the path of `tool`.

    Raises:
        ToolchainError: it is not installed; the reason names the Debian package that has it.
    """
    found = shutil.which(tool)
    if found is None:
        raise ToolchainError(f"{tool} is not installed: apt-get install {package}")
    return found


def run(command: Sequence[str], cwd: Path, timeout: float, stdin: Path | None = None) -> Completed:
    """Run `command` in `cwd` in a process group of its own and return how it ended.

    Raises:
        TimedOut: it ran longer than `timeout` seconds; the whole group has been killed.
    """
    with open(stdin or os.devnull, "rb") as source:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=child_environment(),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"{Path(command[0]).name} did not end within {timeout:g} s") from None
    finally:
        _end_group(child)
    return Completed(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's process group and reap the child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
