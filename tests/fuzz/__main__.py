"""``python -m tests.fuzz``: all targets on two processes; the exit status is the verdict.

Random seeds are fixed, so that the same command finds the same; ``--seed`` looks elsewhere.
Mutants that break something are written to ``out/fuzz``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "fuzz"


def main() -> int:
    """Fuzz, print a table, return 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--part", type=int, help="(a process of this command)")
    parser.add_argument("--last", type=Path, help="(where it keeps its case)")
    options = parser.parse_args()
    return _part(options) if options.part is not None else _whole(options)


def _part(options: argparse.Namespace) -> int:
    """Run this process's share of each target; print one line of JSON for each."""
    from tests.fuzz import engine
    from tests.fuzz.targets import targets

    chosen = [target for target in targets() if options.only in target.name]
    engine.limit_memory()
    for target in chosen:
        # Rounded up: there are never fewer than were asked for.
        cases = -(-options.cases * target.share // (100 * options.processes))
        began = time.monotonic()
        tally = engine.run(target, cases, options.seed * 1000 + options.part, options.last)
        told = {
            "target": target.name,
            "cases": tally.cases,
            "refused": tally.refused,
            "crashed": [[why, _kept(data)] for why, data in tally.crashed],
            "seconds": time.monotonic() - began,
            "found": [[why, _kept(data)] for why, data in tally.found],
        }
        print(json.dumps(told), flush=True)
    return 0


def _kept(data: bytes) -> str:
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return str(path.relative_to(ROOT))


def _whole(options: argparse.Namespace) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        lasts = [Path(folder) / str(part) for part in range(options.processes)]
        started = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.fuzz",
                    *sys.argv[1:],
                    f"--part={part}",
                    f"--last={last}",
                ],
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            for part, last in enumerate(lasts)
        ]
        outputs = [process.communicate()[0] for process in started]
        ended = zip(started, lasts, strict=True)
        found = [_died(process, last) for process, last in ended if process.returncode]
    told = [json.loads(line) for output in outputs for line in output.splitlines()]
    found += _table(told)
    cases = sum(each["cases"] for each in told)
    print(f"{cases:,} cases in {time.monotonic() - began:.0f} s, {len(found)} found")
    for line in found:
        print(f"FOUND {line}")
    return 1 if found or (cases < options.cases and not options.only) else 0


def _died(process: subprocess.Popen, last: Path) -> str:
    case = _kept(last.read_bytes()) if last.exists() else "none"
    return f"a process ended with {process.returncode}; its last case is {case}"


def _table(told: list[dict]) -> list[str]:
    """Print a line for each target; return what was found."""
    found = []
    print(f"{'target':24}{'cases':>8}{'refused':>9}{'crashed':>9}{'seconds':>9}")
    for name in dict.fromkeys(each["target"] for each in told):
        mine = [each for each in told if each["target"] == name]
        sums = [sum(each[key] for each in mine) for key in ("cases", "refused")]
        crashed = [f"{why} ({path})" for each in mine for why, path in each["crashed"]]
        seconds = max(each["seconds"] for each in mine)
        print(f"{name:24}{sums[0]:8,}{sums[1]:9,}{len(crashed):9,}{seconds:9.1f}")
        print(*crashed, sep="\n", end="\n" if crashed else "")
        found += [f"{name}: {why} ({path})" for each in mine for why, path in each["found"]]
    return found


if __name__ == "__main__":
    sys.exit(main())
