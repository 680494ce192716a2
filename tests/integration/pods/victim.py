"""Run within a container, beside a process with a secret: what a job of the sandbox finds there."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from workers import sandbox
from workers.sandbox import Step


def look(pids: list[int], needle: str) -> dict[str, str]:
    """Look for other processes; what the job does. Returns what was found, by way."""
    found = {"listed": " ".join(n for n in os.listdir("/proc") if n.isdecimal())}
    found["self"] = os.readlink("/proc/self")
    for pid in pids:
        for name in ("environ", "mem", "cmdline", "status", "root", "fd", "cwd"):
            with contextlib.suppress(OSError):
                os.stat(f"/proc/{pid}/{name}")
                found[f"{pid} {name}"] = "is there"
    for path in Path("/proc/self").iterdir():
        with contextlib.suppress(OSError):
            if path.is_file() and needle.encode() in path.read_bytes():
                found[str(path)] = needle
    for what in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/planted"):
        with contextlib.suppress(OSError):
            Path(what).write_text("x")
            found[what] = "written"
    child = subprocess.run(["ls", "/proc/self/"], capture_output=True, check=False)
    found["a child's own"] = "is there" if child.returncode == 0 else "is not there"
    return found


def main() -> None:
    """Print what `look` finds."""
    needle = "planted-secret"
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", needle]
    other = subprocess.Popen(sleeper, env={"SECRET": needle})
    os.environ["TINYMLAAS_SECRET"] = needle
    found = sandbox.call(
        "tests.integration.pods.victim:look",
        [1, os.getpid(), other.pid],
        needle,
        returns=dict[str, str],
        step=Step.LINK,
        what="looking about",
        log=Path(os.devnull),
        readable=(Path(__file__).resolve().parents[2],),
    )
    other.kill()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
