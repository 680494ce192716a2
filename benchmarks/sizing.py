"""How much processor and memory a job takes, by pool: ``python benchmarks/sizing.py MODEL…``.

Each model is compiled twice into a new store; the second time everything is found there, so the
difference is the job's own. Processor seconds are those of all processes (measured; other work on
the machine changes them little), memory is the largest sum of their proportional set sizes that was
seen at intervals (measured: a spike between two looks is missed).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What one command has taken: seconds on the clock and of processors, bytes at most."""

    wall: float
    processor: float
    memory: int


def main() -> int:
    """Print a table; return the process's status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="+")
    parser.add_argument("--pool", action="append", help="a compiler; all of ours by default")
    parser.add_argument("--board", default="nucleo-l4r5zi")
    asked = parser.parse_args()
    print("| pool | model | processor s a job | jobs/h per core | largest memory MiB |")
    print("|---|---|---|---|---|")
    for pool in asked.pool or ["cmsis-nn", "tflm", "tvm"]:
        for model in asked.model:
            print(_row(pool, model, asked.board), flush=True)
    return 0


def _row(pool: str, model: Path, board: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        first, again = (_compile(pool, model, board, Path(folder)) for _ in range(2))
    if first is None or again is None:
        return f"| {pool} | {model.stem} | failed | | |"
    job = first.processor - again.processor
    if job < first.processor / 3:
        return f"| {pool} | {model.stem} | built again: measure once more | | |"
    return f"| {pool} | {model.stem} | {job:.1f} | {3600 / job:.0f} | {first.memory / _MIB:.0f} |"


def _compile(pool: str, model: Path, board: str, folder: Path) -> Taken | None:
    command = [
        *(sys.executable, "-m", "tinymlaas", "compile", str(model), "--board", board),
        *("--compiler", pool, "-o", str(folder / "out"), "--json"),
    ]
    environment = {**os.environ, "TINYMLAAS_STORE": str(folder / "store"), "HOME": str(folder)}
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    processor, memory = 0.0, 0
    while process.poll() is None:
        tree = _tree(process.pid)
        processor = max(processor, sum(map(_processor, tree)))
        memory = max(memory, sum(map(_memory, tree)))
        time.sleep(_LOOK_SECONDS)
    taken = Taken(time.monotonic() - began, processor, memory)
    return taken if process.returncode == 0 else None


def _tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _processor(pid: int) -> float:
    """Return the seconds of a process and of those of its children that have ended."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS if fields else 0.0


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has ended
        return 0
    pss = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(pss.split()[1]) * 1024


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name, from the state on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


if __name__ == "__main__":
    sys.exit(main())
