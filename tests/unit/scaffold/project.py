"""The project as git tracks it, for tests that need a copy of it."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def packages() -> list[str]:
    """The import packages the wheel is made of."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def tracked(*folders: str) -> list[Path]:
    """Files tracked by git and still there, relative to the root; all, or those in `folders`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree: what is the project's?", allow_module_level=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [Path(name) for name in listed.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


def copy(paths: list[Path], target: Path) -> Path:
    """Copy files, relative to the root, into the folder `target`; return it."""
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target / path)
    return target
