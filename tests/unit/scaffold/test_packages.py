"""What is installed: our generic package names are ours alone, and the wheel is whole."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT, copy, packages, tracked


@pytest.mark.parametrize("package", packages())
def test_no_other_distribution_provides_our_packages(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"tinymlaas"}


def test_our_packages_are_imported_from_here() -> None:
    for package in packages():
        module = __import__(package)
        assert Path(str(module.__file__)).parent == ROOT / package


def test_the_wheel_holds_every_tracked_file_and_nothing_else(tmp_path: Path) -> None:
    expected = tracked(*packages())
    rest = [Path(name) for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore")]
    project = copy([*expected, *rest], tmp_path / "project")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "out")],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(path.as_posix() for path in expected)
    kinds = {Path(name).suffix for name in names}
    assert {".py", ".toml", ".json", ".c", ".h"} <= kinds, "data files are missing"
