"""Run the command line as a user does: a process, its output, its exit status."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines on stderr that are not progress."""
        kinds = ("error:", "rejected:", "failed:", "internal error:")
        return [line for line in self.err.splitlines() if line.startswith(kinds)]


class Cli:
    """`tinymlaas` with a home, a store and keys of its own below `home`."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "XDG_CACHE_HOME": str(cache),  # toolchain objects may be shared: they are only a cache
            "TINYMLAAS_STORE": str(home / "store"),
        }
        if "PYTHONPATH" in os.environ:  # another tree than the installed one is under test
            self.environment["PYTHONPATH"] = os.environ["PYTHONPATH"]

    def __call__(self, *arguments: str | Path, cwd: Path | None = None, **more: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "tinymlaas", *map(str, arguments)],
            cwd=cwd or self.home,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)
