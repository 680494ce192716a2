"""The two commands a newcomer is told are the ones CI runs and the Makefile has."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.unit.scaffold.project import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


def test_ci_runs_the_readme_command() -> None:
    assert "exec make test\n" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
    assert "make demo" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("script", sorted(set(re.findall(r"scripts/\w+\.\w+", MAKEFILE))))
def test_every_script_the_makefile_names_is_there(script: str) -> None:
    path = ROOT / script
    assert path.is_file()
    if path.suffix == ".sh":
        assert path.stat().st_mode & 0o111, "must be executable"


@pytest.mark.parametrize("target", ["setup", "demo", "test", "test-all", "lint", "schemas"])
def test_make_knows_the_target(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "scripts/setup.sh" in result.stdout, "must set up what is missing first"


def test_every_test_folder_is_a_package() -> None:
    """Else tests/unit/storage would shadow storage."""
    tests = ROOT / "tests"
    inside = {
        folder
        for path in tests.rglob("*.py")
        for folder in path.parents
        if folder.is_relative_to(tests)
    }
    assert not [str(path) for path in inside if not (path / "__init__.py").is_file()]
