"""Run a piece of Python in a process of its own, as a user's second shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def start(code: str, *args: object, **variables: str) -> subprocess.Popen[str]:
    """Start `code` with `args`; both ends of its conversation are text pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )


def all_at_once(code: str, count: int, *args: object) -> list[str]:
    """Start `count` processes, let them go together once all are ready, return what they print.

    `code` prints a line when ready and reads one before it goes.
    """
    running = [start(code, *args) for _ in range(count)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * count
    return answers
