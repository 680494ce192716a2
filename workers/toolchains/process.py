"""Child processes with a time limit that takes their whole process group along."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.errors import ToolchainError
from workers import guardian

_POLL = 0.02  # seconds between two looks at `until`
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


def run(
    command: Sequence[str],
    cwd: Path,
    timeout: float,
    *,
    output: Path | None = None,
    until: Callable[[], bool] | None = None,
) -> Completed:
    """Run `command` in `cwd` in a process group of its own and return how it ended.

    `output` is a file for all it writes, in place of `Completed.stdout` and `.stderr`. A command
    that cannot end by itself is killed, with `returncode` 0, once `until()` is true.

    Raises:
        TimedOut: it ran longer than `timeout` seconds; the whole group has been killed.
    """
    with contextlib.ExitStack() as files:
        sink = subprocess.PIPE if output is None else files.enter_context(output.open("wb"))
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
            start_new_session=True,
        )
    with guardian.group(child.pid):
        try:
            return _wait(child, Path(command[0]).name, timeout, until)
        finally:
            _end_group(child)


def _wait(
    child: subprocess.Popen[bytes], name: str, timeout: float, until: Callable[[], bool] | None
) -> Completed:
    deadline = time.monotonic() + timeout
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            out, err = child.communicate(timeout=left if until is None else min(left, _POLL))
        except subprocess.TimeoutExpired:
            if until is not None and until():
                return Completed(0, "", "")
            if time.monotonic() >= deadline:
                raise TimedOut(f"{name} did not end within {timeout:g} s") from None
            continue
        said, complained = ((text or b"").decode(errors="replace") for text in (out, err))
        return Completed(child.returncode, said, complained)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's process group and reap the child."""
    guardian.kill_group(child.pid)
    child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
